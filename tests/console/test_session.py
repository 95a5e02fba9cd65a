"""Signing in, and what becomes of a session: reload, back, two tabs, its end, a lost network, somebody else."""

import re
import time
import urllib.parse

from playwright.sync_api import expect


def closes(page):
    """Waits until a window has closed itself, which it may have done already."""
    until = time.monotonic() + 10
    while not page.is_closed():
        assert time.monotonic() < until, "the window stays open"
        page.context.pages[0].wait_for_timeout(50)


def test_a_reload_signs_in_again_silently_and_stays_where_it_was(sandbox, visitor):
    sandbox.connect("alice", "x_profile", "interaction", "newsdesk")
    alice = visitor().sign_in("alice").go("profiles/owned/x_profile-42").heads("News Desk")
    alice.page.reload()
    alice.heads("News Desk")
    assert alice.page.url == f"{sandbox.url}/console#/profiles/owned/x_profile-42"


def test_back_and_forward_go_through_the_pages(sandbox, visitor):
    alice = visitor().sign_in("alice")
    alice.click("Health", "link").heads("Health").click("Rules", "link").heads("Rules")
    alice.page.go_back()
    alice.heads("Health")
    alice.page.go_forward()
    alice.heads("Rules")


def test_a_second_tab_needs_no_second_sign_in(sandbox, visitor):
    alice = visitor().sign_in("alice")
    other = alice.context.new_page()
    other.goto(f"{sandbox.url}/console#/health")
    expect(other.get_by_role("heading", name="Health")).to_be_visible()


def test_signing_out_ends_the_session_at_the_identity_provider_too(sandbox, visitor):
    alice = visitor().sign_in("alice")
    alice.page.get_by_role("button", name="alice").click()
    alice.click("Sign out")
    expect(alice.page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    alice.picture("signed-out").page.reload()
    alice.sign_in("carol").heads("Social Profiles")


def test_an_expired_session_is_renewed_in_one_click_and_what_was_typed_stays(sandbox, visitor):
    alice = visitor().sign_in("alice").go("rules").heads("Rules").click("Make a rule")
    alice.page.get_by_label("Topic").fill("Floods in the harbour")
    sandbox.door("clock", {"advance_seconds": 7_200})
    alice.click("Save").sees("Your session has ended").picture("session-ended")
    with alice.page.expect_popup() as opened:
        alice.click("Sign in again")
    closes(opened.value)
    expect(alice.page.get_by_role("heading", name="Your session has ended")).to_have_count(0)
    expect(alice.page.get_by_label("Topic")).to_have_value("Floods in the harbour")
    alice.page.locator("form.sheet").get_by_role("button", name="Save").click()
    alice.sees("The rule is made.")


def test_a_session_that_the_identity_provider_ended_too_asks_who_it_is_in_the_other_window(sandbox, visitor):
    alice = visitor().sign_in("alice").go("health").heads("Health")
    alice.context.clear_cookies()
    sandbox.door("clock", {"advance_seconds": 7_200})
    alice.click("Rules", "link").sees("Your session has ended")
    with alice.page.expect_popup() as opened:
        alice.click("Sign in again")
    opened.value.get_by_role("button", name="alice").click()
    closes(opened.value)
    alice.sees("There is no rule yet.")


def test_somebody_else_who_signs_in_sees_nothing_of_the_person_before(sandbox, visitor):
    sandbox.connect("alice", "x_profile", "interaction", "newsdesk")
    alice = visitor().sign_in("alice").sees("News Desk")
    alice.context.clear_cookies()
    sandbox.door("clock", {"advance_seconds": 7_200})
    alice.click("Rules", "link").sees("Your session has ended")
    with alice.page.expect_popup() as opened:
        alice.click("Sign in again")
    opened.value.get_by_role("button", name="erin").click()
    expect(alice.page.get_by_role("button", name="erin")).to_be_visible()
    alice.click("Profiles", "link").sees("You own no profile yet.")


def test_a_lost_network_is_said_and_what_was_typed_is_saved_afterwards(sandbox, visitor):
    alice = visitor().sign_in("alice").go("rules").heads("Rules").click("Make a rule")
    alice.page.get_by_label("Topic").fill("Storms")
    alice.context.set_offline(True)
    alice.click("Save").sees("Tokenward cannot be reached").picture("offline")
    alice.context.set_offline(False)
    alice.click("Save").sees("The rule is made.")


def test_a_list_that_stopped_half_way_can_be_read_again(sandbox, visitor):
    alice = visitor().sign_in("alice")
    alice.context.set_offline(True)
    alice.click("All", "link").sees("No answer")
    alice.context.set_offline(False)
    alice.click("Try again").sees("Nothing is connected yet.")


def test_an_outage_is_told_in_the_apis_own_words(sandbox, visitor):
    alice = visitor().sign_in("alice")
    sandbox.fault("dynamodb/Query", "status", status=500, times=50)
    alice.click("Rules", "link")
    expect(alice.page.get_by_role("alert").first).to_contain_text(re.compile("Not available now|cannot be reached|does not answer"))
    sandbox.door("faults", method="DELETE")
    alice.click("Try again").sees("There is no rule yet.")


def test_an_identity_provider_that_is_down_is_said_with_a_way_to_try_again(sandbox, visitor):
    alice = visitor()
    sandbox.fault("issuer/openid-configuration", "status", status=503, times=1)
    alice.page.goto(f"{sandbox.url}/console")
    alice.heads("Signing in did not work").picture("issuer-down").click("Try again")
    expect(alice.page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()


def test_an_answer_that_nobody_asked_for_signs_nobody_in(sandbox, visitor):
    mallory = visitor()
    mallory.page.goto(f"{sandbox.url}/console?code=stolen&state=forged")
    mallory.heads("This sign-in was begun elsewhere")
    assert mallory.page.url == f"{sandbox.url}/console"
    assert not [target for target in sandbox.door("calls") if target == "issuer/token"]


def test_an_identity_provider_without_silent_sign_in_asks_at_once_and_leads_to_where_one_wanted_to_be(sandbox, visitor):
    alice = visitor()
    alice.page.route("**/issuer/authorize*", lambda route: route.continue_(url=route.request.url.replace("prompt=none", "")))
    alice.page.goto(f"{sandbox.url}/console#/health")
    alice.click("alice").heads("Health")


def test_a_sign_in_that_the_identity_provider_refuses_says_why(sandbox, visitor):
    alice = visitor()

    def refuse(route):
        issuer, query = route.request.url.split("/authorize?")
        asked = urllib.parse.parse_qs(query)
        answer = {"error": "access_denied", "error_description": "Alice is locked out", "state": asked["state"][0], "iss": issuer}
        route.fulfill(status=302, headers={"location": f"{asked['redirect_uri'][0]}?{urllib.parse.urlencode(answer)}"})

    alice.page.route("**/issuer/authorize*", refuse)
    alice.page.goto(f"{sandbox.url}/console")
    alice.heads("Signing in did not work").sees("The identity provider refused the sign-in: Alice is locked out")
    alice.page.unroute("**/issuer/authorize*")
    alice.click("Try again")
    expect(alice.page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()


def test_an_address_that_is_none_of_the_consoles_leads_to_the_profiles(sandbox, visitor):
    alice = visitor().sign_in("alice")
    for fragment in ("%E0%A4%A", "constructor", "profiles/__proto__", "nowhere/at/all"):
        alice.go(fragment).heads("Social Profiles").sees("You own no profile yet.")
