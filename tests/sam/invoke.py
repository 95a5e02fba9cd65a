"""`sam local invoke` for every file of events/: what `sam build` made, in containers, with the sandbox as their cloud.

Started by tests/sam/run, which sees to the containers' engine.
"""

import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager

from containers import cloud, sam_local
from run import PATIENCE, show
from samples import ROOT, logical_id, replay


def main():
    with cloud() as (url, options):

        @contextmanager
        def contained(function):
            command = sam_local("invoke", logical_id(function), "--event", "-", *options)
            with tempfile.TemporaryFile() as log:
                try:
                    yield lambda event: invoke(command, event, log)
                except BaseException:
                    show(log)
                    raise

        return replay(url, contained) > 0


def invoke(command, event, log):
    """The answer; what SAM and the container say goes into the log."""
    done = subprocess.run(command, input=event, stdout=subprocess.PIPE, stderr=log, cwd=ROOT, timeout=PATIENCE)
    try:
        return json.loads(done.stdout)
    except ValueError:
        return done.stdout.decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
