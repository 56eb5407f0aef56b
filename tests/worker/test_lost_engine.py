"""What callers of a worker over HTTP see when it loses its engine."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from stoker_contracts.pipelines import Pipeline
from stoker_contracts.worker import ExitReason
from stoker_worker.app import answers, process
from stoker_worker.app.process import Worker
from stoker_worker.app.settings import Settings
from stoker_worker.encoding.png import encode_png
from stoker_worker.engine.protocol import FatalEngineError, Pixels
from tests.support.held_worker import Gate
from tests.support.ports import free_port
from tests.support.waiting import until

JOB = {"prompt": "p", "width": 64, "height": 64, "num_inference_steps": 1}


class HeldEncoder:
    """Makes no PNG before it is let."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.let = threading.Event()

    def __call__(self, picture: Pixels) -> bytes:
        self.begun.set()
        self.let.wait(10)
        return encode_png(picture)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> HeldEncoder:
    held = HeldEncoder()
    monkeypatch.setitem(answers._PICTURES, answers.PNG, held)
    return held


@asynccontextmanager
async def serving(engine: Gate, folder: Path) -> AsyncIterator[tuple[httpx2.AsyncClient, "asyncio.Task[int]"]]:
    """A client of a worker that is ready, and its exit code to come."""
    port = free_port()
    settings = Settings(
        pipeline=Pipeline.TEXT_TO_IMAGE,
        model_id="m",
        engine="stub",
        host="127.0.0.1",
        port=port,
        capacity=2,
        termination_message_path=folder / "message",
    )
    running = asyncio.create_task(Worker(settings, engine).run())
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        await until_ready(client, ready=True)
        yield client, running


async def until_ready(client: httpx2.AsyncClient, *, ready: bool) -> None:
    """Wait until the worker takes jobs, or does not even listen any more."""
    async with asyncio.timeout(20):
        while True:
            try:
                answer = await client.get("/ready")
                if ready and answer.is_success:
                    return
            except httpx2.ConnectError:
                if not ready:
                    return
            except httpx2.TransportError:
                pass  # the connection was kept, and is closed just now: the next one will tell
            await asyncio.sleep(0.01)


async def test_a_body_on_its_way_to_a_worker_that_ends_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_LAST_ANSWERS_SECONDS", 0.1)
    engine = Gate()
    async with serving(engine, tmp_path) as (client, running):
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(b"POST /text-to-image HTTP/1.1\r\nhost: w\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{")
        await writer.drain()
        engine.fail = [FatalEngineError(ExitReason.ENGINE_FAILED, "the card is gone")]
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.post("/text-to-image", json=JOB)

        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        assert await asyncio.wait_for(running, 10) == 1


async def test_a_job_that_was_done_is_answered_and_one_that_ran_breaks_off(tmp_path: Path, encoder: HeldEncoder) -> None:
    engine = Gate()
    async with serving(engine, tmp_path) as (client, running):
        done = asyncio.create_task(client.post("/text-to-image", json=JOB))
        await until(encoder.begun.is_set)
        engine.fail = [FatalEngineError(ExitReason.ENGINE_FAILED, "the card is gone")]
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.post("/text-to-image", json=JOB)
        await until_ready(client, ready=False)
        encoder.let.set()

        assert (await done).status_code == 200
        assert await asyncio.wait_for(running, 10) == 1
