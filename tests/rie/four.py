"""Four processes, one refresh: `leases`, as `sam build` made it, under the Lambda runtime interface emulator, which hands each
one invocation at a time, against one sandbox.

In every round the access token is made to have ended, in the table, and all four are asked for it at once. One of them
asks the network; all hand out what it was answered, or say clearly that it takes long.
"""

import json
import sys
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta
from threading import Barrier

from alice import connect_profiles
from run import PATIENCE, answer, emulator, sandbox
from samples import EVENTS

PROCESSES = 4
ROUNDS = 50
PROFILE, TOKEN = "x_profile-42", "interaction-alice"
# must be there, and is not checked
SIGNATURE = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=emulated/20261123/eu-west-1/dynamodb/aws4_request,"
    " SignedHeaders=host, Signature=none",
    "X-Amz-Date": "20261123T000000Z",
}


def main():
    event = (EVENTS / "leases/lease.json").read_bytes()
    with ExitStack() as stack:
        data = stack.enter_context(tempfile.TemporaryDirectory())
        port = stack.enter_context(sandbox(data))
        url, aws = f"http://localhost:{port}", f"http://127.0.0.1:{port + 2}"
        connect_profiles(url)
        environment = answer(f"{url}/_sandbox/environment")
        leases = [stack.enter_context(emulator("leases", environment, port + 2)) for _ in range(PROCESSES)]
        pool = stack.enter_context(ThreadPoolExecutor(PROCESSES))
        together = Barrier(PROCESSES)

        def lease(process):
            together.wait()
            return answer(process, event)

        seen, failures = set(), 0
        for number in range(1, ROUNDS + 1):
            end_access_token(url, aws)
            # so long that the others come while it is asked
            ask("PUT", f"{url}/_sandbox/faults", {"target": "x/token", "mode": "slow", "delay_ms": 200})
            ask("DELETE", f"{url}/_sandbox/calls")
            answers = list(pool.map(lease, leases))
            requests = answer(f"{url}/_sandbox/calls").get("x/token", 0)
            tokens = {body(got)["access_token"] for got in answers if got["statusCode"] == 201}
            patient = [got for got in answers if is_clear_refusal(got)]
            leased = sum(got["statusCode"] == 201 for got in answers)
            good = requests == 1 and leased and leased + len(patient) == PROCESSES
            good = good and len(tokens) == 1 and not tokens & seen
            seen |= tokens
            failures += not good
            print(
                f"{'ok    ' if good else 'FAILED'} round {number:2}: {leased} leases of {len(tokens)} access token,"
                f" {len(patient)} to try again, {requests} request to the network",
                flush=True,
            )
            if not good:
                print(f"       {json.dumps(answers)[:1500]}", flush=True)
    print(f"{ROUNDS - failures} of {ROUNDS} rounds cost one request")
    return failures > 0


def end_access_token(url, aws):
    """Writes into the token's row that its access token has ended a minute ago."""
    now = datetime.fromisoformat(answer(f"{url}/_sandbox/clock")["now"])
    ended = (now - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    update = {
        "TableName": "Vault",
        "Key": {"pk": {"S": f"T#acme#P#{PROFILE}"}, "sk": {"S": f"TOKEN#{TOKEN}"}},
        "ConditionExpression": "attribute_exists(access_expires_at)",
        "UpdateExpression": "SET access_expires_at = :ended",
        "ExpressionAttributeValues": {":ended": {"S": ended}},
    }
    ask("POST", aws, update, SIGNATURE | {"X-Amz-Target": "DynamoDB_20120810.UpdateItem"})


def is_clear_refusal(got):
    return got["statusCode"] == 503 and body(got)["code"] == "unavailable" and int(got["headers"]["retry-after"]) > 0


def body(got):
    return json.loads(got["body"])


def ask(method, address, body=None, headers={}):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/x-amz-json-1.0"} | headers
    urllib.request.urlopen(urllib.request.Request(address, data, headers, method=method), timeout=PATIENCE).close()


if __name__ == "__main__":
    sys.exit(main())
