"""Runs the release binaries as Lambda does: every file of events/ through the Lambda runtime interface emulator.

The sandbox is their cloud: it says which environment each function has, and its AWS port answers for DynamoDB, KMS,
Secrets Manager, SES and SQS. events/expected.json says what each answer holds at least; tests/events.rs, which runs the same
events without the emulator, says more about them.

The emulator is part of the package aws-sam-cli; run this with a Python that has it (.ci/run makes one).
"""

import importlib.util
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

from alice import connect_profiles

ROOT = Path(__file__).resolve().parents[2]
EVENTS = ROOT / "events"
PATIENCE = 60  # seconds until something that was started must answer


def main():
    expected = json.loads((EVENTS / "expected.json").read_text())
    found = {str(file.relative_to(EVENTS)) for file in EVENTS.glob("*/*.json")}
    if found != set(expected):
        sys.exit(f"events/expected.json and the events differ: {sorted(found ^ set(expected))}")

    failures = 0
    with tempfile.TemporaryDirectory() as data, sandbox(data) as port:
        url = f"http://localhost:{port}"
        environment = answer(f"{url}/_sandbox/environment")
        access_token = connect_profiles(url)
        for function in sorted({name.split("/")[0] for name in expected}):
            with emulator(function, environment[function], port + 2) as invocations:
                for name in sorted(name for name in expected if name.startswith(f"{function}/")):
                    event = (EVENTS / name).read_text()
                    event = event.replace("http://localhost:8787", url).replace("ACCESS_TOKEN", access_token)
                    started = time.monotonic()
                    got = answer(invocations, event.encode())
                    milliseconds = (time.monotonic() - started) * 1000
                    good = is_as_expected(got, expected[name])
                    print(f"{'ok    ' if good else 'FAILED'} {name:<52} {milliseconds:6.0f} ms", flush=True)
                    if not good:
                        failures += 1
                        print(f"       expected {expected[name]}, got {json.dumps(got)[:600]}", flush=True)
    print(f"{len(expected) - failures} of {len(expected)} events were answered as expected")
    return failures > 0


def is_as_expected(got, expected):
    return isinstance(got, dict) and all(got.get(member) == value for member, value in expected.items())


@contextmanager
def sandbox(data):
    """The sandbox, empty; yields its port."""
    port = free_ports(3)
    command = [ROOT / "target/debug/sandbox", "--port", str(port), "--data", data]
    with running(command, os.environ, f"http://127.0.0.1:{port}/_sandbox/environment"):
        yield port


@contextmanager
def emulator(function, environment, aws_port):
    """The emulator with one function; yields the address to post events to."""
    port = free_ports(2)
    machine = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    package = Path(importlib.util.find_spec("samcli").origin).parent
    command = [
        package / f"local/rapid/aws-lambda-rie-{machine}",
        *("--log-level", "error"),
        *("--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
        *("--runtime-api-address", f"127.0.0.1:{port + 1}"),
        ROOT / "target/release" / function,
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_LAMBDA_FUNCTION_NAME": function,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "25",
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "emulated",
        "AWS_SECRET_ACCESS_KEY": "emulated",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws_port}",
        **environment,
    }
    with running(command, environment, f"http://127.0.0.1:{port}/"):
        yield f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"


@contextmanager
def running(command, environment, address):
    """A process that answers at `address`; its output is shown when something goes wrong."""
    with ExitStack() as stack:
        log = stack.enter_context(tempfile.TemporaryFile())
        process = stack.enter_context(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        stack.callback(process.terminate)
        try:
            deadline = time.monotonic() + PATIENCE
            while not answers(address):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} does not answer at {address}")
                time.sleep(0.05)
            yield
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-8000:])
            raise


def answers(address):
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def answer(address, body=None):
    with urllib.request.urlopen(urllib.request.Request(address, body), timeout=PATIENCE) as response:
        return json.load(response)


def free_ports(count):
    """The first of `count` ports in a row that nobody uses."""
    for first in range(18787, 65000 - count, 7):
        try:
            with ExitStack() as stack:
                for port in range(first, first + count):
                    listener = stack.enter_context(socket.socket())
                    listener.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
    raise RuntimeError("no free ports")


if __name__ == "__main__":
    sys.exit(main())
