"""A journey through `sam local start-api`: every function in a container of its own behind SAM's gateway, the sandbox as
their cloud, networks and issuer.

People sign in and connect accounts in a browser, a worker leases what they connected, and a profile is deleted; and
whoever has no token, the wrong one or the wrong role is refused. Started by tests/sam/run.
"""

import json
import os
import sys
import urllib.error
import urllib.request

import run
from alice import ask, connect_profiles
from containers import cloud, sam_local
from samples import ROOT

PUBLISH = {"use": "publish", "profile_id": "x_profile-42"}


def main():
    port = run.free_ports(1, lowest=28787)
    api = f"http://localhost:{port}"
    with cloud("--public-url", api) as (url, options):
        command = sam_local("start-api", "--port", str(port), "--warm-containers", "EAGER", *options)
        with run.running(command, os.environ, f"{api}/openapi.json", cwd=ROOT):
            refused(url, api)
            worked(url, api)
    print("the journey came to its end")


def refused(url, api):
    carol, worker = sign_in(url, "carol"), sign_in(url, "acme-worker")
    wish = {"kind": "x_profile", "token": "interaction", "return_url": f"{url}/"}
    for what, expected, answer in [
        ("no access token", 401, call("GET", f"{api}/v1/profiles")),
        ("a forged access token", 403, call("GET", f"{api}/v1/profiles", token=carol[:-8] + "AAAAAAAA")),
        ("a reader who connects", 403, call("POST", f"{api}/v1/connect-sessions", carol, wish)),
        ("a person who leases", 403, call("POST", f"{api}/v1/leases", carol, PUBLISH)),
        ("a worker who looks", 403, call("GET", f"{api}/v1/profiles", worker)),
        # API Gateway says 404
        ("a route that is not there", 403, call("GET", f"{api}/v1/nothing", carol)),
        ("a profile that is not there", 404, call("GET", f"{api}/v1/profiles/x_profile-0", carol)),
        ("a link that nobody made", 404, call("GET", f"{api}/oauth/start?ticket=none")),
    ]:
        check(what, answer, expected)


def worked(url, api):
    alice, worker = connect_profiles(url, api), sign_in(url, "acme-worker")
    listed = check("alice lists her profiles", call("GET", f"{api}/v1/profiles?list=owned", alice), 200)
    ids = {profile["id"] for profile in listed["items"]}
    assert ids == {"x_profile-42", "x_profile-43", "facebook_user-1001"}, ids
    lease = check("a worker leases", call("POST", f"{api}/v1/leases", worker, PUBLISH), 201)
    networks = run.answer(f"{url}/_sandbox/environment")["Leases"]["NETWORK_ENDPOINT"]
    account = call("GET", f"{networks}/api.x.com/2/users/me", lease["access_token"])
    check("the network takes the access token", account, 200)
    check("alice deletes the profile", call("DELETE", f"{api}/v1/profiles/x_profile-42", alice), 200)
    check("nobody leases it any more", call("POST", f"{api}/v1/leases", worker, PUBLISH), 404)


def sign_in(url, person):
    return ask(f"{url}/_sandbox/sign-in", {"person": person})["access_token"]


def call(method, address, token=None, body=None):
    """The status and the body."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    data = None
    if body is not None:
        data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    request = urllib.request.Request(address, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=run.PATIENCE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def check(what, answer, expected):
    """The body, if the status is the expected one."""
    status, body = answer
    if status != expected:
        raise RuntimeError(f"{what}: expected {expected}, got {status} {body[:600]}")
    print(f"ok     {what}: {status}", flush=True)
    return json.loads(body) if body.startswith("{") else body


if __name__ == "__main__":
    sys.exit(main())
