"""Everybody can use it: axe-core finds nothing, the keyboard is enough, 360 pixels are enough, light and dark."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

PAGES = ["profiles/owned", "profiles/all/x_profile-42", "profiles/without_owners", "connect", "health", "notices", "rules", "history", "settings"]


def estate(sandbox):
    sandbox.connect("dora", "facebook_user", "acquisition", "alice.meyer")
    sandbox.api("dora", "PATCH", "profiles/facebook_user-1001/tokens/acquisition-dora", {"allow": {"search_acquisition": True}})
    sandbox.connect("dora", "facebook_page", "interaction", "alice.meyer", ["facebook_page-2001", "facebook_page-2002"])
    sandbox.connect("dora", "youtube_channel", "interaction", "harbour.tv")
    sandbox.later(40)
    sandbox.connect("dora", "instagram_account", "acquisition", "harbour.photos")
    sandbox.connect("dora", "x_profile", "interaction", "newsdesk")
    sandbox.connect("dora", "x_profile", "interaction", "press")
    sandbox.api("dora", "PATCH", "profiles/x_profile-44", {"owner": False})
    sandbox.api("dora", "POST", "rules", {"topic": "Floods", "use": "search_acquisition", "network": "facebook"})


def faults(person):
    found = Axe().run(person.page)
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found.response["violations"]]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_and_nothing_is_cut_off(sandbox, visitor, width, dark):
    estate(sandbox)
    look = f"{'dark' if dark else 'light'}-{width}"
    dora = visitor(width=width, dark=dark)
    dora.page.goto(f"{sandbox.url}/console")
    expect(dora.page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    dora.picture(f"{look}-signed-out")
    assert faults(dora) == []
    dora.sign_in("dora")
    for page in PAGES:
        dora.go(page).page.wait_for_load_state("networkidle")
        expect(dora.page.locator(".skeleton")).to_have_count(0)
        dora.picture(f"{look}-{page.replace('/', '-')}")
        assert faults(dora) == [], page
        assert dora.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page} scrolls sideways"
    dora.go("profiles/all/x_profile-42").click("Delete your token…").heads("Delete your interaction token?").picture(f"{look}-dialog", full=False)
    assert faults(dora) == []


def test_the_keyboard_is_enough_to_connect_allow_and_delete(sandbox, visitor):
    alice = visitor()
    keys = alice.page.keyboard

    def reach(name):
        """Tabs until what is called so has the focus."""
        for _ in range(60):
            keys.press("Tab")
            focused = alice.page.evaluate("""() => {
                const one = document.activeElement;
                if (one === document.body) return '';
                const label = one.labels?.[0]?.innerText ?? '';
                return [one.ariaLabel ?? '', label, one.innerText ?? '', one.value ?? ''].join(' ');
            }""")
            if name in focused:
                return
        raise AssertionError(f"{name} is not reached")

    alice.page.goto(f"{sandbox.url}/console")
    alice.page.get_by_role("button", name="Sign in", exact=True).wait_for()
    reach("Sign in")
    keys.press("Enter")
    alice.page.get_by_role("button", name="alice").wait_for()
    reach("alice")
    keys.press("Enter")
    alice.sees("You own no profile yet.")
    assert alice.page.evaluate("document.activeElement.tagName") == "H1"
    reach("Add a profile")
    keys.press("Enter")
    alice.heads("Add a profile")
    reach("Facebook profile")
    for _ in range(4):
        keys.press("ArrowDown")
    expect(alice.page.get_by_role("radio", name="X profile")).to_be_checked()
    reach("Sign in at the network")
    keys.press("Enter")
    alice.page.get_by_role("button", name="Approve").wait_for()
    reach("Approve")
    keys.press("Enter")
    alice.heads("Connected")
    reach("Open News Desk")
    keys.press("Enter")
    alice.sees("Owned by you.")
    reach("Allow")
    keys.press("Space")
    reach("Save")
    alice.picture("keyboard-focus", full=False)
    keys.press("Enter")
    alice.sees("Saved.")
    reach("Delete your token…")
    keys.press("Enter")
    alice.heads("Delete your interaction token?")
    keys.press("Escape")
    expect(alice.page.get_by_role("dialog")).to_have_count(0)
    keys.press("Enter")  # the focus is where it was
    alice.heads("Delete your interaction token?")
    reach("Delete the token")
    keys.press("Enter")
    alice.sees("The token is deleted.")
