"""Which workers a job meets: a slot for each try, and a second try where the first worker was lost before it answered."""

import asyncio
import time

from stoker_contracts.errors import ErrorType
from stoker_orchestrator.adapters.upstream import WorkerLostError
from stoker_orchestrator.app.broker import Broker
from stoker_orchestrator.app.desk import RefusedError
from stoker_orchestrator.app.forwarding import Forwarder, WorkerFullError
from stoker_orchestrator.app.job import Job
from stoker_orchestrator.app.metrics import Metrics
from stoker_orchestrator.app.target import Target
from stoker_orchestrator.domain.admission import Refusal
from stoker_orchestrator.domain.hold import Ask

TRIES = 2
FULL_PAUSE_SECONDS = 0.25
"""How long a worker that is full is left alone."""


class Attempts:
    """Brings jobs and workers together."""

    def __init__(self, broker: Broker, forwarder: Forwarder, metrics: Metrics) -> None:
        self._broker = broker
        self._forwarder = forwarder
        self._metrics = metrics

    async def serve(self, job: Job, target: Target) -> None:
        """Wait for a worker and send the job there, to a second one where the first is lost.

        Raises RefusedError, and WorkerLostError once the answer has begun.
        """
        lost: list[str] = []
        give_up = time.monotonic() + target.model.start_timeout
        while len(lost) < TRIES:
            slot = await self._broker.take(target.model, Ask(target.cost, excluded=tuple(lost), again=bool(lost)))
            try:
                await self._forwarder.forward(job, slot)
            except WorkerFullError:
                if time.monotonic() > give_up:
                    words = "the workers are full with jobs of another orchestrator; try again later"
                    raise RefusedError(Refusal(503, ErrorType.OVERLOADED, words, "worker_full", 5)) from None
                await asyncio.sleep(FULL_PAUSE_SECONDS)  # the slot stays taken meanwhile, as it is
            except WorkerLostError:
                if job.started:
                    job.reason = "worker_lost"
                    raise
                lost.append(slot.endpoint.id)
                if len(lost) < TRIES:
                    self._metrics.retries.labels(target.model.name).inc()
            else:
                return
            finally:
                self._broker.give_back(slot)
        words = "the worker went away before it answered, and so did a second one"
        await job.refuse(Refusal(502, ErrorType.WORKER_LOST, words, retry_after=5))
