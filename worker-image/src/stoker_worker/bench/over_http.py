"""Benchmark a URL: a worker, an orchestrator, or anything that speaks as they do."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import httpx2

from stoker_contracts.pipelines import FACTS, Pipeline
from stoker_worker.bench.answers import judged, refusal
from stoker_worker.bench.document import Held, Memory, Result, Target, WarmUp
from stoker_worker.bench.drive import NO_CONNECTION, Run
from stoker_worker.bench.facts import tool_version
from stoker_worker.bench.failure import BenchError
from stoker_worker.bench.jobs import Kind, MixError
from stoker_worker.bench.options import Options, takes_image
from stoker_worker.bench.pictures import picture_file
from stoker_worker.bench.plan import Load, Planned, planned
from stoker_worker.bench.progress import View
from stoker_worker.bench.samples import Failure, Reply, Sample
from stoker_worker.bench.summary import figures, stage_means
from stoker_worker.bench.target import Found, Seen, cards, find, loaded, seen, unauthorized

_WORTH_TRYING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
"""Refusals of a warm-up job that do not say that every other will be refused as well."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where jobs are sent. `token` goes as a bearer token."""

    url: str
    token: str | None = field(default=None, repr=False)
    transport: httpx2.AsyncBaseTransport | None = None

    def client(self, load: Load) -> httpx2.AsyncClient:
        """A client that never lets a job wait for a connection of its own."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=max(load.concurrency, 100))
        return httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=None, limits=limits, transport=self.transport)


class Sender:
    """Sends jobs of one model. The pictures that go with them are made before the clock runs."""

    def __init__(self, client: httpx2.AsyncClient, found: Found, kinds: Sequence[Kind], options: Options) -> None:
        self._client = client
        self._route = FACTS[found.pipeline].route
        self._timeout = options.timeout
        self._model_id = found.model_id
        self._files = {kind.name: picture_file(kind.size, options.image) for kind in kinds} if takes_image(found.pipeline) else {}

    async def send(self, job: Planned) -> httpx2.Response | Failure:
        """The answer, read to its end, or why there is none."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._client.post(self._route, **self._body(job))
        except TimeoutError:
            return Failure("timeout", f"no answer within {self._timeout:g} s")
        except httpx2.ConnectError:
            return Failure(NO_CONNECTION, "nobody answers at that URL")
        except httpx2.RequestError as error:
            return Failure(NO_CONNECTION, f"the connection broke before the answer was whole ({type(error).__name__})")

    def judge(self, job: Planned, answer: httpx2.Response | Failure) -> Reply:
        """What came back."""
        return judged(answer, job.kind.rows)

    def _body(self, job: Planned) -> dict[str, Any]:
        fields = job.kind.fields | {"model_id": self._model_id, "seed": job.seed}
        if not self._files:
            return {"json": fields}
        data = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in fields.items()}
        return {"data": data, "files": {"image": ("image", self._files[job.kind.name], "application/octet-stream")}}


async def measure(server: Server, pipeline: Pipeline | None, model_id: str | None, options: Options, view: View) -> Result:
    """Find who is there, warm up, send the jobs, and say what came of it. Raises BenchError."""
    async with server.client(options.load) as client:
        found = await find(client, pipeline, model_id)
        kinds = _kinds(options, found.pipeline)
        view.say(f"{found.model_id}, {found.pipeline}, at {_article(found.place)}")
        if found.place == "worker":
            await loaded(client, options.timeout)
        sender = Sender(client, found, kinds, options)
        with _stop_signals() as stop:
            warmup = await _warm(sender, kinds, options, view, stop)
            before = await _look(client, found)
            run = await _measured(sender, kinds, options, view, stop)
        after = await _look(client, found)
    figured = figures(run.samples, run.abandoned, open_loop=options.load.rate is not None)
    if before.metrics.stages:
        figured = figured.model_copy(update=_between(before.metrics, after.metrics))
    return Result(
        tool_version=tool_version(),
        made=datetime.now(UTC),
        interrupted=stop.is_set(),
        target=_target(found, before),
        settings=options.settings(kinds),
        load=after.metrics.load,
        memory=_memory(before, after),
        warmup=warmup,
        figures=figured,
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """A worker at one moment; empty for an orchestrator, which speaks for many."""

    metrics: Seen = field(default_factory=Seen)
    cards: tuple[str, ...] = ()
    taken: Held | None = None


async def _look(client: httpx2.AsyncClient, found: Found) -> _Look:
    if found.place != "worker":
        return _Look()
    return _Look(await seen(client), *await cards(client))


def _between(before: Seen, after: Seen) -> dict[str, Any]:
    """What a worker's metrics say of the run."""
    batches = after.batches - before.batches
    rows = round((after.rows - before.rows) / batches, 2) if batches > 0 else None
    return {"stages": stage_means(before.stages, after.stages), "rows_per_batch": rows}


def _kinds(options: Options, pipeline: Pipeline) -> tuple[Kind, ...]:
    try:
        return options.kinds(pipeline, batched=True)
    except MixError as error:
        raise BenchError(str(error)) from None


async def _warm(sender: Sender, kinds: Sequence[Kind], options: Options, view: View, stop: asyncio.Event) -> WarmUp:
    """One job after the other, each kind in its turn. Raises BenchError where the answer says that none will be taken."""
    samples: list[Sample] = []
    jobs = (Planned(number, kinds[number % len(kinds)], options.seed) for number in range(options.warmup))
    if options.warmup:
        view.say(f"warming up: {options.warmup} job{'s' if options.warmup > 1 else ''}")

    async def send(job: Planned) -> httpx2.Response | Failure:
        answer = await sender.send(job)
        _check(answer)
        return answer

    run = Run(send, sender.judge, samples.append, stop)
    await run.drive(jobs, Load())
    return WarmUp(
        milliseconds=tuple(round(sample.latency * 1000, 3) for sample in samples),
        failed=sum(not sample.done for sample in samples),
        cold_starts=sum(sample.reply.cold for sample in samples),
    )


def _check(answer: httpx2.Response | Failure) -> None:
    """Raises BenchError for a refusal that every job will meet."""
    if isinstance(answer, Failure):
        if answer.kind == NO_CONNECTION:
            message = f"The first job got no answer: {answer.words}."
            raise BenchError(message)
        return
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        raise unauthorized()
    if answer.is_client_error and answer.status_code not in _WORTH_TRYING:
        failure = refusal(answer)
        message = f"The job is refused ({failure.kind}): {failure.words or 'without words'}"
        raise BenchError(message)


async def _measured(
    sender: Sender, kinds: Sequence[Kind], options: Options, view: View, stop: asyncio.Event
) -> Run[httpx2.Response | Failure]:
    run = Run(sender.send, sender.judge, lambda sample: view.count(failed=not sample.done), stop)
    view.say("measuring")
    view.begin(options.load.runs)
    try:
        await run.drive(planned(kinds, options.load, options.seed), options.load)
    finally:
        view.end()
    return run


def _target(found: Found, look: _Look) -> Target:
    versions = {found.place: found.version} if found.version else {}
    return Target(
        place=found.place, pipeline=found.pipeline, model_id=found.model_id, devices=look.cards, versions=versions
    )  # fmt: skip


def _memory(before: _Look, after: _Look) -> Memory | None:
    if before.taken is None or after.taken is None:
        return None
    return Memory(of="device", loaded=before.taken, peak=after.taken)


def _article(place: str) -> str:
    return f"{'an' if place[0] in 'aeiou' else 'a'} {place}"


@contextlib.contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """An event that Ctrl-C, or a polite request to end, sets."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        for name in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread, or no such signals
                loop.add_signal_handler(name, stop.set)
                stack.callback(loop.remove_signal_handler, name)
        yield stop
