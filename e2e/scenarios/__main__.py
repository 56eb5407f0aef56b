"""Bring up a cluster, load this clone's images, run the scenarios, take everything away: ``python -m e2e.scenarios``.

Arguments go to pytest. With ``KEEP=1`` the cluster stays, and the next run uses it again.
"""

import os
import subprocess
import sys

from e2e.cache import ROOT, content_key
from e2e.cluster import kind
from e2e.cluster.diagnosis import collect
from e2e.commands import CommandError
from e2e.progress import step
from e2e.stage import CLUSTER, IMAGES, Stage, prepare

LOGS = ROOT / "test-logs"


def main(arguments: list[str]) -> int:
    """Run the scenarios; the exit code is pytest's."""
    name = f"stoker-test-{content_key(str(ROOT))[:6]}"
    try:
        stage = prepare(name, *IMAGES)
        code = _pytest(stage, arguments)
        if code:
            with step(f"Keeping what the cluster said in {LOGS.name}/"):
                LOGS.mkdir(exist_ok=True)
                collect(stage.cluster, LOGS)
    except CommandError as error:
        print(error, file=sys.stderr)
        code = 1
    finally:
        if os.environ.get("KEEP") != "1":
            kind.down(name)
    return code


def _pytest(stage: Stage, arguments: list[str]) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cluster", "-p", "no:randomly", "e2e/scenarios", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, env=os.environ | {CLUSTER: stage.told()}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
