"""Sends every sample in events/ to its function, however that is invoked, and compares the answers.

events/expected.json says what each answer holds at least; tests/events.rs, which runs the same events in process, says
more about them.
"""

import json
import time
from contextlib import suppress
from pathlib import Path

from alice import connect_profiles

ROOT = Path(__file__).resolve().parents[2]
EVENTS = ROOT / "events"


class Surprise(Exception):
    """A function has answered otherwise than expected: what it said meanwhile is of interest."""


def replay(url, invoking):
    """Replays the samples for the sandbox at `url`; `invoking(function)` is a context in which there is a way to invoke it.

    The context is left with a `Surprise` if an answer was none of the expected. Returns how many were not.
    """
    expected = json.loads((EVENTS / "expected.json").read_text())
    found = {str(file.relative_to(EVENTS)) for file in EVENTS.glob("*/*.json")}
    if found != set(expected):
        raise RuntimeError(f"events/expected.json and the events differ: {sorted(found ^ set(expected))}")

    failures = 0
    access_token = connect_profiles(url)
    for function in sorted({name.split("/")[0] for name in expected}):
        surprises = 0
        with suppress(Surprise), invoking(function) as invoke:
            for name in sorted(name for name in expected if name.startswith(f"{function}/")):
                event = (EVENTS / name).read_text()
                event = event.replace("http://localhost:8787", url).replace("ACCESS_TOKEN", access_token)
                started = time.monotonic()
                got = invoke(event.encode())
                milliseconds = (time.monotonic() - started) * 1000
                good = is_as_expected(got, expected[name])
                print(f"{'ok    ' if good else 'FAILED'} {name:<52} {milliseconds:6.0f} ms", flush=True)
                if not good:
                    surprises += 1
                    print(f"       expected {expected[name]}, got {json.dumps(got)[:600]}", flush=True)
            if surprises:
                raise Surprise
        failures += surprises
    print(f"{len(expected) - failures} of {len(expected)} events were answered as expected")
    return failures


def is_as_expected(got, expected):
    return isinstance(got, dict) and all(got.get(member) == value for member, value in expected.items())


def logical_id(function):
    """`OauthStart` in template.yaml is the function `oauth-start`."""
    return function.title().replace("-", "")
