"""The strip that the sandbox's console has, and no other."""

from playwright.sync_api import expect


def test_the_clock_the_mailbox_and_the_faults_are_at_hand(sandbox, visitor):
    sandbox.connect("alice", "facebook_user", "acquisition", "alice.meyer")
    alice = visitor().sign_in("alice").sees("ends in 60 days")
    strip = alice.page.get_by_role("complementary", name="Sandbox")
    strip.get_by_role("button", name="31 days later").click()
    expect(strip).to_contain_text("31 days later. The sweep warned 1 and mailed 1.")
    expect(strip.get_by_role("link", name="Mailbox (1)")).to_be_visible()
    alice.sees("ends in 29 days").click("Notices", "link").sees("Alice Meyer: will end soon")
    strip.get_by_text("Faults (0)").click()
    strip.get_by_role("combobox", name="Fault").select_option("facebook/token throttle")
    strip.get_by_role("button", name="Let it strike once").click()
    expect(strip.get_by_text("Faults (1)")).to_be_visible()
    alice.picture("strip")
    assert [fault["target"] for fault in sandbox.door("faults")["items"]] == ["facebook/token"]
    strip.get_by_role("button", name="Clear").click()
    expect(strip.get_by_text("Faults (0)")).to_be_visible()


def test_without_the_sandboxs_doors_there_is_no_strip_and_the_clock_is_the_browsers(sandbox, visitor):
    sandbox.connect("alice", "facebook_user", "acquisition", "alice.meyer")
    alice = visitor()
    alice.page.route("**/_sandbox/**", lambda route: route.fulfill(status=404, body="{}"))
    alice.sign_in("alice").sees("Alice Meyer")
    expect(alice.page.get_by_role("complementary", name="Sandbox")).to_have_count(0)
