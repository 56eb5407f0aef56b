"""``make demo-local``: Stoker on this host without containers. Workers are child processes of the orchestrator."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from e2e.command_line import command_line
from e2e.commands import CommandError
from e2e.demo.jobs import FIELDS, DemoError, send_three, wait_until_warm
from e2e.demo.pictures import check
from e2e.demo.story import Story
from e2e.images.models import model_folder
from e2e.progress import step

CONFIG = Path(__file__).with_name("aiModels.json")
WARM_SECONDS = 180


def main() -> int:
    """Run the demonstration."""
    parser = command_line("e2e.demo.local", __doc__, "make demo-local KEEP=1 PORT=8935")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="where the pictures go")
    parser.add_argument("--port", type=int, default=8935, help="the orchestrator's port on 127.0.0.1")
    parser.add_argument("--keep", action="store_true", help="stay up afterwards, until interrupted")
    chosen = parser.parse_args()
    story = Story()
    try:
        _show(story, chosen.output, chosen.port, keep=chosen.keep)
    except (DemoError, CommandError) as error:
        print(f"\nThe demonstration failed: {error}", file=sys.stderr)
        return 1
    return 0


def _show(story: Story, output: Path, port: int, *, keep: bool) -> None:
    story.heading("Stoker on one host: an orchestrator, and one process for each model")
    models_dir = model_folder()
    url = f"http://127.0.0.1:{port}"
    _check_free(port)
    with step("Starting the orchestrator from e2e/demo/aiModels.json"):
        orchestrator = _start(models_dir, port, output)
    try:
        with step("Waiting until two models are warm in /capabilities"):
            wait_until_warm(url, {"text-to-image", "image-to-image"}, WARM_SECONDS, lambda: orchestrator.poll() is None)
        story.heading("One job for each pipeline; image-to-video is cold, so its job starts the worker")
        for result in check(send_three(url, output)):
            story.tell(str(result))
        _end(story, url, keep=keep)
        if keep:
            orchestrator.wait()
    except KeyboardInterrupt:
        story.tell("stopping")
    finally:
        orchestrator.terminate()
        orchestrator.wait()


def _check_free(port: int) -> None:
    """Raise DemoError where somebody else would answer in the place of the demonstration's orchestrator."""
    with socket.socket() as caller:
        if caller.connect_ex(("127.0.0.1", port)) == 0:
            message = f"port {port} is taken; stop what listens there, or choose another: make demo-local PORT={port + 1}"
            raise DemoError(message)


def _end(story: Story, url: str, *, keep: bool) -> None:
    again = [] if keep else ["make demo-local KEEP=1          # the same, and stay up for the commands below"]
    body = json.dumps(FIELDS["text-to-image"] | {"prompt": "a green square on a white background"})
    story.end(
        [
            *again,
            f"curl -s {url}/capabilities",
            f".venv/bin/stoker status --watch --url {url}",
            f"curl -s {url}/text-to-image -H 'Accept: image/png' -o picture.png -d '{body}'",
            "make demo                       # the same on a real Kubernetes",
        ]
    )


def _start(models_dir: Path, port: int, output: Path) -> "subprocess.Popen[bytes]":
    output.mkdir(parents=True, exist_ok=True)
    settings = {
        "STOKER_FLEET": "processes",
        "STOKER_NAME": "demo",
        "STOKER_MODELS_CONFIG": str(CONFIG),
        "STOKER_MODELS_DIR": str(models_dir),
        "STOKER_HOST": "127.0.0.1",
        "STOKER_PORT": str(port),
    }
    with (output / "orchestrator.log").open("wb") as log:
        command = [sys.executable, "-m", "stoker_orchestrator"]
        return subprocess.Popen(command, env=os.environ | settings, stdout=log, stderr=subprocess.STDOUT)


if __name__ == "__main__":
    sys.exit(main())
