"""The worker as a real process: start, faults, signals."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from stoker_worker.engine.stub import KILLED
from tests.support.ports import free_port

JOB = {"prompt": "p", "width": 64, "height": 64, "num_inference_steps": 5}


class Process:
    """A started worker."""

    def __init__(self, process: asyncio.subprocess.Process, client: httpx2.AsyncClient, message: Path) -> None:
        self.process = process
        self.client = client
        self._message = message

    def termination_message(self) -> str:
        return self._message.read_text() if self._message.exists() else ""

    async def answers(self, path: str, status: int = 200) -> None:
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(httpx2.TransportError):
                    if (await self.client.get(path)).status_code == status:
                        return
                await asyncio.sleep(0.02)

    async def in_flight(self, number: int) -> None:
        async with asyncio.timeout(10):
            while (await self.client.get("/ready")).json()["in_flight"] != number:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)

    async def exit_code(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 20)


@asynccontextmanager
async def started(tmp_path: Path, script: dict[str, Any] | None = None, **environment: str) -> AsyncIterator[Process]:
    port, message = free_port(), tmp_path / "termination-message"
    variables = {
        "PIPELINE": "text-to-image",
        "MODEL_ID": "org/model",
        "ENGINE": "stub",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "TERMINATION_MESSAGE_PATH": str(message),
        "STUB_SCRIPT": json.dumps(script or {}),
    } | environment
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stoker_worker", env=os.environ | variables, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            yield Process(process, client, message)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_port_is_open_while_the_model_loads(tmp_path: Path) -> None:
    async with started(tmp_path, {"load_seconds": 60}) as worker:
        await worker.answers("/live")
        ready, health = await worker.client.get("/ready"), await worker.client.get("/health")

    assert (ready.status_code, ready.json()["state"]) == (503, "loading")
    assert health.json() == {"status": "LOADING"}


async def test_sigterm_lets_the_running_job_finish(tmp_path: Path) -> None:
    async with started(tmp_path, {"step_seconds": 0.1}) as worker:
        await worker.answers("/ready")
        job = asyncio.create_task(worker.client.post("/text-to-image", json=JOB))
        await worker.in_flight(1)
        worker.process.send_signal(signal.SIGTERM)
        answer = await job

        assert answer.status_code == 200
        assert await worker.exit_code() == 0


async def test_a_job_longer_than_the_drain_time_does_not_keep_the_process(tmp_path: Path) -> None:
    async with started(tmp_path, {"fault": "hang"}, DRAIN_SECONDS="0.2") as worker:
        await worker.answers("/ready")
        job = asyncio.create_task(worker.client.post("/text-to-image", json=JOB))
        await worker.in_flight(1)
        worker.process.send_signal(signal.SIGTERM)

        assert await worker.exit_code() == 0
        with contextlib.suppress(httpx2.TransportError):
            assert (await job).status_code != 200


async def test_a_worker_can_be_scripted_to_ignore_sigterm(tmp_path: Path) -> None:
    async with started(tmp_path, {"fault": "ignore_sigterm"}) as worker:
        await worker.answers("/ready")
        worker.process.send_signal(signal.SIGTERM)

        assert (await worker.client.post("/text-to-image", json=JOB)).status_code == 200


async def test_a_closed_connection_stops_the_job(tmp_path: Path) -> None:
    async with started(tmp_path, {"step_seconds": 0.05}) as worker:
        await worker.answers("/ready")
        with pytest.raises(httpx2.ReadTimeout):
            await worker.client.post("/text-to-image", json=JOB | {"num_inference_steps": 200}, timeout=0.3)
        await worker.in_flight(0)
        metrics = (await worker.client.get("/metrics")).text

    assert 'stoker_worker_jobs_total{outcome="cancelled"} 1.0' in metrics


@pytest.mark.parametrize(
    ("script", "environment", "code", "message"),
    [
        ({"load_error": "no such layer"}, {}, 1, "LoadFailed: no such layer"),
        ({"weights_missing": True}, {}, 1, "WeightsMissing: "),
        ({}, {"CAPACITY": "none"}, 2, "SettingsInvalid: CAPACITY: "),
        ({}, {"PIPELINE": "text-to-text"}, 2, "SettingsInvalid: PIPELINE: "),
        ({"fault": "explode"}, {}, 2, "SettingsInvalid: STUB_SCRIPT"),
        ({"fault": "crash_at_load"}, {}, KILLED, ""),
    ],
)
async def test_a_worker_that_cannot_start_says_why_and_ends(
    tmp_path: Path, script: dict[str, Any], environment: dict[str, str], code: int, message: str
) -> None:
    async with started(tmp_path, script, **environment) as worker:
        assert await worker.exit_code() == code
        assert worker.termination_message().startswith(message)


async def test_a_crash_in_the_middle_of_a_job_closes_its_connection(tmp_path: Path) -> None:
    async with started(tmp_path, {"fault": "crash_at_step", "fault_at_step": 2}) as worker:
        await worker.answers("/ready")
        with pytest.raises(httpx2.RemoteProtocolError):
            await worker.client.post("/text-to-image", json=JOB)

        assert await worker.exit_code() == KILLED


async def test_a_model_that_hangs_ends_the_worker_in_words_and_closes_the_connection_of_its_job(tmp_path: Path) -> None:
    async with started(tmp_path, {"fault": "hang"}, STEP_TIMEOUT_SECONDS="0.5", CAPACITY="2") as worker:
        await worker.answers("/ready")
        running = asyncio.create_task(worker.client.post("/text-to-image", json=JOB))
        await worker.in_flight(1)
        waiting = asyncio.create_task(worker.client.post("/text-to-image", json=JOB | {"width": 128}))

        with pytest.raises(httpx2.TransportError):
            await running
        assert await worker.exit_code() == 1

    assert (await waiting).json()["error"] == {"message": "worker has failed", "type": "worker_draining", "code": "worker_draining"}
    assert worker.termination_message().startswith("EngineFailed: no progress for ")


async def test_weights_that_are_not_there_are_told_without_a_host_path(tmp_path: Path) -> None:
    async with started(tmp_path, ENGINE="diffusers", MODEL_DIR=str(tmp_path / "models")) as worker:
        assert await worker.exit_code() == 1

    message = worker.termination_message()
    assert message.startswith("WeightsMissing: the weights of org/model are missing")
    assert str(tmp_path) not in message
