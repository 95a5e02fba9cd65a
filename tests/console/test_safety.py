"""What a stranger could try: markup in names, frames, tokens in addresses, storage and referrers."""

import json
import re
import urllib.request

from playwright.sync_api import expect

MARKUP = '<img src=x onerror="window.struck=1">'


def test_markup_in_what_the_api_tells_is_text(sandbox, visitor):
    sandbox.connect("alice", "facebook_user", "acquisition", "alice.meyer")
    sandbox.api("alice", "POST", "rules", {"topic": MARKUP, "use": "search_acquisition", "network": "facebook"})
    alice = visitor()

    def rename(route):
        answer = route.fetch()
        body = answer.text().replace("Alice Meyer", json.dumps(MARKUP)[1:-1])
        route.fulfill(response=answer, body=body)

    alice.page.route("**/v1/**", rename)
    alice.sign_in("alice").sees(MARKUP).go("profiles/owned/facebook_user-1001").heads(MARKUP)
    for page in ("health", "rules", "notices", "connect"):
        alice.go(page)
        alice.page.wait_for_load_state("networkidle")
    alice.go("rules").sees(MARKUP).picture("markup")
    assert alice.page.evaluate("window.struck") is None
    assert alice.page.locator("img").count() == 0


def test_a_script_that_got_into_the_page_would_not_run(sandbox, visitor):
    alice = visitor().sign_in("alice")
    alice.page.evaluate("""() => {
        const script = document.createElement('div');
        try { script.innerHTML = '<img src=x onerror="window.struck=1">'; document.body.append(script); } catch (error) { window.refused = error.name; }
    }""")
    assert alice.page.evaluate("[window.struck, window.refused]") == [None, "TypeError"]
    alice.complaints.clear()  # this one was meant


def test_nobody_frames_the_console(sandbox, visitor):
    mallory = visitor()
    mallory.page.goto(f"{sandbox.url}/mail")
    with urllib.request.urlopen(f"{sandbox.url}/console") as answer:
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "DENY"
    mallory.page.route("**/lure", lambda route: route.fulfill(content_type="text/html", body=f'<iframe src="{sandbox.url}/console"></iframe>'))
    mallory.page.goto(f"{sandbox.url}/lure")
    frame = mallory.page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="Social Profiles")).to_have_count(0)
    mallory.complaints.clear()


def test_tokens_and_codes_are_in_no_address_no_storage_and_no_referrer(sandbox, visitor):
    alice = visitor()
    seen, tokens, addresses = [], [], []
    alice.context.on("request", lambda request: seen.append((request.url, request.all_headers())))
    alice.page.on("framenavigated", lambda frame: addresses.append(frame.url))
    alice.page.on("response", lambda answer: tokens.append(answer.json()) if answer.url.endswith("/issuer/token") else None)
    alice.sign_in("alice").add("X profile").approve("newsdesk").heads("Connected")
    alice.go("health").heads("Health")

    assert tokens
    secrets = [value for answer in tokens for name, value in answer.items() if name in ("access_token", "id_token")]
    kept = alice.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, history.state, document.documentElement.outerHTML])")
    for secret in secrets:
        assert secret not in kept
        assert not [url for url, _ in seen if secret in url]
        carriers = {url for url, headers in seen if secret in json.dumps(headers)}
        assert all(url.startswith(f"{sandbox.url}/v1/") for url in carriers), carriers
    assert json.loads(kept)[:3] == [{}, {}, ""], kept
    ours = [headers for url, headers in seen if url.startswith(sandbox.url) and "/oauth/" not in url]
    assert not [headers["referer"] for headers in ours if re.search("code|state|session", headers.get("referer", ""))]
    stayed = [url for url in addresses if url.startswith(f"{sandbox.url}/console")][-1]
    assert "?" not in stayed and "?" not in alice.page.url
    alice.page.go_back()  # nor does a history entry have them
    assert not re.search("code=|state=|completion_code", alice.page.url)


def test_a_connect_link_that_is_a_script_is_not_followed(sandbox, visitor):
    alice = visitor().sign_in("alice")
    script = {"id": "a", "connect_url": "javascript:window.struck=1", "kind": "x_profile", "privacy_url": None}
    alice.page.route("**/v1/connect-sessions", lambda route: route.fulfill(status=201, content_type="application/json", body=json.dumps(script)))
    alice.add("X profile").sees("The link leads nowhere")
    assert alice.page.evaluate("window.struck") is None


def test_a_first_view_is_small_and_there_before_any_data(sandbox, visitor):
    alice = visitor()
    sizes = []
    session = alice.context.new_cdp_session(alice.page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    alice.page.route("**/console/configuration.json", lambda route: None)  # never answered
    alice.page.goto(f"{sandbox.url}/console", wait_until="domcontentloaded")
    alice.heads("Social Profiles").sees("Signing you in").picture("skeleton")
    alice.page.wait_for_timeout(500)
    print(f"\nthe first view: {sum(sizes)} bytes in {len(sizes)} answers")
    assert 10_000 < sum(sizes) < 100_000


def test_the_frame_can_be_used_before_any_data_arrives(sandbox, visitor):
    alice = visitor().sign_in("alice")
    alice.page.route("**/v1/**", lambda route: None)  # never answered
    alice.page.reload()
    expect(alice.heads("Social Profiles").page.get_by_role("status", name="Profiles are being read")).to_be_visible()
    alice.click("Add a profile", "link").heads("Add a profile")
    alice.page.get_by_role("radio", name="YouTube").check()
    expect(alice.page.get_by_role("button", name="Sign in at the network")).to_be_enabled()
    alice.click("Health", "link").heads("Health")
