"""What `sam local` needs to run the functions in containers: a sandbox that lets them in, the image that leads to it,
and the environment of every function.
"""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from run import answer, sandbox
from samples import ROOT

IMAGE = "tokenward-suite"


@contextmanager
def cloud(*options):
    """An empty sandbox; yields its address, and the options with which `sam local` runs the functions beside it."""
    base = os.environ["LAMBDA_IMAGE"]
    host = "host.docker.internal"
    hosts = docker("run", "--rm", "--add-host", f"{host}:host-gateway", "--entrypoint", "cat", base, "/etc/hosts")
    bridge = next(line.split()[0] for line in hosts.splitlines() if line.endswith(host))
    with tempfile.TemporaryDirectory() as directory, sandbox(directory, "--containers", bridge, *options) as port:
        url = f"http://localhost:{port}"
        docker(
            *("build", "--tag", IMAGE, "--build-arg", f"BASE={base}"),
            *("--build-arg", f"NETWORK_ENDPOINT=http://127.0.0.1:{port + 1}"),
            *("--build-arg", f"AWS_ENDPOINT_URL=http://127.0.0.1:{port + 2}"),
            ROOT / "sandbox/container",
        )
        # the emulator's layer on it is kept by name, whatever lies below
        docker("image", "rm", "--force", f"{IMAGE}:rapid-x86_64")
        environment = Path(directory) / "environment.json"
        environment.write_text(json.dumps(answer(f"{url}/_sandbox/environment")))
        yield url, ["--invoke-image", IMAGE, "--env-vars", environment]


def sam_local(command, *options):
    """The words of `sam local`; samconfig.toml says the rest."""
    return [Path(sys.executable).parent / "sam", "local", command, *options]


def docker(*words):
    done = subprocess.run(["docker", *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"docker {words[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()
