"""``stoker status`` against an orchestrator on loopback."""

import asyncio
import functools
import json
import signal
import sys
from importlib.metadata import version
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from stoker_cli.main import stoker
from stoker_orchestrator.app.control import VERSION
from stoker_orchestrator.domain.model import Obstacle
from tests.support.fleet import model
from tests.support.orchestrator import JOB, world
from tests.support.ports import free_port
from tests.support.waiting import until
from tests.support.workers import echo

BROKEN = Obstacle("LoadFailed", "no such layer")


async def run(*arguments: str, **environment: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, stoker, ["status", *arguments], env=environment)


async def test_it_says_which_version_it_is() -> None:
    found = CliRunner().invoke(stoker, ["--version"])

    assert found.output == f"stoker {version('stoker-cli')}\n"
    assert version("stoker-cli") == VERSION


async def test_it_shows_what_the_orchestrator_knows() -> None:
    async with world(model("a"), model("b", obstacle=BROKEN)) as here:
        await here.worker("a-1", of="a", capacity=2)
        found = await run("--url", here.url)

    assert found.exit_code == 0
    assert found.output == (
        "orchestrator 0.1.0\n"
        "\n"
        "MODEL  PIPELINE       STATE        WORKERS  JOBS  LINE  WAIT\n"
        "a      text-to-image  serving          1/1   0/2     0   0 s\n"
        "b      text-to-image  unavailable      0/0   0/0     0\n"
        "\n"
        "OF  WHY\n"
        "b   LoadFailed: no such layer\n"
        "\n"
        "WORKER  STATE  JOBS  WORK  MS/UNIT\n"
        "a-1     ready   0/2\n"
    )


async def test_the_document_tells_of_a_busy_worker_and_of_its_line() -> None:
    release = asyncio.Event()

    async def held(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return await echo(request)

    async with world() as here:
        worker = await here.worker("w", held)
        jobs = [asyncio.create_task(here.post(json=JOB)) for _ in range(3)]
        await until(lambda: worker.requests and here.waiting == 2)
        found = await run("--url", here.url, "--output", "json")
        release.set()
        await asyncio.gather(*jobs)

    document: dict[str, Any] = json.loads(found.output)
    (shown,) = document["models"]
    assert document["version"] == 1
    assert shown["line"]["waiting"] == 2
    assert (shown["workers"][0]["id"], shown["workers"][0]["in_flight"]) == ("w", 1)
    assert worker.address not in found.output
    assert JOB["prompt"] not in found.output


@pytest.mark.parametrize("called", ["a", "org/a"])
async def test_one_model_alone_is_shown_by_its_name_or_its_id(called: str) -> None:
    async with world(model("a"), model("b")) as here:
        found = await run(called, "--output", "json", STOKER_URL=here.url)

    assert [each["name"] for each in json.loads(found.output)["models"]] == ["a"]


async def test_a_model_that_is_not_there_is_an_error_that_names_those_that_are() -> None:
    async with world(model("a"), model("b")) as here:
        found = await run("c", "--url", here.url)

    assert (found.exit_code, found.output) == (1, "Error: There is no model 'c'. There are: a, b.\n")


async def test_where_nobody_answers_it_says_how_to_get_there() -> None:
    found = await run("--url", f"http://user:secret@127.0.0.1:{free_port()}")

    assert found.exit_code == 1
    assert "Nobody answers at http://127.0.0.1:" in found.output
    assert "kubectl --namespace stoker port-forward service/stoker-orchestrator 8935" in found.output
    assert "secret" not in found.output


@pytest.mark.parametrize("url", ["localhost:8935", "ftp://host", "http://", "http://host:port", "nothing"])
async def test_what_is_no_url_is_refused_with_an_example(url: str) -> None:
    found = await run("--url", url)

    assert found.exit_code == 2
    assert "give a URL such as http://127.0.0.1:8935" in found.output


async def test_a_watch_tells_changes_until_it_is_interrupted_and_ends_cleanly() -> None:
    async with world(model("a")) as here:
        command = (sys.executable, "-m", "stoker_cli", "status", "--url", here.url, "--watch", "--output", "json")
        pipe = asyncio.subprocess.PIPE
        # A test run in the background of a shell ignores Ctrl-C, and so would what it starts.
        heeding = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, preexec_fn=heeding)
        assert process.stdout is not None
        cold = json.loads(await process.stdout.readline())
        await here.worker("a-1", of="a")
        warm = json.loads(await process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, complaints = await process.communicate()

    assert [each["models"][0]["state"] for each in (cold, warm)] == ["cold", "serving"]
    assert (process.returncode, complaints) == (0, b"")
