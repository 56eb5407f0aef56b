"""The three jobs of a demonstration: sent, checked, stored. Standard library only, as a newcomer's own script would be."""

import json
import struct
import time
import urllib.error
import urllib.request
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BOUNDARY = "stoker-demo"
MODELS = {"text-to-image": "stoker/shapes", "image-to-image": "stoker/shapes", "image-to-video": "stoker/shapes-clip"}
"""The demonstration's model of each pipeline."""
SIZE = 64
_PROMPTED = {"num_inference_steps": 12, "guidance_scale": 3, "seed": 7}
FIELDS: dict[str, dict[str, Any]] = {
    "text-to-image": _PROMPTED | {"prompt": "a red circle on a blue background", "width": SIZE, "height": SIZE},
    "image-to-image": _PROMPTED | {"prompt": "a yellow circle on a green background", "strength": 0.8},
    "image-to-video": {"num_inference_steps": 12, "seed": 7, "width": SIZE, "height": SIZE, "fps": 4},
}
"""What the demonstration asks of each pipeline. The picture of the first is what the others begin with."""


class DemoError(Exception):
    """The demonstration did not show what it should."""


@dataclass(frozen=True, slots=True)
class Result:
    """One answered job: what it was, where its result lies, and how it was served."""

    pipeline: str
    file: Path
    seconds: float
    worker: str
    queue_ms: int
    cold_start: bool

    def __str__(self) -> str:
        how = "cold start, " if self.cold_start else ""
        return f"{self.pipeline:<16}{self.seconds:6.2f} s  {how}waited {self.queue_ms} ms  -> {self.file}"


def warm_pipelines(url: str) -> set[str]:
    """The pipelines whose model of the demonstration is advertised as warm; none while nobody answers."""
    try:
        with urllib.request.urlopen(f"{url}/capabilities", timeout=5) as answer:  # noqa: S310 - the demo's own URL
            document = json.load(answer)
    except (urllib.error.URLError, OSError, ValueError):
        return set()
    told = [(each["pipeline"], model) for each in document["capabilities"] for model in each["models"]]
    return {pipeline for pipeline, model in told if model["warm"] and model["model_id"] == MODELS.get(pipeline)}


def wait_until_warm(url: str, pipelines: set[str], seconds: float, alive: Callable[[], bool] = lambda: True) -> None:
    """Return once the models of `pipelines` are advertised as warm by an orchestrator that is `alive`. Raises DemoError."""
    deadline = time.monotonic() + seconds
    while missing := pipelines - warm_pipelines(url):
        if not alive():
            message = "the orchestrator ended; orchestrator.log beside the pictures says why"
            raise DemoError(message)
        if time.monotonic() > deadline:
            message = f"not warm after {seconds:.0f} s: {', '.join(sorted(missing))}"
            raise DemoError(message)
        time.sleep(0.2)


def send_three(url: str, into: Path) -> list[Result]:
    """One job for each pipeline; the picture of the first is what the others begin with."""
    into.mkdir(parents=True, exist_ok=True)
    picture = None
    results = []
    for pipeline, model in MODELS.items():
        result = _send(url, pipeline, FIELDS[pipeline] | {"model_id": model}, into / pipeline, picture)
        results.append(result)
        picture = picture or result.file.read_bytes()
    return results


def send_by_name(url: str, name: str, pipeline: str, stem: Path) -> Result:
    """One text-to-image job to the model whose resource is called `name`; the result is stored as `stem` with its suffix."""
    return _send(f"{url}/models/{name}", pipeline, FIELDS[pipeline], stem, None)


def _send(url: str, pipeline: str, fields: dict[str, Any], stem: Path, image: bytes | None) -> Result:
    body, kind = (json.dumps(fields).encode(), "application/json") if image is None else _form(fields, image)
    request = urllib.request.Request(f"{url}/{pipeline}", body, {"Content-Type": kind})  # noqa: S310 - as above
    began = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=900) as answer:  # noqa: S310 - as above
            told, content = answer.headers, json.load(answer)
    except urllib.error.HTTPError as error:
        message = f"{pipeline} was answered {error.code}: {error.read().decode(errors='replace')[:500]}"
        raise DemoError(message) from error
    file = _store(content["images"][0]["url"], stem)
    cold = told.get("Stoker-Cold-Start") == "true"
    seconds = time.monotonic() - began
    return Result(pipeline, file, seconds, told["Stoker-Worker"], int(told["Stoker-Queue-Ms"]), cold)


def _form(fields: dict[str, Any], image: bytes) -> tuple[bytes, str]:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="in.png"\r\nContent-Type: image/png\r\n\r\n'
    parts = [head.encode(), image, b"\r\n"]
    for name, value in fields.items():
        parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    parts.append(f"--{BOUNDARY}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={BOUNDARY}"


def _store(url: str, stem: Path) -> Path:
    """Check that a data URL holds a picture of the asked size or a clip, and store it."""
    kind, _, data = url.partition(";base64,")
    content = b64decode(data)
    if kind == "data:image/png" and content[:8] == b"\x89PNG\r\n\x1a\n":
        if struct.unpack(">II", content[16:24]) != (SIZE, SIZE):
            message = "the picture has not the size that was asked for"
            raise DemoError(message)
        file = stem.with_suffix(".png")
    elif kind == "data:video/mp4" and content[4:8] == b"ftyp":
        file = stem.with_suffix(".mp4")
    else:
        message = f"the answer is neither a PNG nor an MP4 but {kind[:40]}"
        raise DemoError(message)
    file.write_bytes(content)
    return file
