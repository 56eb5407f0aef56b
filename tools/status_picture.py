"""Draw the picture of `stoker status` in the guide, from a run with scripted workers and jobs of several callers."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
from rich.console import Console

from stoker_cli.client import AwayError, Orchestrator
from stoker_cli.tables import tables
from stoker_contracts.overview import ModelState, Overview

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docs/pictures/status.svg"
PORT = 18935
URL = f"http://127.0.0.1:{PORT}"
SDXL = "stabilityai/sdxl-turbo"
COLD = "stabilityai/stable-diffusion-xl-base-1.0"
MODELS = [
    {"pipeline": "text-to-image", "model_id": SDXL, "warm": True, "capacity": 2},
    {"pipeline": "text-to-image", "model_id": COLD, "warm": False},
    {"pipeline": "image-to-image", "model_id": "stabilityai/sd-turbo", "warm": True},
    {"pipeline": "image-to-video", "model_id": "stabilityai/stable-video-diffusion-img2vid-xt", "warm": False},
]
JOB = {"prompt": "a lighthouse", "width": 1024, "height": 1024, "num_inference_steps": 40}
STEP_SECONDS = 0.05
_SECONDS = 60


@contextlib.contextmanager
def orchestrator() -> Iterator[None]:
    """One on this host, with workers that follow a script."""
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("wb") as log:
        config = Path(folder, "aiModels.json")
        config.write_text(json.dumps(MODELS))
        settings = {
            "STOKER_FLEET": "processes",
            "STOKER_NAME": "stoker-orchestrator",
            "STOKER_MODELS_CONFIG": str(config),
            "STOKER_MODELS_DIR": folder,
            "STOKER_WORKER_ENGINE": "stub",
            "STOKER_WORKER_ENV": json.dumps({"STUB_SCRIPT": json.dumps({"step_seconds": STEP_SECONDS, "load_seconds": 3})}),
            "STOKER_HOST": "127.0.0.1",
            "STOKER_PORT": str(PORT),
            "STOKER_DRAIN_SECONDS": "0",
        }
        command = [sys.executable, "-m", "stoker_orchestrator"]
        process = subprocess.Popen(command, env=os.environ | settings, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def send(caller: int, model: str = SDXL) -> None:
    """One job of one caller; how it ends does not matter here."""
    with contextlib.suppress(httpx2.HTTPError):
        httpx2.post(
            f"{URL}/text-to-image", json=JOB | {"model_id": model}, headers={"Authorization": f"Bearer {caller}"}, timeout=_SECONDS
        )


def seen(client: Orchestrator, waiting: int, decided: int = 0) -> Overview:
    """The document once both warm models serve, that many jobs wait and models are decided about. Raises TimeoutError."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(AwayError):
            overview = client.overview()
            serving = sum(model.state is ModelState.SERVING for model in overview.models)
            decisions = sum(bool(model.decisions) for model in overview.models)
            waits = sum(model.line.waiting for model in overview.models)
            if serving == sum(bool(model["warm"]) for model in MODELS) and waits >= waiting and decisions >= decided:
                return overview
        time.sleep(0.1)
    message = "the demonstration did not come so far"
    raise TimeoutError(message)


def drawn(overview: Overview) -> str:
    """The picture of a terminal, with the fonts of whoever looks at it."""
    console = Console(file=io.StringIO(), record=True, width=80, force_terminal=True)
    console.print(tables(overview))
    svg = console.export_svg(title="stoker status --watch", unique_id="status")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def main() -> int:
    """Run the demonstration and write the picture."""
    with orchestrator(), Orchestrator(URL) as client:
        seen(client, waiting=0)
        send(0)
        for caller in (1, 1, 1, 2, 2, 3, 3):
            threading.Thread(target=send, args=(caller,), daemon=True).start()
        threading.Thread(target=send, args=(4, COLD), daemon=True).start()
        FILE.write_text(drawn(seen(client, waiting=6, decided=1)))
    print(f"{FILE.relative_to(ROOT)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
