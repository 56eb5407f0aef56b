"""Callers of an orchestrator, or of a proxy in its place: an open loop that waits for nobody."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp
import orjson

from benchmarks.activity.orchestrator import MODEL_ID
from stoker_contracts.jobs import MAX_IMAGES, MAX_STEPS


@dataclass(frozen=True, slots=True)
class Call:
    """A job to be sent `at` so many seconds after the start; it declares so many steps and takes its worker so many seconds.

    Steps beyond what a job may ask for are declared as several pictures of fewer steps each.
    """

    number: int
    at: float
    seconds: float
    steps: int = 1

    @property
    def images(self) -> int:
        """The fewest pictures among which the steps can be shared out evenly."""
        return next(count for count in range(1, MAX_IMAGES + 1) if self.steps % count == 0 and self.steps // count <= MAX_STEPS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call: its status (0: the connection failed), and seconds from sending to the whole answer."""

    call: Call
    status: int
    seconds: float
    retry_after: str | None


class Callers:
    """As many connections as there are calls under way."""

    def __init__(self, port: int, headers: dict[str, str] | None = None) -> None:
        self._url = f"http://127.0.0.1:{port}/text-to-image"
        self._headers = {"content-type": "application/json"} | (headers or {})
        timeout = aiohttp.ClientTimeout(total=600)
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)

    async def send(self, call: Call) -> Outcome:
        """Send one job and read its answer."""
        job = {"model_id": MODEL_ID, "prompt": "p" * 100, "width": 512, "height": 512}
        cost = {"num_inference_steps": call.steps // call.images, "num_images_per_prompt": call.images}
        body = orjson.dumps(job | cost | {"number": call.number, "seconds": call.seconds})
        began = time.monotonic()
        try:
            async with self.session.post(self._url, data=body, headers=self._headers) as answer:
                await answer.read()
                status, again = answer.status, answer.headers.get("retry-after")
        except aiohttp.ClientError:
            status, again = 0, None
        return Outcome(call, status, time.monotonic() - began, again)

    async def play(self, calls: Iterable[Call]) -> list[Outcome]:
        """Send each call at its time, whatever became of those before; return when all are answered."""
        loop, began = asyncio.get_running_loop(), time.monotonic()
        tasks: list[asyncio.Task[Outcome]] = []
        for call in calls:
            pause = began + call.at - time.monotonic()
            await asyncio.sleep(max(0.0, pause))
            tasks.append(loop.create_task(self.send(call)))
        return await asyncio.gather(*tasks)
