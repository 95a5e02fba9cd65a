"""A sandbox of its own for each test, and people at browsers.

The sandbox is the binary that `cargo build` made, on three free ports in a directory that goes with the test. A person signs
in by clicking, as people do; what a test only needs to be there (profiles, a moved clock) is made through the API.
"""

import json
import random
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SCREENS = ROOT / "target/console-screens"
BINARY = ROOT / "target/debug/sandbox"
PATIENCE = 20  # seconds until something that was started must answer

expect.set_options(timeout=10_000)


class Sandbox:
    """A running sandbox, its doors and its API."""

    def __init__(self, directory):
        for _ in range(20):
            port = random.randrange(20_000, 30_000)
            if all(is_free(port + more) for more in range(3)):
                break
        self.port, self.url = port, f"http://localhost:{port}"
        self.networks_url = f"http://127.0.0.1:{port + 1}"
        arguments = [BINARY, "--port", str(port), "--data", directory]
        self.process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        until = time.monotonic() + PATIENCE
        while True:
            try:
                self.door("clock")
                return
            except urllib.error.URLError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"the sandbox did not start: {self.process.stderr.read()}") from None
                time.sleep(0.05)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def ask(self, method, path, body=None, headers=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json", **(headers or {})}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            read = answer.read()
        return json.loads(read) if read else None

    def door(self, door, body=None, method=None):
        return self.ask(method or ("GET" if body is None else "POST"), f"/_sandbox/{door}", body)

    def api(self, person, method, path, body=None):
        token = self.door("sign-in", {"person": person})["access_token"]
        return self.ask(method, f"/v1/{path}", body, {"authorization": f"Bearer {token}"})

    def later(self, days):
        self.door("clock", {"advance_seconds": days * 86_400})
        return self.door("tick", {"function": "expiry-sweep"})

    def fault(self, target, mode, **more):
        self.door("faults", {"target": target, "mode": mode, **more}, "PUT")

    def connect(self, person, kind, token, account, selected=None):
        """Connects an account without a browser, as a program with a cookie jar would."""
        wish = {"kind": kind, "token": token, "return_url": f"{self.url}/"}
        session = self.api(person, "POST", "connect-sessions", wish)
        started, cookie = follow(session["connect_url"])
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(started).query))
        form = urllib.parse.urlencode({**asked, "decision": "approve", "account": account}).encode()
        callback, _ = follow(started, form)
        back, _ = follow(callback, cookie=cookie)
        code = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(back).query))["completion_code"]
        brought = {"completion_code": code, **({"selected": selected} if selected else {})}
        return self.api(person, "POST", f"connect-sessions/{session['id']}/complete", brought)["profiles"]


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def follow(url, form=None, cookie=None):
    """Where an answer leads, and the cookie that it sets."""
    request = urllib.request.Request(url, form, {"cookie": cookie} if cookie else {})
    try:
        answer = urllib.request.build_opener(Stay).open(request, timeout=60)
        raise AssertionError(f"{url} leads nowhere: {answer.read()}")
    except urllib.error.HTTPError as answer:
        assert answer.code in (302, 303), f"{url}: {answer.code} {answer.read()}"
        return answer.headers["location"], (answer.headers["set-cookie"] or "").split(";")[0]


def is_free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


class Person:
    """Somebody at a browser."""

    def __init__(self, sandbox, context):
        self.sandbox, self.context = sandbox, context
        context.set_default_timeout(10_000)
        self.page = context.new_page()
        self.complaints = []
        self.watch(self.page)

    def watch(self, page):
        """Collects what the browser complains about: refused by the policy, or thrown."""
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if "Content Security Policy" in said.text else None)

    def sign_in(self, name, path="/console"):
        self.page.goto(self.sandbox.url + path)
        self.page.get_by_role("button", name="Sign in", exact=True).click()
        self.page.get_by_role("button", name=name).click()
        expect(self.page.get_by_role("button", name=name)).to_be_visible()
        return self

    def go(self, fragment):
        self.page.goto(f"{self.sandbox.url}/console#/{fragment}")
        return self

    def click(self, name, role="button"):
        self.page.get_by_role(role, name=name).first.click()
        return self

    def confirm(self, name):
        """Answers a dialog."""
        self.page.get_by_role("dialog").get_by_role("button", name=name).click()
        return self

    def sees(self, *texts):
        for text in texts:
            expect(self.page.get_by_text(text).locator("visible=true").first).to_be_visible()
        return self

    def heads(self, title):
        expect(self.page.get_by_role("heading", name=title, exact=True).first).to_be_visible()
        return self

    def add(self, label):
        """Chooses what to connect by the words on its card, and leaves for the network."""
        self.go("connect").page.get_by_role("radio", name=label).check()
        return self.click("Sign in at the network")

    def approve(self, account):
        self.page.locator(f'input[name="account"][value="{account}"]').check()
        return self.click("Approve")

    def picture(self, name, full=True):
        SCREENS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENS / f"{name}.png", full_page=full)
        return self


@pytest.fixture
def sandbox(tmp_path):
    running = Sandbox(tmp_path)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def chromium():
    path = shutil.which("chromium")
    assert path, "chromium is missing: install it (Debian: apt install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def visitor(sandbox, chromium):
    """Makes people at browsers: `visitor()`, or `visitor(width=360, dark=True)`. Nobody's browser may have complained."""
    people = []

    def visit(width=1280, height=860, dark=False):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", locale="en-GB",
            timezone_id="UTC", reduced_motion="reduce",
        )
        people.append(Person(sandbox, context))
        return people[-1]

    yield visit
    for person in people:
        person.context.close()
        assert person.complaints == []
