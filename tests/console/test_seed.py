"""The numbered tasks of the seed document, each clicked as a person would click it.

A task begins with a profile that is there, because the document says "select the appropriate social profile".
"""

import pytest
from playwright.sync_api import expect

FACEBOOK = ("facebook_user", "acquisition", "alice.meyer")
INSTAGRAM = ("instagram_account", "acquisition", "harbour.photos")
X = ("x_profile", "interaction", "newsdesk")


def select(person, name):
    person.heads("Social Profiles").page.get_by_role("link", name=name).click()
    return person.heads(name)


def allow(person, switch):
    person.page.get_by_role("group", name=switch).get_by_label("Allow").check()
    person.page.get_by_role("group", name=switch).get_by_role("button", name="Save").click()
    return person.sees("Saved.")


def reauthenticate(person, account, at=0):
    person.page.get_by_role("button", name="Reauthenticate your token").nth(at).click()
    return person.approve(account).heads("Connected")


@pytest.mark.parametrize("connected, name, account", [(FACEBOOK, "Alice Meyer", "alice.meyer"), (INSTAGRAM, "harbour.photos", "harbour.photos")])
def test_add_an_acquisition_token_and_allow_data_acquisition(sandbox, visitor, connected, name, account):
    sandbox.connect("alice", *connected)
    alice = visitor().sign_in("alice")
    select(alice, name).sees("Allow data acquisition")
    reauthenticate(alice, account).click(f"Open {name}", "link").heads(name)
    allow(alice, "Use for search acquisition").picture(f"seed-acquisition-{connected[0]}")
    [profile] = sandbox.api("alice", "GET", "profiles")["items"]
    assert profile["tokens"][0]["allow"]["search_acquisition"] is True
    alice.go("health").sees("One token works and is allowed.")


def test_add_a_facebook_user_token_to_interact_with_posts(sandbox, visitor):
    sandbox.connect("alice", *FACEBOOK)
    alice = visitor().sign_in("alice")
    select(alice, "Alice Meyer").sees("Allow interactions").click("Add your token")
    alice.approve("alice.meyer").heads("Connected").click("Open Alice Meyer", "link")
    alice.sees("Allow interactions", "Publish").picture("seed-facebook-interaction")
    [profile] = sandbox.api("alice", "GET", "profiles")["items"]
    assert {token["token"] for token in profile["tokens"]} == {"acquisition", "interaction"}


def test_add_a_facebook_page_token_and_allow_private_messages(sandbox, visitor):
    sandbox.connect("alice", "facebook_page", "interaction", "alice.meyer", ["facebook_page-2001"])
    alice = visitor().sign_in("alice")
    select(alice, "Harbour News")
    reauthenticate(alice, "alice.meyer").click("Open Harbour News", "link").heads("Harbour News")
    allow(alice, "Acquisition of private messages").picture("seed-page-private-messages")
    [profile] = sandbox.api("alice", "GET", "profiles")["items"]
    assert profile["tokens"][0]["allow"]["private_messages"] is True


def test_add_a_twitter_token_and_allow_private_messages(sandbox, visitor):
    sandbox.connect("alice", *X)
    alice = visitor().sign_in("alice")
    select(alice, "News Desk")
    reauthenticate(alice, "newsdesk").click("Open News Desk", "link").heads("News Desk")
    allow(alice, "Acquisition of private messages").picture("seed-x-private-messages")
    [profile] = sandbox.api("alice", "GET", "profiles")["items"]
    assert profile["tokens"][0]["allow"]["private_messages"] is True


def test_reauthenticate_a_token_that_has_expired(sandbox, visitor):
    sandbox.connect("alice", *FACEBOOK)
    sandbox.later(61)
    alice = visitor().sign_in("alice")
    select(alice, "Alice Meyer").sees("Ended", "Does not work").picture("seed-expired")
    reauthenticate(alice, "alice.meyer").click("Open Alice Meyer", "link").heads("Alice Meyer")
    expect(alice.page.locator(".token.mine .badge")).to_contain_text("Works")
    [profile] = sandbox.api("alice", "GET", "profiles")["items"]
    assert (profile["state"], profile["tokens"][0]["state"]) == ("valid", "active")


def test_delete_a_token_and_be_warned_that_it_was_the_last(sandbox, visitor):
    sandbox.connect("alice", *X)
    sandbox.api("alice", "PATCH", "profiles/x_profile-42/tokens/interaction-alice", {"allow": {"private_messages": True}})
    alice = visitor().sign_in("alice")
    select(alice, "News Desk").click("Delete your token…")
    alice.sees("This is the last valid token for private messages of News Desk.").picture("seed-delete-token", full=False)
    alice.confirm("Delete the token").sees("The token is deleted.", "It is revoked at the network, too.").picture("seed-token-deleted")
    [profile] = sandbox.api("alice", "GET", "profiles")["items"]
    assert profile["tokens"] == []


def test_acquisition_is_a_two_step_process(sandbox, visitor):
    sandbox.connect("alice", *FACEBOOK)
    alice = visitor().sign_in("alice")
    select(alice, "Alice Meyer")
    allow(alice, "Use for search acquisition").sees("It is used once a rule asks for it")
    alice.go("rules").sees("There is no rule yet.").click("Make a rule").page.get_by_label("Topic").fill("Floods")
    alice.picture("seed-new-rule").click("Save").sees("The rule is made.", "Floods").picture("seed-rules")
    alice.go("health").sees("In use").picture("seed-health")


def test_a_mail_warns_in_time_and_its_link_leads_straight_to_reauthenticating(sandbox, visitor):
    sandbox.connect("alice", *FACEBOOK)
    before = sandbox.api("alice", "GET", "profiles")["items"][0]["tokens"][0]["expires_at"]
    sandbox.later(31)
    [mail] = sandbox.door("mail")["items"]
    link = next(word for word in mail["text"].split() if word.startswith("http"))
    alice = visitor().sign_in("alice", link.removeprefix(sandbox.url))
    alice.heads("Reauthenticate").sees("Alice Meyer").picture("seed-link-of-a-mail")
    assert "profile" not in alice.page.url.split("#")[0]
    alice.click("Sign in at Facebook").approve("alice.meyer").heads("Connected")
    after = sandbox.api("alice", "GET", "profiles")["items"][0]["tokens"][0]["expires_at"]
    assert after > before


def test_opening_the_link_of_a_mail_begins_nothing(sandbox, visitor):
    sandbox.connect("alice", *FACEBOOK)
    alice = visitor().sign_in("alice", "/console?profile=facebook_user-1001&token=acquisition").heads("Reauthenticate")
    sandbox.door("calls", method="DELETE")
    alice.page.reload()
    alice.heads("Reauthenticate").sees("Alice Meyer")
    assert not [target for target in sandbox.door("calls") if target.startswith("facebook/") or target == "dynamodb/PutItem"]


def test_a_limited_app_says_when_to_come_back(sandbox, visitor):
    alice = visitor().sign_in("alice")
    sandbox.fault("facebook/token", "throttle", times=9)
    alice.add("Facebook profile acquisition").approve("alice.meyer").heads("Nothing was connected")
    alice.sees("The network limits the app for now", "minutes", "Come back at").picture("seed-rate-limited")
