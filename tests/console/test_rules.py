"""Rules: made, edited and deleted by those who may, and read by everybody."""

from playwright.sync_api import expect


def test_a_rule_for_private_messages_is_made_edited_and_deleted(sandbox, visitor):
    sandbox.connect("alice", "x_profile", "interaction", "newsdesk")
    sandbox.connect("alice", "x_profile", "interaction", "support")
    sandbox.connect("alice", "youtube_channel", "interaction", "harbour.tv")
    alice = visitor().sign_in("alice").go("rules").click("Make a rule")
    alice.page.get_by_label("Topic").fill("Complaints")
    alice.page.get_by_role("radio", name="Private messages").check()
    expect(alice.page.get_by_role("checkbox", name="Support")).to_be_visible()
    expect(alice.page.get_by_role("checkbox", name="Harbour TV")).to_have_count(0)
    alice.page.get_by_role("searchbox", name="Find a profile").fill("news")
    expect(alice.page.get_by_role("checkbox", name="Support")).to_have_count(0)
    alice.page.get_by_role("checkbox", name="News Desk").check()
    alice.picture("rule-private-messages").click("Save").sees("The rule is made.", "Private messages of News Desk")
    [rule] = sandbox.api("alice", "GET", "rules")["items"]
    assert (rule["use"], rule["profile_ids"]) == ("private_messages", ["x_profile-42"])

    alice.click("Edit Complaints").page.get_by_role("checkbox", name="Support").check()
    alice.page.get_by_label("Topic").fill("Praise")
    alice.click("Save").sees("The rule is changed.", "Praise")
    [rule] = sandbox.api("alice", "GET", "rules")["items"]
    assert sorted(rule["profile_ids"]) == ["x_profile-42", "x_profile-43"]

    bob = visitor().sign_in("bob").go("rules").sees("Praise")
    expect(bob.page.get_by_role("button", name="Edit Praise")).to_have_count(0)
    dora = visitor().sign_in("dora").go("rules").sees("Praise")
    dora.click("Delete… Praise").confirm("Delete the rule").sees("The rule is deleted.", "There is no rule yet.")
    assert sandbox.api("alice", "GET", "rules")["items"] == []


def test_a_rule_without_a_profile_is_refused_in_the_apis_words_and_stays_in_the_form(sandbox, visitor):
    alice = visitor().sign_in("alice").go("rules").click("Make a rule")
    alice.page.get_by_label("Topic").fill("Complaints")
    alice.page.get_by_role("radio", name="Private messages").check()
    alice.sees("No Facebook Page and no X profile is connected").click("Save").sees("The request is not understood", "invalid_request")
    expect(alice.page.get_by_label("Topic")).to_have_value("Complaints")
