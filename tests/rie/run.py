"""Runs what `sam build` made as Lambda does: every file of events/ through the Lambda runtime interface emulator.

The sandbox is their cloud: it says which environment each function has, and its AWS port answers for DynamoDB, KMS,
Secrets Manager, SES and SQS.

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

from samples import ROOT, logical_id, replay

PATIENCE = 60  # seconds until something that was started must answer


def main():
    with tempfile.TemporaryDirectory() as data, sandbox(data) as port:
        url = f"http://localhost:{port}"
        environment = answer(f"{url}/_sandbox/environment")

        @contextmanager
        def emulated(function):
            with emulator(function, environment, port + 2) as invocations:
                yield lambda event: answer(invocations, event)

        return replay(url, emulated) > 0


@contextmanager
def sandbox(data, *options):
    """The sandbox, empty; yields its port."""
    port = free_ports(3)
    command = [ROOT / "target/debug/sandbox", "--port", str(port), "--data", data, *options]
    with running(command, os.environ, f"http://127.0.0.1:{port}/_sandbox/environment"):
        yield port


@contextmanager
def emulator(function, environment, aws_port):
    """The emulator with one function of the sandbox's `environment`; yields the address to post events to."""
    port = free_ports(2)
    machine = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    package = Path(importlib.util.find_spec("samcli").origin).parent
    command = [
        package / f"local/rapid/aws-lambda-rie-{machine}",
        *("--log-level", "error"),
        *("--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
        *("--runtime-api-address", f"127.0.0.1:{port + 1}"),
        ROOT / ".aws-sam/build" / logical_id(function) / "bootstrap",
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
        **environment[logical_id(function)],
    }
    with running(command, environment, f"http://127.0.0.1:{port}/"):
        yield f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"


@contextmanager
def running(command, environment, address, cwd=None):
    """A process that answers at `address`; its output is shown when something goes wrong."""
    with ExitStack() as stack:
        log = stack.enter_context(tempfile.TemporaryFile())
        process = stack.enter_context(subprocess.Popen(command, env=environment, cwd=cwd, stdout=log, stderr=log))
        stack.callback(process.terminate)
        try:
            deadline = time.monotonic() + PATIENCE
            while not answers(address):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} does not answer at {address}")
                time.sleep(0.05)
            yield
        except BaseException:
            show(log)
            raise


def show(log):
    """Writes the end of a log to standard error."""
    log.seek(0)
    sys.stderr.write(log.read().decode(errors="replace")[-8000:])


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


def free_ports(count, lowest=18787):
    """The first of `count` ports in a row that nobody uses."""
    for first in range(lowest, 65000 - count, 7):
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
