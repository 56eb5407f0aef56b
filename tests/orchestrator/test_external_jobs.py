"""Jobs to containers of somebody else, by the whole orchestrator in process: what Livepeer's runner answers today is served."""

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from stoker_contracts.pipelines import Pipeline
from stoker_orchestrator.adapters import health
from stoker_orchestrator.domain.model import EndpointState, Url
from tests.support.external_jobs import external, saying, served, states, video
from tests.support.orchestrator import JOB, code, world
from tests.support.runners import Busy, FakeRunner, certificate, serving
from tests.support.waiting import until
from tests.support.workers import die

READY, STARTING = EndpointState.READY, EndpointState.STARTING


async def test_a_job_goes_to_a_container_behind_a_base_path_and_is_told_nothing_of_where_that_is() -> None:
    runner = FakeRunner(base="/models/a")
    async with served(runner) as here:
        answer = await here.post(json=JOB)

    assert (answer.status_code, len(answer.json()["images"])) == (200, 1)
    assert answer.headers["Stoker-Worker"] == "m-url-0"
    assert str(runner.port) not in str(answer.headers)


async def test_verified_tls_with_an_authority_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(both))
    async with FakeRunner().running(serving(both)) as runner, world(external(runner.url())) as here:
        assert (await here.post(json=JOB)).status_code == 200
        assert runner.address.startswith("https://")


async def test_a_container_whose_certificate_is_not_trusted_gets_no_job_and_the_caller_is_told_why(tmp_path: Path) -> None:
    async with FakeRunner().running(serving(certificate(tmp_path))) as runner, world(external(runner.url())) as here:
        answer = await here.post(json=JOB)

    assert code(answer) == (503, "CertificateNotTrusted")
    assert "endpoint 1 of 1 has a certificate that is not trusted: it is signed by itself" in answer.json()["detail"]["msg"]
    assert runner.jobs == runner.looks == []


async def test_a_changed_key_is_used_by_the_next_job(tmp_path: Path) -> None:
    (tmp_path / "provider").write_text("one")
    runner = FakeRunner(token="one")
    async with served(runner, key="provider", tokens_dir=tmp_path) as here:
        assert (await here.post(json=JOB)).status_code == 200
        runner.token = "second"
        (tmp_path / "provider").write_text("second")
        assert (await here.post(json=JOB)).status_code == 200

    assert [each["Authorization"] for each in runner.jobs] == ["Bearer one", "Bearer second"]


async def test_models_that_share_a_container_have_their_own_keys(tmp_path: Path) -> None:
    """One bill for each, by whoever runs it; the jobs of both go over the same kept connection."""
    for key in ("one", "other"):
        (tmp_path / key).write_text(f"of-{key}")
    async with FakeRunner().running() as runner:
        models = [external(runner.url(key=key), name=key) for key in ("one", "other")]
        async with world(*models, tokens_dir=tmp_path) as here:
            for key in ("one", "other", "one"):
                assert (await here.post(json=JOB | {"model_id": f"org/{key}"})).status_code == 200

    assert [each["Authorization"] for each in runner.jobs] == ["Bearer of-one", "Bearer of-other", "Bearer of-one"]


async def test_a_caller_never_sees_that_the_release_is_not_let_in(tmp_path: Path) -> None:
    """The job goes to the other container; with none left it is refused with the key's name and without the token."""
    (tmp_path / "provider").write_text("wr0ng")
    bars, lets_in = FakeRunner(token="right"), FakeRunner(token="wr0ng")
    async with served(bars, lets_in, key="provider", tokens_dir=tmp_path) as here:
        assert (await here.post(json=JOB)).status_code == 200
        assert states(here) == [STARTING, READY]
        lets_in.token = "right"
        answer = await here.post(json=JOB)

    assert code(answer) == (503, "TokenRefused")
    assert "endpoint 2 of 2 refuses the token (401); look at the key provider" in answer.json()["detail"]["msg"]
    assert "wr0ng" not in answer.text


async def test_a_container_without_the_route_is_down_and_says_so() -> None:
    runner = FakeRunner(saying(404, {"detail": "Not Found"}))
    async with served(runner) as here:
        answer = await here.post(json=JOB)

    assert code(answer) == (503, "Unhealthy")
    assert "endpoint 1 of 1 has no route for this pipeline (404); look at its url" in answer.json()["detail"]["msg"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"detail": {"msg": "Error during model execution: bad size."}}),
        (422, {"detail": [{"loc": ["body", "prompt"], "msg": "Field required", "type": "missing"}]}),
        (500, {"detail": {"msg": "Out of memory error. Try reducing output image resolution."}}),
    ],
)
async def test_what_the_runner_says_of_a_job_reaches_its_caller(status: int, body: Any) -> None:
    async with served(FakeRunner(saying(status, body)), FakeRunner(saying(status, body))) as here:
        answer = await here.post(json=JOB)

    assert (answer.status_code, answer.json()) == (status, body)
    assert len(here.orchestrator.broker.registry.busy) == 0


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_container_is_asked_again_when_it_has_had_a_moment(status: int) -> None:
    runner = FakeRunner()
    good = runner.behaviour

    async def busy_once(request: web.Request) -> web.StreamResponse:
        runner.behaviour = good
        return web.json_response({"detail": {"msg": "busy"}}, status=status)

    runner.behaviour = busy_once
    async with served(runner) as here:
        answers = [await here.post(json=JOB) for _ in range(2)]

    assert [(answer.status_code, "images" in answer.json()) for answer in answers] == [(200, True)] * 2
    assert len(runner.jobs) == 3


@pytest.mark.parametrize("status", [502, 504])
async def test_a_gateway_that_finds_no_container_costs_the_job_nothing_where_there_is_another(status: int) -> None:
    async with served(FakeRunner(saying(status, {})), FakeRunner()) as here:
        answer = await here.post(json=JOB)

    assert (answer.status_code, answer.headers["Stoker-Worker"]) == (200, "m-url-1")


async def test_health_that_does_not_answer_while_a_job_runs_is_no_death(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.1)
    runner = FakeRunner()
    busy = Busy(runner)
    async with served(runner) as here:
        job = asyncio.create_task(here.post(json=JOB))
        await busy.begun.wait()
        asked = len(runner.looks)
        await until(lambda: len(runner.looks) > asked + 2)
        assert states(here) == [READY]
        assert here.fleet.shown["m"].message == "advertised as warm"
        busy.let_go()
        assert (await job).status_code == 200


async def test_no_job_fails_while_containers_come_and_go_one_after_the_other() -> None:
    runners = [FakeRunner(), FakeRunner(), FakeRunner()]
    async with served(*runners, capacity=4) as here:
        stop = asyncio.Event()
        statuses: list[int] = []

        async def caller() -> None:
            while not stop.is_set():
                statuses.append((await here.post(json=JOB)).status_code)

        callers = [asyncio.create_task(caller()) for _ in range(4)]
        for index in (0, 1, 2, 0):
            await runners[index].stop()
            await until(lambda index=index: states(here)[index] is STARTING)  # type: ignore[misc]
            await runners[index].start()
            await until(lambda: states(here) == [READY] * 3)
            done = len(statuses)
            await until(lambda done=done: len(statuses) > done + 20)  # type: ignore[misc]
        stop.set()
        await asyncio.gather(*callers)

    assert set(statuses) == {200}


async def test_jobs_wait_while_every_container_is_away_and_are_served_when_one_is_back() -> None:
    runner = FakeRunner()
    async with served(runner) as here:
        await runner.stop()
        await until(lambda: states(here) == [STARTING])
        job = asyncio.create_task(here.post(json=JOB))
        await until(lambda: here.waiting == 1)
        await runner.start()

        assert (await job).status_code == 200


async def test_a_job_that_met_a_dying_container_goes_to_the_next() -> None:
    async with served(FakeRunner(die), FakeRunner()) as here:
        answer = await here.post(json=JOB)

    assert (answer.status_code, answer.headers["Stoker-Worker"]) == (200, "m-url-1")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}trailing bytes",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
    ],
    ids=["closed", "trailing", "chunked"],
)
@pytest.mark.parametrize("route", ["/text-to-image", "/image-to-video"])
async def test_whole_answers_are_understood_however_they_are_framed(answer: bytes, route: str) -> None:
    calls: set[asyncio.Task[Any] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                _, _, length = head.partition(b"content-length: ")
                await reader.readexactly(int(length.split()[0]) if length else 0)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" if head.startswith(b"get") else answer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    pipeline = Pipeline(route[1:])
    try:
        url = Url(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with world(external(url, pipeline=pipeline)) as here:
            said = await (here.post(json=JOB) if pipeline is Pipeline.TEXT_TO_IMAGE else video(here))
            again = await (here.post(json=JOB) if pipeline is Pipeline.TEXT_TO_IMAGE else video(here))
    finally:
        server.close()
        await asyncio.gather(*[call for call in calls if call is not None])

    assert (said.status_code, said.text) == (again.status_code, again.text) == (200, "{}")


def test_the_default_context_verifies_certificates_and_names() -> None:
    context = ssl.create_default_context()

    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
