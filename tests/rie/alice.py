"""Lets alice connect, at the sandbox's front door, the profiles that the events are about."""

import http.client
import json
from urllib.parse import parse_qsl, urlencode, urlsplit

PROFILES = [
    ("x_profile", "interaction", "newsdesk"),
    ("x_profile", "interaction", "support"),
    ("facebook_user", "acquisition", "alice.meyer"),
]


def connect_profiles(url, api=None):
    """Connects each at `api`, which is the sandbox at `url` unless said otherwise; returns an access token of hers."""
    api = api or url
    access_token = ask(f"{url}/_sandbox/sign-in", {"person": "alice"})["access_token"]
    caller = {"Authorization": f"Bearer {access_token}", "Content-Type": "application/json"}
    for kind, token, account in PROFILES:
        wanted = {"kind": kind, "token": token, "return_url": f"{url}/"}
        session = ask(f"{api}/v1/connect-sessions", wanted, caller)
        consent, cookie = follow(session["connect_url"])
        approval = query(consent) | {"decision": "approve", "account": account}
        callback, _ = follow(consent, approval)
        landing, _ = follow(callback, cookie=cookie)
        completion = {"completion_code": query(landing)["completion_code"]}
        ask(f"{api}/v1/connect-sessions/{session['id']}/complete", completion, caller)
    return access_token


def ask(url, body, headers={}):
    """The JSON that is answered to a JSON body."""
    answer = send("POST", url, json.dumps(body), headers)
    return json.load(answer)


def follow(url, form=None, cookie=None):
    """Where a browser is led from `url`, by a link or a form, and the cookie that it is given."""
    if form is None:
        answer = send("GET", url, None, {"Cookie": cookie} if cookie else {})
    else:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = send("POST", url.split("?")[0], urlencode(form), headers)
    return answer.headers["Location"], (answer.headers["Set-Cookie"] or "").split(";")[0]


def send(method, url, body, headers):
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.netloc, timeout=60)
    connection.request(method, f"{place.path}?{place.query}", body, headers)
    answer = connection.getresponse()
    if answer.status >= 400:
        raise RuntimeError(f"{method} {place.path} is answered with {answer.status}: {answer.read().decode()}")
    return answer


def query(url):
    return dict(parse_qsl(urlsplit(url).query))
