"""``make demo``: a models config becomes running workers on a real Kubernetes node, and a prompt becomes a picture."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from e2e.cluster import binaries, kind
from e2e.command_line import command_line
from e2e.commands import CommandError
from e2e.demo.jobs import FIELDS, MODELS, DemoError, send_by_name, send_three, wait_until_warm
from e2e.demo.pictures import check
from e2e.demo.story import Story
from e2e.progress import step
from e2e.release import Release, image_values, install, merged
from e2e.stage import prepare

NAME = "stoker-demo"
NODE_PORT = 30935
IMAGES = ("operator", "orchestrator", "worker", "models")
CONFIG = Path(__file__).with_name("aiModels.json")
BY_HAND = Path(__file__).with_name("by-hand.yaml")
WARM_SECONDS = 300


def main() -> int:
    """Run the demonstration, or take it away."""
    parser = command_line("e2e.demo.cluster", __doc__, "make demo, make demo-down")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="where the pictures go")
    parser.add_argument("--down", action="store_true", help="remove the cluster, and whatever a crashed run left")
    chosen = parser.parse_args()
    try:
        if chosen.down:
            kind.down(NAME)
        else:
            _show(Story(), chosen.output)
    except (DemoError, CommandError) as error:
        print(f"\nThe demonstration failed: {error}\n'make demo-down' removes what is left of it.", file=sys.stderr)
        return 1
    return 0


def _show(story: Story, output: Path) -> None:
    story.heading("A cluster of one node, and Stoker's images in it")
    stage = prepare(NAME, *IMAGES)
    story.heading("Stoker, with a models config of three models and a fourth resource written by hand")
    with step("helm install"):
        release = install(stage.cluster, "stoker", NODE_PORT, _values(stage.images))
    release.kubectl("apply", "--filename", str(BY_HAND))
    with step("Waiting until two of the config's models are warm"):
        wait_until_warm(release.url, {"text-to-image", "image-to-image"}, WARM_SECONDS)
    with step("Waiting until the hand-written resource is warm"):
        release.kubectl("wait", "smd/by-hand", "--for=condition=Warm", f"--timeout={WARM_SECONDS}s")
    story.heading("One job for each pipeline; image-to-video is cold, so its job starts the worker")
    for result in check(send_three(release.url, output)):
        story.tell(str(result))
    story.tell(str(send_by_name(release.url, "by-hand", "text-to-image", output / "by-hand")))
    story.heading("kubectl get smd")
    for line in release.kubectl("get", "smd").splitlines():
        story.tell(line)
    story.end(_next(release))


def _values(references: Mapping[str, str]) -> dict[str, object]:
    """The chart's values: this clone's images, workers on the CPU, weights from an image volume, the models config."""
    worker = {
        "gpu": {"count": 0},
        "resources": {"cpu": "100m", "memory": "2Gi"},
        "weights": {"image": {"reference": references["models"]}},
    }
    return merged(image_values(references, "worker"), {"worker": worker, "models": json.loads(CONFIG.read_text())})


def _next(release: Release) -> list[str]:
    body = json.dumps(FIELDS["text-to-image"] | {"model_id": MODELS["text-to-image"], "prompt": "a green square on white"})
    return [
        f"export KUBECONFIG={release.cluster.kubeconfig} PATH={binaries.kubernetes()}:$PATH",
        f"kubectl --namespace {release.namespace} get smd --output wide",
        f"kubectl --namespace {release.namespace} describe smd by-hand",
        f"curl -s {release.url}/capabilities",
        f".venv/bin/stoker status --watch --url {release.url}",
        f"curl -s {release.url}/text-to-image -H 'Accept: image/png' -o picture.png -d '{body}'",
        "make demo-down                  # removes everything",
    ]


if __name__ == "__main__":
    sys.exit(main())
