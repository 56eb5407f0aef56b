"""``make bench-slots``: what a slot costs an orchestrator that leads, and one that asks it: CPU of each and the time that is added.

Two processes on loopback, no jobs: a slot is taken and given back. The last line is one JSON object.
"""

import asyncio
import json
import multiprocessing
import resource
import statistics
import time
from multiprocessing.connection import Connection

import uvloop

from e2e.command_line import command_line
from stoker_contracts.pipelines import Pipeline
from stoker_orchestrator.app.desk import LocalDesk
from stoker_orchestrator.app.metrics import Metrics
from stoker_orchestrator.app.peers.desk import SwitchingDesk
from stoker_orchestrator.app.peers.followers import Followers
from stoker_orchestrator.app.peers.link import Link
from stoker_orchestrator.app.peers.wire import Wire
from stoker_orchestrator.domain.election import Candidate
from stoker_orchestrator.domain.events import EndpointSeen, ModelSeen
from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.model import EndpointState, Model
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.switchboard import Switchboard

SLOTS = 20_000
AT_A_TIME = (1, 64)
MODEL = Model("m", Pipeline.TEXT_TO_IMAGE, "org/m")


def board() -> Switchboard:
    """Sixteen workers that take eight jobs each."""
    made = Switchboard(Registry())
    made.apply(ModelSeen(MODEL), 0)
    for number in range(16):
        made.apply(EndpointSeen(f"e{number}", "m", "127.0.0.1:9", 8, EndpointState.READY), 0)
    return made


def desk(switchboard: Switchboard) -> LocalDesk:
    """Its desk."""
    return LocalDesk(switchboard, Metrics(), lambda _: None)


def cpu() -> float:
    """Seconds of CPU that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def lead(pipe: Connection) -> None:
    """The leader, as a process: tells its port, then its CPU whenever it is asked."""
    uvloop.run(_lead(pipe))


async def _lead(pipe: Connection) -> None:
    switchboard = board()
    followers = Followers(Candidate("a/1", "", "token"), desk(switchboard), switchboard, lambda _: None)
    server = await asyncio.get_running_loop().create_server(lambda: Wire(followers.accept), "127.0.0.1", 0)
    followers.lead(set())
    pipe.send(server.sockets[0].getsockname()[1])
    asked = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), asked.set)
    while await asked.wait():
        pipe.recv()
        asked.clear()
        pipe.send(cpu())


async def take(switching: SwitchingDesk, at_a_time: int) -> tuple[float, float]:
    """Take and give back slots; returns microseconds of CPU for each, and the median of milliseconds until it was there."""
    left, waited = iter(range(SLOTS)), list[float]()

    async def one_after_another() -> None:
        for _ in left:
            began = time.perf_counter()
            slot = await switching.take(MODEL, Ask(1.0, "caller"))
            waited.append(time.perf_counter() - began)
            slot.desk.give_back(slot)

    before = cpu()
    await asyncio.gather(*(one_after_another() for _ in range(at_a_time)))
    return (cpu() - before) / SLOTS * 1e6, statistics.median(waited) * 1e3


async def measure(pipe: Connection, port: int) -> dict[str, float]:
    """All figures."""
    switchboard = board()
    switching, found = SwitchingDesk(desk(switchboard)), dict[str, float]()
    for number in AT_A_TIME:
        found[f"own_us_{number}"], _ = await take(switching, number)
    switchboard.paused = True
    link = Link(Candidate("b/1", "", ""), switching, switchboard, lambda *_: None, lambda: None, lambda: None)
    link.follow(Candidate("a/1", f"127.0.0.1:{port}", "token"))
    while not link.linked:  # noqa: ASYNC110 - once, before anything is measured
        await asyncio.sleep(0.01)
    for number in AT_A_TIME:
        pipe.send("")
        before = pipe.recv()
        found[f"follower_us_{number}"], found[f"added_p50_ms_{number}"] = await take(switching, number)
        pipe.send("")
        found[f"leader_us_{number}"] = (pipe.recv() - before) / SLOTS * 1e6
    link.leave()
    return found


def main() -> None:
    """Run both processes and say what was found."""
    command_line("benchmarks.activity.slots", __doc__, "make bench-slots").parse_args()
    ours, theirs = multiprocessing.Pipe()
    leader = multiprocessing.Process(target=lead, args=(theirs,), daemon=True)
    leader.start()
    found = uvloop.run(measure(ours, ours.recv()))
    leader.terminate()
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))


if __name__ == "__main__":
    main()
