"""What people do with the profiles that are there: find, share, claim, give up, delete; and what they are told."""

import re

from playwright.sync_api import expect


def rows(person):
    return person.page.locator("ul.rows a.profile")


def test_profiles_stand_in_three_lists_and_are_found(sandbox, visitor):
    sandbox.connect("alice", "x_profile", "interaction", "newsdesk")
    sandbox.connect("alice", "youtube_channel", "interaction", "harbour.tv")
    sandbox.connect("bob", "x_profile", "interaction", "support")
    sandbox.connect("bob", "x_profile", "interaction", "press")
    sandbox.api("bob", "PATCH", "profiles/x_profile-43", {"shared_with": {"users": ["alice"]}})
    sandbox.api("bob", "PATCH", "profiles/x_profile-44", {"owner": False})
    alice = visitor().sign_in("alice").sees("2 profiles")
    alice.click("Shared with me", "link").sees("1 profile", "Support", "bob")
    alice.click("Without owners", "link").sees("1 profile", "Press", "Without owners")
    alice.click("All", "link").sees("4 profiles").picture("lists")
    alice.page.get_by_role("searchbox", name="Find").fill("harb")
    alice.sees("1 of 4 profiles")
    expect(rows(alice)).to_have_count(1)
    alice.page.get_by_role("searchbox", name="Find").fill("")
    alice.page.get_by_role("combobox", name="Network").select_option("x")
    alice.sees("3 of 4 profiles")
    alice.page.get_by_role("combobox", name="State").select_option("idle")
    expect(rows(alice)).to_have_count(1)


def test_a_profile_is_shared_given_up_claimed_and_deleted(sandbox, visitor):
    sandbox.connect("alice", "x_profile", "interaction", "newsdesk")
    sandbox.api("alice", "PATCH", "profiles/x_profile-42/tokens/interaction-alice", {"allow": {"private_messages": True}})
    alice, bob = visitor().sign_in("alice"), visitor().sign_in("bob")
    bob.go("profiles/shared").sees("Nobody shares a profile with you.").picture("nothing-shared")
    alice.go("profiles/owned/x_profile-42").heads("News Desk").page.get_by_text("Nobody yet. Share it…").click()
    alice.page.get_by_label("Groups, one a line").fill("service desk")
    alice.click("Save sharing").sees("Saved.").picture("shared")
    bob.page.reload()
    bob.sees("News Desk").page.get_by_role("link", name="News Desk").click()
    bob.sees("Owned by alice.", "the group service desk")
    expect(bob.page.get_by_role("button", name="Give up")).to_have_count(0)

    alice.click("Give up ownership…").sees("This is the last valid token for private messages", "You are its last owner")
    alice.picture("give-up", full=False).confirm("Give it up").sees("You gave the profile up.")
    bob.go("profiles/without_owners/x_profile-42").page.reload()
    bob.sees("Nobody owns it").click("Claim with your sign-in").approve("newsdesk").heads("Connected")
    bob.click("Open News Desk", "link").sees("Owned by you.").click("Delete the profile…").confirm("Delete the profile")
    bob.sees("News Desk is deleted. It is revoked at the network, too.", "You own no profile yet.").picture("deleted")
    assert sandbox.api("alice", "GET", "profiles")["items"] == []


def test_a_profile_is_shared_with_people_and_with_everybody(sandbox, visitor):
    sandbox.connect("bob", "x_profile", "interaction", "support")
    bob, alice = visitor().sign_in("bob"), visitor().sign_in("alice")

    def shared_with_alice(count):
        alice.go("profiles/shared").page.reload()
        expect(rows(alice)).to_have_count(count)

    alice.go("profiles/shared").sees("Nobody shares a profile with you.")
    bob.go("profiles/owned/x_profile-43").heads("Support").page.get_by_text("Nobody yet. Share it…").click()
    bob.page.get_by_label("People by their id").fill("alice\n\n alice \ncarol")
    bob.click("Save sharing").sees("Saved.")
    assert sandbox.api("bob", "GET", "profiles/x_profile-43")["shared_with"] == {"everybody": False, "groups": [], "users": ["alice", "carol"]}
    shared_with_alice(1)

    people = bob.page.get_by_label("People by their id")
    expect(people).to_have_value("alice\ncarol")
    people.fill("")
    everybody = bob.page.get_by_role("checkbox", name="Everybody who is responder or manager")
    everybody.check()
    bob.click("Save sharing")
    expect(bob.page.get_by_text("Change with whom it is shared")).to_be_visible()
    shared_with_alice(1)

    everybody.uncheck()
    bob.click("Save sharing")
    expect(bob.page.get_by_text("Nobody yet. Share it…")).to_be_visible()
    shared_with_alice(0)


def test_a_search_that_finds_nothing_says_so_and_leads_back(sandbox, visitor):
    sandbox.connect("alice", "x_profile", "interaction", "newsdesk")
    alice = visitor().sign_in("alice").sees("1 profile")
    alice.page.get_by_role("searchbox", name="Find").fill("nobody is called so")
    alice.sees("0 of 1 profile", "No profile is like that.").click("Show them all").sees("News Desk")
    expect(alice.page.get_by_role("searchbox", name="Find")).to_have_value("")


def test_a_tick_alone_changes_nothing_before_it_is_saved(sandbox, visitor):
    sandbox.connect("alice", "x_profile", "interaction", "newsdesk")
    alice = visitor().sign_in("alice").go("profiles/owned/x_profile-42").heads("News Desk")
    allow = alice.page.get_by_role("checkbox", name="Allow")
    allow.check()
    alice.sees("Workers may read and answer private messages")
    alice.page.reload()
    expect(allow).not_to_be_checked()


def test_notices_have_one_click_to_the_cure(sandbox, visitor):
    sandbox.connect("alice", "facebook_user", "acquisition", "alice.meyer")
    sandbox.api("alice", "PATCH", "profiles/facebook_user-1001/tokens/acquisition-alice", {"allow": {"search_acquisition": True}})
    sandbox.later(1)  # a sweep sees how acquisition stands, so that a later one sees it get worse
    sandbox.later(60)
    sandbox.later(1)
    alice = visitor().sign_in("alice").go("notices").sees("Alice Meyer: has ended", "Facebook: acquisition has stopped").picture("notices")
    alice.click("Reauthenticate").approve("alice.meyer").heads("Connected")
    alice.go("notices").sees("Alice Meyer: has ended")
    for _ in range(alice.page.get_by_role("button", name="Put aside").count()):
        before = alice.page.get_by_role("button", name="Put aside").count()
        alice.page.locator("li.note").get_by_role("button", name="Put aside").first.click()
        expect(alice.page.locator("li.note").get_by_role("button", name="Put aside")).to_have_count(before - 1)
    alice.sees("Nothing needs you.").picture("notices-none")


def test_a_dead_token_says_why_and_a_limited_one_until_when(sandbox, visitor):
    sandbox.connect("alice", "x_profile", "interaction", "newsdesk")
    sandbox.door("networks/x/accounts/newsdesk", {"event": "revoke"})
    sandbox.later(40)
    alice = visitor().sign_in("alice").go("profiles/owned/x_profile-42").heads("News Desk")
    alice.sees("Sign in again").picture("dead")
    [profile] = sandbox.api("alice", "GET", "profiles")["items"]
    assert profile["tokens"][0]["state"] == "needs_reauth"


def test_health_is_a_picture_of_what_ends_when(sandbox, visitor):
    for account in ("alice.meyer", "bob.stone"):
        sandbox.connect("alice", "facebook_user", "acquisition", account)
        sandbox.later(20)
    alice = visitor().sign_in("alice").go("health").sees("What ends when")
    lanes = alice.page.locator("svg a.lane")
    expect(lanes).to_have_count(2)
    expect(lanes.first).to_have_attribute("aria-label", re.compile("Alice Meyer, Facebook profile, token of alice: ends in"))
    alice.picture("health")
    lanes.first.click()
    alice.heads("Alice Meyer")


def test_an_administrator_sets_reads_the_history_and_removes_a_user(sandbox, visitor):
    sandbox.connect("bob", "x_profile", "interaction", "support")
    dora = visitor().sign_in("dora").go("settings").heads("Settings")
    dora.page.get_by_label("Days before the end").fill("30, 7, 7")
    dora.click("Save").sees("`ladder_days`").picture("settings-refused")
    dora.page.get_by_label("Days before the end").fill("30, 7")
    dora.page.get_by_label("Your privacy statement").fill("https://acme.example/privacy")
    dora.page.get_by_label("E-mail addresses").fill("ops@acme.example")
    dora.click("Save").sees("Saved.").picture("settings")
    assert sandbox.api("dora", "GET", "settings")["ladder_days"] == [30, 7]
    dora.page.get_by_label("Their id at the identity provider").fill("bob")
    dora.click("Remove…").heads("Remove bob?").confirm("Remove bob").sees("bob is removed: 1 tokens ended")
    dora.go("history").sees("removed a user", "changed the settings", "connected").picture("history")
    dora.go("profiles/without_owners").sees("Support")
