"""``make bench-worker``: the worker on this host's CPU, one torch thread, over HTTP.

Seconds of a call for each tiny pipeline, how fast /health answers while a job runs, how soon a stub worker listens, how long a
worker takes to its first picture beside its imports and its load on their own, how well the scheduler packs the work of a mixed
crowd, how much Python a call takes between its networks, and what it costs to encode and decode pictures.
"""

import http.client
import io
import json
import select
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
from PIL import Image

from benchmarks.processes import BenchmarkError, cpu_seconds
from benchmarks.result import compare, print_result, quantile, rounded, say
from benchmarks.worker.between import python_vs_stock
from benchmarks.worker.encoding import mp4_vs_png, png_vs_pillow, upload_ms
from benchmarks.worker.scheduling import scheduling
from benchmarks.worker.start import SHAPES, Subject, first_picture_vs_parts
from benchmarks.worker.started import started
from e2e.command_line import command_line
from e2e.images.models import model_folder
from stoker_contracts.pipelines import FACTS, Pipeline

CALLS = 12
PROBES = 600
PROBE_SECONDS = 30.0
STARTS = 12
AT_LEAST = {"packing": 0.95, "png_vs_pillow": 20.0, "mp4_vs_png": 15.0, "python_vs_stock": 5.0}
AT_MOST = {"call_s": 1.0, "health_p99_ms": 10.0, "stub_listen_s": 1.0, "small_p95_vs_fifo": 0.5, "first_picture_vs_parts": 1.3}
JOB = {"prompt": "a red circle", "num_inference_steps": 2, "seed": 1}
SQUARE = {"width": 64, "height": 64}
LONG_JOB = JOB | SQUARE | {"num_inference_steps": 200, "num_images_per_prompt": 4}


def request(pipeline: Pipeline) -> dict[str, Any]:
    """A small job of `pipeline`, as arguments of a post."""
    if not FACTS[pipeline].takes_image:
        return {"json": JOB | SQUARE}
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    fields = JOB | (SQUARE if pipeline is Pipeline.IMAGE_TO_VIDEO else {})
    data = {key: str(value) for key, value in fields.items()}
    return {"data": data, "files": {"image": ("in.png", picture.getvalue(), "image/png")}}


def post(client: httpx2.Client, pipeline: Pipeline, **parts: Any) -> None:
    """Send a job. Raises BenchmarkError unless it succeeds."""
    answer = client.post(FACTS[pipeline].route, **parts)
    if answer.status_code != http.HTTPStatus.OK:
        message = f"a {pipeline.value} job ended with {answer.status_code}: {answer.text[:200]}"
        raise BenchmarkError(message)


def calls(models: Path, folder: Path) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds of each call by pipeline, and milliseconds of /health probes while a text-to-image job ran."""
    seconds: dict[str, list[float]] = {}
    probes: list[float] = []
    for pipeline in Pipeline:
        settings = {"PIPELINE": pipeline.value, "MODEL_ID": f"stoker/tiny-{pipeline.value}", "DEVICE": "cpu"}
        with (
            started(folder, MODEL_DIR=str(models), **settings) as worker,
            httpx2.Client(base_url=f"http://127.0.0.1:{worker.port}", timeout=120) as client,
        ):
            worker.wait_until_loaded()
            parts = request(pipeline)
            post(client, pipeline, **parts)
            before = cpu_seconds(worker.process.pid)
            seconds[pipeline.value] = [timed(client, pipeline, parts) for _ in range(CALLS)]
            say(f"  {pipeline.value}: {(cpu_seconds(worker.process.pid) - before) / CALLS:.3f} s of CPU time per call")
            if pipeline is Pipeline.TEXT_TO_IMAGE:
                probes = probed(worker.port)
    return seconds, probes


def timed(client: httpx2.Client, pipeline: Pipeline, parts: dict[str, Any]) -> float:
    """Seconds of one call."""
    began = time.monotonic()
    post(client, pipeline, **parts)
    return time.monotonic() - began


def probed(port: int) -> list[float]:
    """Milliseconds of each /health probe, all of them taken while a job ran."""
    job = threading.Thread(target=keep_busy, args=(port, done := threading.Event()))
    job.start()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    times: list[float] = []
    deadline = time.monotonic() + PROBE_SECONDS
    try:
        while len(times) < PROBES and time.monotonic() < deadline:
            began = time.monotonic()
            connection.request("GET", "/health")
            busy = b'"OK"' in connection.getresponse().read()
            if busy:
                times.append((time.monotonic() - began) * 1000)
            time.sleep(0.005)
    finally:
        done.set()
        connection.close()
        job.join()
    return times


def keep_busy(port: int, done: threading.Event) -> None:
    """Long jobs, one after the other, the last one given up when it is `done`."""
    body = json.dumps(LONG_JOB)
    while not done.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", FACTS[Pipeline.TEXT_TO_IMAGE].route, body, {"Content-Type": "application/json"})
        assert connection.sock is not None
        while not done.wait(0.01) and not select.select([connection.sock], [], [], 0)[0]:
            pass
        connection.close()


def starts(folder: Path) -> list[float]:
    """Seconds from exec to the first answer of stub workers, one after the other."""
    seconds = []
    for _ in range(STARTS):
        with started(folder, PIPELINE="text-to-image", MODEL_ID="stoker/stub", ENGINE="stub") as worker:
            seconds.append(worker.seconds)
    return seconds


def main() -> int:
    """Measure, say how it compares to the targets, print the result."""
    command_line("benchmarks.worker.run", __doc__, "make bench-worker").parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-worker-") as scratch:
            models = model_folder()
            stub = starts(Path(scratch))
            first = first_picture_vs_parts(Subject(models, SHAPES, JOB | SQUARE), Path(scratch))
            seconds, probes = calls(models, Path(scratch))
            between = python_vs_stock(Path(scratch))
        crowd = scheduling()
        png, clip, uploads = png_vs_pillow(), mp4_vs_png(), upload_ms()
    except BenchmarkError as error:
        say(f"bench-worker: {error}")
        return 1
    call_s = {name: rounded(statistics.median(each)) for name, each in seconds.items()}
    figures = {
        "health_p99_ms": rounded(quantile(probes, 0.99)),
        "stub_listen_s": rounded(statistics.median(stub)),
        "first_picture_vs_parts": rounded(first.pop("first_picture_vs_parts")),
    }
    figures |= {name: rounded(crowd.pop(name)) for name in ("packing", "small_p95_vs_fifo")}
    figures["png_vs_pillow"] = min(each["faster"] for each in png.values())
    figures["mp4_vs_png"] = clip["faster"]
    figures["python_vs_stock"] = between.pop("python_vs_stock")
    compare(figures | {"call_s": max(call_s.values())}, AT_LEAST, AT_MOST)
    raw = {
        "call_max_s": {name: rounded(max(each)) for name, each in seconds.items()},
        "health_median_ms": rounded(statistics.median(probes)),
        "health_max_ms": rounded(max(probes)),
        "health_probes": len(probes),
        "stub_listen_max_s": rounded(max(stub)),
        "stub_starts": len(stub),
        "start": {name: rounded(seconds) for name, seconds in first.items()},
        "between_networks": {name: rounded(each) for name, each in between.items()},
        "png": png,
        "mp4": clip,
        "upload_ms": uploads,
    } | {name: rounded(value) for name, value in crowd.items()}
    print_result({"call_s": call_s} | figures | {"raw": raw})
    return 0


if __name__ == "__main__":
    sys.exit(main())
