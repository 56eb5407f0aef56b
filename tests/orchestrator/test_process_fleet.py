"""Workers as real child processes, run by the stub engine."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stoker_orchestrator.adapters.fleets import processes
from stoker_orchestrator.adapters.fleets.port import FleetError
from stoker_orchestrator.adapters.fleets.processes import ProcessFleet, WorkerCommand
from stoker_orchestrator.domain.events import EndpointGone, EndpointSeen, FleetEvent, ModelSeen, Synced
from stoker_orchestrator.domain.model import EndpointState, Model, Obstacle, Url
from tests.support.children import children_of
from tests.support.ports import free_port
from tests.support.waiting import until

WARM = {"pipeline": "text-to-image", "model_id": "org/warm", "warm": True}
COLD = {"pipeline": "image-to-video", "model_id": "org/cold", "capacity": 3}


def config(tmp_path: Path, *entries: object) -> Path:
    file = tmp_path / "aiModels.json"
    file.write_text(json.dumps(entries))
    return file


def workers_of(parent: int) -> list[int]:
    return children_of(parent, running="stoker_worker")


class Told:
    """What the fleet told."""

    def __init__(self, fleet: ProcessFleet) -> None:
        self.fleet = fleet
        self.events: list[FleetEvent] = []

    def endpoints(self, state: EndpointState) -> list[EndpointSeen]:
        gone = {each.id for each in self.events if isinstance(each, EndpointGone)}
        last = {each.id: each for each in self.events if isinstance(each, EndpointSeen) and each.id not in gone}
        return [each for each in last.values() if each.state is state]

    def models(self) -> list[Model]:
        return [each.model for each in self.events if isinstance(each, ModelSeen)]

    def obstacles(self) -> list[str]:
        return [f"{model.obstacle.reason}: {model.obstacle.message}" for model in self.models() if model.obstacle]


@asynccontextmanager
async def running(file: Path, **stub: Any) -> AsyncIterator[Told]:
    environment = {"STUB_SCRIPT": json.dumps(stub)}
    told = Told(ProcessFleet(file, WorkerCommand(file.parent, "stub", environment)))
    task = asyncio.create_task(told.fleet.run(told.events.append))
    try:
        await until(lambda: Synced() in told.events or task.done())
        yield told
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, FleetError):
            await task


async def test_warm_models_start_by_themselves_and_cold_ones_when_they_are_woken(tmp_path: Path) -> None:
    async with running(config(tmp_path, WARM, COLD)) as told:
        await until(lambda: told.endpoints(EndpointState.READY))
        assert [each.model for each in told.endpoints(EndpointState.READY)] == ["t2i-org-warm"]

        await told.fleet.scale("i2v-org-cold", 1, expected=0)
        await told.fleet.scale("i2v-org-cold", 1, expected=0)
        await until(lambda: len(told.endpoints(EndpointState.READY)) == 2)

    (cold,) = [each for each in told.events if isinstance(each, EndpointSeen) and each.model == "i2v-org-cold"][:1]
    assert cold.capacity == 3
    assert len({each.id for each in told.events if isinstance(each, EndpointSeen)}) == 2


async def test_a_worker_that_dies_is_replaced_by_a_new_endpoint(tmp_path: Path) -> None:
    others = set(workers_of(os.getpid()))
    async with running(config(tmp_path, WARM)) as told:
        await until(lambda: told.endpoints(EndpointState.READY))
        (first,) = told.endpoints(EndpointState.READY)
        (child,) = set(workers_of(os.getpid())) - others
        os.kill(child, signal.SIGKILL)
        await until(lambda: [each.id for each in told.endpoints(EndpointState.READY)] not in ([], [first.id]))

    assert EndpointGone(first.id) in told.events


async def test_a_worker_that_cannot_load_is_an_obstacle_in_its_own_words(tmp_path: Path) -> None:
    async with running(config(tmp_path, WARM), load_error="no such layer") as told:
        await until(told.obstacles)

    assert told.obstacles()[0] == "LoadFailed: no such layer"


async def test_a_model_that_could_not_be_loaded_is_tried_again_once_its_workers_have_ended(tmp_path: Path) -> None:
    async with running(config(tmp_path, COLD), load_error="no such layer") as told:
        await told.fleet.scale("i2v-org-cold", 1, expected=0)
        await until(told.obstacles)
        await told.fleet.scale("i2v-org-cold", 0, expected=1)

        assert told.models()[-1].obstacle is None


async def test_a_host_that_has_no_room_for_a_worker_gets_one_when_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(processes, "BACK_OFF_SECONDS", (0.05,))
    room = tmp_path / "room"
    async with running(config(tmp_path, COLD)) as told:
        monkeypatch.setattr(tempfile, "tempdir", str(room))
        await told.fleet.scale("i2v-org-cold", 1, expected=0)
        await until(lambda: "could not be started: No such file or directory" in caplog.text)
        assert not told.endpoints(EndpointState.STARTING)

        room.mkdir()

        await until(lambda: told.endpoints(EndpointState.READY))


def test_last_words_that_were_cut_short_are_told_as_far_as_they_came(tmp_path: Path) -> None:
    fleet = ProcessFleet(config(tmp_path, COLD), WorkerCommand(tmp_path))
    fleet._read()
    worker = processes._Worker("w", fleet._entries["i2v-org-cold"], WorkerCommand(tmp_path), tmp_path)
    (tmp_path / "termination-message").write_bytes("LoadFailed: no such läyer".encode()[:-4])

    assert worker.obstacle() == Obstacle("LoadFailed", "no such l\ufffd")


async def test_no_worker_outlives_a_fleet_that_stops(tmp_path: Path) -> None:
    others = set(workers_of(os.getpid()))
    async with running(config(tmp_path, WARM)) as told:
        await until(lambda: told.endpoints(EndpointState.READY))
        (child,) = set(workers_of(os.getpid())) - others

    assert child not in workers_of(os.getpid())


async def test_no_worker_outlives_an_orchestrator_that_is_killed(tmp_path: Path) -> None:
    settings = {"STOKER_FLEET": "processes", "STOKER_MODELS_CONFIG": str(config(tmp_path, WARM)), "STOKER_WORKER_ENGINE": "stub"}
    variables = os.environ | settings | {"STOKER_HOST": "127.0.0.1", "STOKER_PORT": str(free_port())}
    orchestrator = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stoker_orchestrator", env=variables, stderr=asyncio.subprocess.DEVNULL
    )
    workers: list[int] = []
    while not workers:
        workers = workers_of(orchestrator.pid)
        await asyncio.sleep(0.05)

    orchestrator.kill()
    await orchestrator.wait()

    await until(lambda: not Path(f"/proc/{workers[0]}").exists(), every=0.02)


async def test_a_bad_entry_is_left_out_and_the_others_live(tmp_path: Path) -> None:
    async with running(config(tmp_path, {"pipeline": "text-to-text"}, COLD)) as told:
        assert [each.model.name for each in told.events if isinstance(each, ModelSeen)] == ["i2v-org-cold"]


async def test_an_entry_with_a_url_is_told_with_it_and_gets_no_process(tmp_path: Path) -> None:
    there = [WARM | {"url": "https://host/a", "token": "t0ken", "capacity": 2}, WARM | {"url": "http://host/b", "token_key": "b"}]
    async with running(config(tmp_path, *there)) as told:
        (model,) = [each.model for each in told.events if isinstance(each, ModelSeen)]
        with pytest.raises(FleetError, match="none that is run here"):
            await told.fleet.scale(model.name, 1, expected=0)
        await told.fleet.report(model.name, [])

    assert model.urls == (Url("https://host/a", 2, None, "t0ken"), Url("http://host/b", 1, "b"))
    assert not model.startable
    assert "t0ken" not in repr(model)
    assert not [each for each in told.events if isinstance(each, EndpointSeen)]


@pytest.mark.parametrize("text", ["{", "{}"])
async def test_a_file_that_is_no_models_config_stops_the_fleet_in_words(tmp_path: Path, text: str) -> None:
    file = tmp_path / "aiModels.json"
    file.write_text(text)

    with pytest.raises(FleetError, match="models config"):
        await ProcessFleet(file, WorkerCommand(tmp_path)).run(lambda _: None)


async def test_a_model_that_is_not_listed_cannot_be_woken(tmp_path: Path) -> None:
    async with running(config(tmp_path, COLD)) as told:
        with pytest.raises(FleetError, match="no such model"):
            await told.fleet.scale("other", 1, expected=0)


async def test_the_worker_that_costs_least_ends_when_fewer_are_asked_for(tmp_path: Path) -> None:
    async with running(config(tmp_path, COLD)) as told:
        await told.fleet.scale("i2v-org-cold", 3, expected=0)
        await until(lambda: len(told.endpoints(EndpointState.READY)) == 3)
        chosen = told.endpoints(EndpointState.READY)[1].id
        await told.fleet.rank(chosen, -1)
        await told.fleet.scale("i2v-org-cold", 2, expected=3)
        await until(lambda: EndpointGone(chosen) in told.events)

        assert len(told.endpoints(EndpointState.READY)) == 2
