"""Stub workers as processes, started when a test first asks for them."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import httpx2

from stoker_contracts.pipelines import Pipeline
from tests.support.ports import free_port
from tests.support.waiting import eventually


class StubWorkers:
    """One worker for each pipeline and environment; all end with `close`."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._urls: dict[tuple[Pipeline, frozenset[tuple[str, str]]], str] = {}
        self._processes: list[subprocess.Popen[bytes]] = []

    def url(self, pipeline: Pipeline = Pipeline.TEXT_TO_IMAGE, **environment: str) -> str:
        """Where such a worker answers; its model is loaded, and its name is ``org/model``."""
        key = pipeline, frozenset(environment.items())
        if key not in self._urls:
            self._urls[key] = self._started(pipeline, environment)
        return self._urls[key]

    def _started(self, pipeline: Pipeline, environment: dict[str, str]) -> str:
        port = free_port()
        settings = {
            "PIPELINE": pipeline.value, "MODEL_ID": "org/model", "ENGINE": "stub", "HOST": "127.0.0.1", "PORT": str(port),
            "CAPACITY": "8", "STUB_SCRIPT": '{"step_seconds": 0.001}', "TERMINATION_MESSAGE_PATH": str(self._scratch / "end"),
        }  # fmt: skip
        command = (sys.executable, "-m", "stoker_worker")
        self._processes.append(subprocess.Popen(command, env=os.environ | settings | environment, stderr=subprocess.DEVNULL))
        url = f"http://127.0.0.1:{port}"
        with httpx2.Client(base_url=url, trust_env=False, verify=False) as client:
            eventually(lambda: _ready(client), seconds=60, every=0.1)
        return url

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()


def _ready(client: httpx2.Client) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return client.get("/ready").status_code == 200
    return False
