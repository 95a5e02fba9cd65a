"""Roles show and hide what the API would allow; what it refuses all the same is shown in its own words."""

import json
import urllib.error

import pytest
from playwright.sync_api import expect

# who, what stands in the bar, whether they are offered to connect, to make rules
ROLES = [
    ("alice", ["Profiles", "Health", "Notices", "Rules"], True, True),
    ("bob", ["Profiles", "Health", "Notices", "Rules"], True, False),
    ("carol", ["Profiles", "Health", "Notices", "Rules"], False, False),
    ("dora", ["Profiles", "Health", "Notices", "Rules", "History", "Settings"], True, True),
]


def is_refused(sandbox, who, method, path, body=None):
    try:
        sandbox.api(who, method, path, body)
        return False
    except urllib.error.HTTPError as answer:
        assert answer.code == 403, answer.read()
        return True


@pytest.mark.parametrize("who, bar, connects, rules", ROLES)
def test_a_person_is_offered_what_the_api_would_allow_and_nothing_else(sandbox, visitor, who, bar, connects, rules):
    person = visitor().sign_in(who)
    expect(person.page.get_by_role("navigation", name="Pages").get_by_role("link")).to_have_text(bar)
    expect(person.page.get_by_role("link", name="Add a profile")).to_have_count(2 if connects else 0)
    wish = {"kind": "x_profile", "token": "interaction", "return_url": f"{sandbox.url}/console"}
    assert is_refused(sandbox, who, "POST", "connect-sessions", wish) is not connects
    person.click("Rules", "link").heads("Rules").sees("There is no rule yet.")
    expect(person.page.get_by_role("button", name="Make a rule")).to_have_count(1 if rules else 0)
    rule = {"topic": "A", "use": "search_acquisition", "network": "facebook"}
    assert is_refused(sandbox, who, "POST", "rules", rule) is not rules
    for path in ("settings", "history"):
        assert is_refused(sandbox, who, "GET", path) is not ("Settings" in bar)
    person.go("settings").heads("Settings" if "Settings" in bar else "Social Profiles")


def test_a_reader_sees_and_is_offered_nothing_to_change(sandbox, visitor):
    sandbox.connect("alice", "x_profile", "interaction", "newsdesk")
    sandbox.connect("alice", "x_profile", "interaction", "press")
    sandbox.api("alice", "PATCH", "profiles/x_profile-44", {"owner": False})
    carol = visitor().sign_in("carol").picture("reader-empty")
    for profile, name in (("x_profile-42", "News Desk"), ("x_profile-44", "Press")):
        carol.go(f"profiles/all/{profile}").heads(name)
        expect(carol.page.locator("#panel button")).to_have_count(0)
    carol.picture("reader")


def test_a_responder_may_not_delete_what_nobody_owns_and_a_manager_may(sandbox, visitor):
    sandbox.connect("alice", "x_profile", "interaction", "press")
    sandbox.api("alice", "PATCH", "profiles/x_profile-44", {"owner": False})
    for who, offered in (("bob", 0), ("alice", 1)):
        person = visitor().sign_in(who).go("profiles/without_owners/x_profile-44").heads("Press")
        expect(person.page.get_by_role("button", name="Delete the profile…")).to_have_count(offered)
        assert is_refused(sandbox, who, "DELETE", "profiles/x_profile-44") is not bool(offered)


def test_a_refusal_is_shown_in_the_apis_own_words(sandbox, visitor):
    alice = visitor().sign_in("alice")
    words = {"type": "urn:x", "title": "Not allowed", "status": 403, "code": "forbidden", "detail": "This needs the role responder or manager."}
    answer = {"status": 403, "content_type": "application/problem+json", "body": json.dumps(words)}
    alice.page.route("**/v1/connect-sessions", lambda route: route.fulfill(**answer))
    alice.add("X profile").sees("Not allowed", "This needs the role responder or manager.", "forbidden")
    expect(alice.page.get_by_role("heading", name="Your session has ended")).to_have_count(0)
