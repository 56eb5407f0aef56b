"""Stoker's own programs killed or restarted under traffic: the rest goes on, and everything is as wanted afterwards."""

import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import httpx2
import pytest

from e2e.release import NAME, RESOURCES, Release
from e2e.scenarios.processes import inside, process_of, signal_pod
from e2e.scenarios.resources import condition, model_deployment, offers, pods, ready, restarts, send
from e2e.scenarios.traffic import SERVED, Background, in_flight, traffic
from stoker_contracts import names
from tests.support.waiting import eventually

SEED = 20
KILLS = 2
"""How often the operator is killed; the kubelet waits longer each time before it starts a program again."""
UNANSWERED = 4
"""Jobs that are under way when an orchestrator is killed."""
ORCHESTRATOR = "orchestrator"
ORCHESTRATORS = f"app.kubernetes.io/component={ORCHESTRATOR}"
ESTABLISHED = rf":{names.ORCHESTRATOR_PORT:04X} [0-9A-F]+:[0-9A-F]+ 01 "
"""A line of /proc/net/tcp: a connection that a caller has made."""
CLOSED = {"RemoteProtocolError", "ReadError", "ConnectError"}
"""What a caller sees of a connection that is closed, or not taken."""


@pytest.fixture(scope="module")
def steady(stub: Release) -> Iterator[str]:
    """A warm model under traffic."""
    stub.apply(model_deployment("target", warm=True))
    with httpx2.Client(base_url=stub.url, timeout=60) as client:
        eventually(lambda: offers(client).get("org/target"), seconds=60)
    yield "org/target"
    stub.delete(RESOURCES, "target")


def component(release: Release, name: str) -> str:
    """The ready pod of a program of the release."""
    found = release.list("pods", f"app.kubernetes.io/component={name}")
    return next((str(pod["metadata"]["name"]) for pod in found if ready(pod)), "")


@pytest.fixture(scope="module", autouse=True)
def fresh(stub: Release) -> None:
    """The kubelet waits minutes before it starts again what was killed often, as it may have been on a cluster that was kept."""
    for pod in stub.list("pods", f"app.kubernetes.io/component in (operator,{ORCHESTRATOR})"):
        if restarts(stub, pod["metadata"]["name"]):
            stub.delete("pod", pod["metadata"]["name"])


def kill_once(release: Release, name: str, chance: random.Random) -> None:
    """Kill a program of the release somewhere in its work, and wait until the kubelet has started it again."""
    pod = eventually(lambda: component(release, name), seconds=90)
    before = restarts(release, pod)
    time.sleep(chance.uniform(0.0, 1.5))
    signal_pod(release, pod, "KILL")
    eventually(lambda: restarts(release, pod) > before, seconds=60)


def becomes_warm(release: Release, name: str) -> None:
    """Wait until a ModelDeployment is warm."""
    eventually(lambda: condition(release, name, "Warm")[0] == "True", seconds=120)


def connections(release: Release) -> Counter[str]:
    """How many callers' connections each orchestrator holds, as its kernel tells."""
    counts: Counter[str] = Counter()
    for pod in release.list("pods", ORCHESTRATORS):
        orchestrator = str(pod["metadata"]["name"])
        table = inside(release, 'cat "/proc/$1/net/tcp"', process_of(release, orchestrator))
        counts[orchestrator] = len(re.findall(ESTABLISHED, table))
    return counts


def test_a_killed_operator_fails_no_job_and_finishes_what_was_begun(stub: Release, http: httpx2.Client, steady: str) -> None:
    chance = random.Random(SEED)
    stub.apply(model_deployment("dawning", script={"load_seconds": 1}))
    eventually(lambda: offers(http).get("org/dawning") is False)
    with traffic(stub, steady) as told:
        first = Background(http, "org/dawning")
        for number in range(KILLS):
            stub.apply(model_deployment(f"begun-{number}", warm=True))
            kill_once(stub, "operator", chance)
        for number in range(KILLS):
            becomes_warm(stub, f"begun-{number}")
        told.goes_on()

    assert told.failed == {}
    assert first.answer().status_code == httpx2.codes.OK
    for name in ("dawning", *[f"begun-{number}" for number in range(KILLS)]):
        stub.delete(RESOURCES, name, "--wait=false")


def test_a_killed_orchestrator_closes_the_connections_of_its_jobs_and_of_no_others(stub: Release, http: httpx2.Client) -> None:
    stub.apply(model_deployment("waited-for", warm=True, capacity=UNANSWERED, script={"step_seconds": 0.1}))
    eventually(lambda: offers(http).get("org/waited-for"), seconds=60)
    worker = pods(stub, "waited-for")[0]["metadata"]["name"]
    before = connections(stub)
    with ExitStack() as open_until_answered:
        clients = [open_until_answered.enter_context(httpx2.Client(base_url=stub.url, timeout=60)) for _ in range(UNANSWERED)]
        jobs = [Background(client, "org/waited-for", num_inference_steps=40) for client in clients]
        eventually(lambda: in_flight(stub, worker) == UNANSWERED)
        counts = eventually(lambda: [held for held in [connections(stub) - before] if held.total() == UNANSWERED])[0]
        victim = max(counts, key=lambda pod: counts[pod])

        signal_pod(stub, victim, "KILL")

        ended = [outcome_of(job) for job in jobs]
    assert ended.count("closed") == counts[victim]
    assert ended.count(SERVED) == UNANSWERED - counts[victim]
    eventually(lambda: answers(http, "org/waited-for"), seconds=60)
    stub.delete(RESOURCES, "waited-for", "--wait=false")


def outcome_of(job: Background) -> str:
    """The status of a job's answer, or that its connection was closed."""
    try:
        return str(job.answer().status_code)
    except httpx2.TransportError as error:
        return "closed" if type(error).__name__ in CLOSED else type(error).__name__


def test_a_killed_orchestrator_serves_again_with_all_it_had_to_offer(stub: Release, http: httpx2.Client, steady: str) -> None:
    with traffic(stub, steady) as told:
        kill_once(stub, ORCHESTRATOR, random.Random(SEED))
        told.goes_on()

    assert set(told.failed) <= CLOSED
    eventually(lambda: answers(http, steady), seconds=60)
    assert offers(http)[steady] is True
    assert len(pods(stub, "target")) == 1


def test_a_rolling_restart_of_the_orchestrators_fails_no_job(stub: Release, steady: str) -> None:
    before = {pod["metadata"]["name"] for pod in stub.list("pods", ORCHESTRATORS)}
    with traffic(stub, steady, callers=4) as told:
        stub.kubectl("rollout", "restart", f"deployment/{NAME}-{ORCHESTRATOR}")
        stub.kubectl("rollout", "status", f"deployment/{NAME}-{ORCHESTRATOR}", "--timeout=120s")
        eventually(lambda: not before & {pod["metadata"]["name"] for pod in stub.list("pods", ORCHESTRATORS)}, seconds=90)
        told.goes_on()

    assert told.failed == {}


def answers(client: httpx2.Client, model_id: str) -> bool:
    """Whether a job is served."""
    try:
        return send(client, model_id).status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False
