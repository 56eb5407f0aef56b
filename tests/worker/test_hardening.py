"""Workers as real processes among callers who hang up, dawdle, and send nonsense."""

import asyncio
import contextlib
import io
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from benchmarks.processes import family, rss_mb
from stoker_contracts.pipelines import FACTS, Pipeline
from tests.support.waiting import eventually, until
from tests.worker.test_process import Process, started
from tools.fuzz_worker import fuzz

T2I, I2I, I2V = Pipeline.TEXT_TO_IMAGE, Pipeline.IMAGE_TO_IMAGE, Pipeline.IMAGE_TO_VIDEO
JOB = {"prompt": "p", "width": 64, "height": 64, "num_inference_steps": 1}
FORM = {"prompt": "p", "num_inference_steps": "2"}


def picture(side: int = 64) -> dict[str, tuple[str, bytes, str]]:
    """Noise that does not compress."""
    out = io.BytesIO()
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(out, "PNG", compress_level=1)
    return {"image": ("a.png", out.getvalue(), "image/png")}


@asynccontextmanager
async def ready(tmp_path: Path, pipeline: Pipeline = T2I, step_seconds: float = 0, **settings: str) -> AsyncIterator[Process]:
    settings = {"PIPELINE": pipeline.value, "LOG_LEVEL": "ERROR"} | settings
    async with started(tmp_path, {"step_seconds": step_seconds}, **settings) as worker:
        await worker.answers("/ready")
        yield worker


def children(worker: Process) -> list[int]:
    return family(worker.process.pid)[1:]


async def connected(worker: Process) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = worker.client.base_url
    assert url.port is not None
    return await asyncio.open_connection(url.host, url.port)


def job(**fields: Any) -> bytes:
    body = json.dumps(JOB | fields).encode()
    return b"POST /text-to-image HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_fuzzed_requests_cost_no_5xx_no_answer_and_no_process() -> None:
    said: list[str] = []
    report = fuzz(600, 7, said.append)

    assert (report["violations"], report["restarts"]) == (0, 0), said
    assert report["requests"] == 600


async def test_500_mixed_requests_leave_memory_as_it_was(tmp_path: Path) -> None:
    async with ready(tmp_path, I2I, CAPACITY="8") as worker:
        large, small = picture(512), picture()

        async def some(number: int) -> None:
            for each in range(number):
                answers = await asyncio.gather(
                    worker.client.post("/image-to-image", data=FORM, files=small, headers={"Accept": "image/png"}),
                    worker.client.post("/image-to-image", data=FORM, files=large if each % 5 == 0 else small),
                    worker.client.post("/image-to-image", data=FORM, files={"image": b"none"}),
                    worker.client.post("/image-to-image", data=FORM | {"strength": "9"}, files=small),
                    worker.client.post("/image-to-image", json={"prompt": "x" * 100_000}),
                )
                assert [answer.status_code for answer in answers] == [200, 200, 400, 422, 400]

        await some(20)
        before = rss_mb(worker.process.pid)
        await some(80)

        assert rss_mb(worker.process.pid) - before < 12


async def test_a_storm_of_hang_ups_leaves_an_idle_worker(tmp_path: Path) -> None:
    async with ready(tmp_path, step_seconds=0.002, CAPACITY="16") as worker:

        async def hang_up(number: int) -> None:
            reader, writer = await connected(worker)
            writer.write(job(num_inference_steps=200))
            with contextlib.suppress(TimeoutError, ConnectionError):
                await asyncio.wait_for(reader.read(1), 0.001 * (number % 40))
            writer.transport.abort()

        for _ in range(6):
            await asyncio.gather(*(hang_up(number) for number in range(50)))
        await worker.in_flight(0)
        answer = await worker.client.post("/text-to-image", json=JOB)
        metrics = (await worker.client.get("/metrics")).text

        assert (answer.status_code, (await worker.client.get("/health")).json()) == (200, {"status": "IDLE"})
        assert 'outcome="cancelled"' in metrics
        assert 'outcome="failed"' not in metrics


async def test_who_reads_slowly_makes_nobody_wait(tmp_path: Path) -> None:
    async with ready(tmp_path, CAPACITY="2") as worker:
        reader, writer = await connected(worker)
        writer.write(job(width=1024, height=1024, num_images_per_prompt=4) * 8)
        assert await reader.readexactly(1) == b"H", "17 MB begin to come, more than sockets hold"
        for _ in range(5):
            answer = await asyncio.wait_for(worker.client.post("/text-to-image", json=JOB), 5)
            assert answer.status_code == 200
            await reader.readexactly(1)
        await worker.in_flight(0)
        writer.transport.abort()

        assert children(worker) == [], "no decoders where no pictures come in"


async def test_who_sends_slowly_makes_nobody_wait_and_is_told_to_stop(tmp_path: Path) -> None:
    async with ready(tmp_path, BODY_STALL_SECONDS="0.4") as worker:
        silent, trickling = await connected(worker), await connected(worker)
        for _, writer in (silent, trickling):
            writer.write(b"POST /text-to-image HTTP/1.1\r\nContent-Length: 5000\r\n\r\n{")
        trickle = asyncio.create_task(_trickle(trickling[1]))
        for _ in range(5):
            assert (await worker.client.post("/text-to-image", json=JOB)).status_code == 200
            assert (await worker.client.get("/health", timeout=2)).json() == {"status": "IDLE"}
        said = [(await asyncio.wait_for(reader.read(), 15)).decode() for reader, _ in (silent, trickling)]
        trickle.cancel()
        for _, writer in (silent, trickling):
            writer.close()

    for answer in said:
        assert answer.startswith("HTTP/1.1 400 ")
        assert "the body stopped coming: no byte for 0.4 s, or not whole after 4 s" in answer


async def _trickle(writer: asyncio.StreamWriter) -> None:
    """Blanks, which JSON allows, one by one."""
    while True:
        writer.write(b" ")
        await asyncio.sleep(0.05)


async def test_bodies_that_are_read_at_the_same_time_have_a_bound(tmp_path: Path) -> None:
    async with ready(tmp_path) as worker:
        slow = [await connected(worker) for _ in range(9)]
        for _, writer in slow:
            writer.write(job()[:-20])
            await writer.drain()
        refused = await first_with(worker, 500)
        for _, writer in slow:
            writer.transport.abort()
        await first_with(worker, 200)

    assert refused.json()["error"]["code"] == "worker_full"


async def first_with(worker: Process, status: int) -> httpx2.Response:
    """The first answer to a good job with this status."""
    async with asyncio.timeout(10):
        while (answer := await worker.client.post("/text-to-image", json=JOB)).status_code != status:
            pass
    return answer


async def test_decoders_are_there_before_the_first_picture_and_gone_with_their_worker(tmp_path: Path) -> None:
    async with ready(tmp_path, I2I) as worker:
        await until(lambda: len(children(worker)) == 2)
        decoders = children(worker)
        assert (await worker.client.post("/image-to-image", data=FORM, files=picture())).status_code == 200
        assert children(worker) == decoders, "the picture was decoded by one of them"
        os.kill(decoders[0], signal.SIGKILL)
        os.kill(decoders[1], signal.SIGKILL)
        for _ in range(3):
            assert (await worker.client.post("/image-to-image", data=FORM, files=picture())).status_code == 200
        decoders = children(worker)
        worker.process.send_signal(signal.SIGTERM)
        assert await worker.exit_code() == 0

    assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in decoders))


READ_ONLY = """
import os, sys

def refuse(event, arguments):
    if event == "open":
        path, _, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and str(path) != os.devnull:
            print("WRITES", path, file=sys.stderr)
            raise OSError(30, "Read-only file system")
    elif event in ("os.mkdir", "os.rename", "os.link", "os.symlink", "tempfile.mkstemp", "tempfile.mkdtemp"):
        raise OSError(30, "Read-only file system")

sys.addaudithook(refuse)
"""


@pytest.mark.parametrize("pipeline", list(Pipeline))
async def test_a_worker_needs_no_file_system_that_it_can_write_to(tmp_path: Path, pipeline: Pipeline) -> None:
    (tmp_path / "sitecustomize.py").write_text(READ_ONLY)
    nowhere = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), "/nonexistent")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    async with ready(tmp_path, pipeline, 0, PYTHONPATH=path, PYTHONDONTWRITEBYTECODE="1", **nowhere) as worker:
        sent: dict[str, Any] = {"json": JOB}
        if FACTS[pipeline].takes_image:
            fields = FORM if pipeline is I2I else {"width": "64", "height": "64", "output_format": "mp4"}
            sent = {"data": fields, "files": picture(640)}
        answers = [await worker.client.post(FACTS[pipeline].route, **sent) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text[:500]


async def test_the_reason_for_the_end_is_all_that_a_worker_writes(tmp_path: Path) -> None:
    nowhere = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    async with started(tmp_path, {"load_error": "no such layer"}, **nowhere) as worker:
        assert await worker.exit_code() == 1

    assert [each.name for each in tmp_path.iterdir()] == ["termination-message"]
