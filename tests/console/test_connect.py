"""Adding a profile: what is said before, the way to the network and back, and every way in which it can fail."""

import re

import pytest
from playwright.sync_api import expect

CARDS = [
    ("Facebook profile acquisition", "alice.meyer", "Alice Meyer"),
    ("Facebook profile interaction", "alice.meyer", "Alice Meyer"),
    ("Instagram account", "harbour.photos", "harbour.photos"),
    ("X profile", "newsdesk", "News Desk"),
    ("YouTube channel", "harbour.tv", "Harbour TV"),
]


@pytest.mark.parametrize("card, account, name", CARDS)
def test_every_kind_is_connected_by_its_card(sandbox, visitor, card, account, name):
    alice = visitor().sign_in("alice")
    alice.add(card).approve(account).heads("Connected").sees(name)
    alice.click(f"Open {name}", "link").heads(name).sees("Owned by you.")


def test_pages_are_ticked_and_what_is_refused_is_mended_without_signing_in_again(sandbox, visitor):
    alice = visitor().sign_in("alice")
    alice.picture("add").add("Facebook Page interaction").approve("alice.meyer").heads("What shall be connected?")
    alice.sees("Cannot be connected. The role on it allows nothing that a token is used for.").picture("pages-to-choose")
    expect(alice.page.get_by_role("checkbox", name="Harbour Museum")).to_be_disabled()
    sandbox.fault("facebook/page", "throttle", times=9)
    alice.page.get_by_role("checkbox", name="Harbour News").check()
    alice.click("Connect what is ticked").sees("It is worth another try in").picture("pages-refused")
    expect(alice.page.get_by_role("checkbox", name="Harbour News")).to_be_checked()
    sandbox.door("faults", method="DELETE")
    alice.page.reload()  # the history entry still knows the code, and nothing else does
    alice.page.get_by_role("checkbox", name="Harbour News").check()
    alice.page.get_by_role("checkbox", name="Harbour Sailing Club").check()
    alice.click("Connect what is ticked").heads("Connected").sees("Harbour News", "Harbour Sailing Club").picture("connected")


def test_the_privacy_statement_is_shown_before_the_sign_in(sandbox, visitor):
    settings = {"ladder_days": [30], "administrators": [], "privacy_url": "https://acme.example/privacy", "reauthenticate_url": None}
    sandbox.api("dora", "PUT", "settings", settings)
    alice = visitor().sign_in("alice").add("X profile").heads("Before you sign in")
    link = alice.page.get_by_role("link", name="privacy statement")
    expect(link).to_have_attribute("href", "https://acme.example/privacy")
    expect(link).to_have_attribute("rel", re.compile("noreferrer"))
    alice.picture("privacy", full=False).click("Sign in at X").approve("newsdesk").heads("Connected")


ENDINGS = [
    # what is struck, how the person answers, the heading, the code
    (None, "deny", "Access was not granted", "access_denied"),
    (("x/token", "status", {"status": 400}), "approve", "The network did not confirm the sign-in|The sign-in took too long", ""),
    (("x/token", "throttle", {"times": 9}), "approve", "The network limits the app for now", "rate_limited"),
    (("x/me", "status", {"status": 503, "times": 9}), "approve", "The network did not answer", "network_unavailable"),
    (("x/me", "garbage", {"times": 9}), "approve", "The network did not confirm the sign-in", "network_refused"),
]


@pytest.mark.parametrize("fault, decision, heading, code", ENDINGS)
def test_a_sign_in_that_fails_says_why_and_what_to_do_next(sandbox, visitor, fault, decision, heading, code):
    alice = visitor().sign_in("alice").add("X profile")
    if fault:
        target, mode, more = fault
        sandbox.fault(target, mode, **more)
    alice.click("Approve" if decision == "approve" else "Deny").heads("Nothing was connected")
    expect(alice.page.get_by_role("heading", name=re.compile(heading))).to_be_visible()
    alice.sees(code, "Start again").picture(f"ended-{code or 'refused'}")
    if not fault:
        alice.click("Start again").approve("newsdesk").heads("Connected")


def test_another_account_is_refused_and_both_are_named(sandbox, visitor):
    sandbox.connect("alice", "x_profile", "interaction", "newsdesk")
    alice = visitor().sign_in("alice").go("profiles/owned/x_profile-42").heads("News Desk")
    alice.click("Reauthenticate your token").approve("support").heads("Nothing was connected")
    alice.sees("You signed in at X as Support (43), and this profile is News Desk (42)").picture("ended-foreign")
    alice.click("Start again").approve("newsdesk").heads("Connected")


def test_whoever_administers_no_page_is_told_so(sandbox, visitor):
    alice = visitor().sign_in("alice").add("Facebook Page interaction").approve("unknown.expiry").heads("Nothing was connected")
    alice.sees("There is nothing to connect", "no_account")


def test_back_from_the_network_without_deciding_leaves_everything_as_it_was(sandbox, visitor):
    alice = visitor().sign_in("alice").add("X profile")
    alice.page.get_by_role("button", name="Approve").wait_for()
    alice.page.go_back()
    alice.heads("Add a profile").add("X profile").approve("newsdesk").heads("Connected")


def test_two_tabs_connect_side_by_side(sandbox, visitor):
    alice = visitor().sign_in("alice").add("X profile")
    other = alice.context.new_page()
    other.goto(f"{sandbox.url}/console#/connect")
    other.get_by_role("radio", name="YouTube").check()
    other.get_by_role("button", name="Sign in at the network").click()
    alice.approve("newsdesk").heads("Connected").sees("News Desk")
    other.get_by_role("button", name="Approve").click()
    expect(other.get_by_role("heading", name="Connected")).to_be_visible()
    assert {profile["id"].split("-")[0] for profile in sandbox.api("alice", "GET", "profiles")["items"]} == {"x_profile", "youtube_channel"}
