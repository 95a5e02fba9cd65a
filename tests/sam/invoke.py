"""`sam local invoke` for every file of events/: what `sam build` made, in containers, with the sandbox as their cloud.

Started by tests/sam/run, which sees to the containers' engine.
"""

import json
import subprocess
import sys
from contextlib import contextmanager

from containers import cloud, sam_local
from run import PATIENCE
from samples import ROOT, logical_id, replay


def main():
    with cloud() as (url, options):

        @contextmanager
        def contained(function):
            yield lambda event: invoke(sam_local("invoke", logical_id(function), "--event", "-", *options), event)

        return replay(url, contained) > 0


def invoke(command, event):
    """The answer; without one, what the container said goes to standard error."""
    done = subprocess.run(command, input=event, capture_output=True, cwd=ROOT, timeout=PATIENCE)
    try:
        return json.loads(done.stdout)
    except ValueError:
        sys.stderr.write(done.stderr.decode(errors="replace")[-8000:])
        return done.stdout.decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
