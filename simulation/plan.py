"""What a world is made of, drawn from its seed."""

import random
from dataclasses import dataclass, field

from stoker_orchestrator.domain.admission import Limits


@dataclass(frozen=True, slots=True)
class Wire:
    """What a watch does to the news that it carries: seconds of delay, and shares between 0 and 1 of what goes wrong."""

    delay: tuple[float, float] = (0.01, 0.1)
    lost: float = 0.0
    twice: float = 0.0
    reordered: float = 0.0
    resync_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Faults:
    """How often things break, as mean seconds between two of a kind; 0: never."""

    worker_crash: float = 0.0
    worker_hang: float = 0.0
    worker_still: float = 0.0
    worker_slow: float = 0.0
    pod_deleted: float = 0.0
    pod_forced: float = 0.0
    node_crash: float = 0.0
    node_cut: float = 0.0
    rollout: float = 0.0
    model_gone: float = 0.0
    obstacle: float = 0.0
    api_away: float = 0.0
    orchestrator_crash: float = 0.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """Jobs that come: how many a second for each model, from how many callers, how they behave."""

    jobs_per_second: float = 0.5
    callers: int = 4
    hang_up: float = 0.05
    poison: float = 0.0
    timeouts: float = 0.5
    """Share of jobs that say how long they may take."""
    patience: tuple[float, float] = (5.0, 60.0)
    burst: int = 1
    """So many jobs come at a time."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One world. Times are in seconds of its own time."""

    seed: int
    nodes: int = 3
    gpus: int = 2
    models: int = 2
    orchestrators: int = 1
    least: int = 0
    most: int = 3
    capacity: int = 1
    first_replicas: int = 0
    start_seconds: tuple[float, float] = (2.0, 8.0)
    start_timeout: float = 60.0
    idle_after: float = 20.0
    residency: float = 10.0
    seconds_per_unit: float = 0.05
    drain_seconds: float = 30.0
    skew: float = 0.0
    """How much faster than true time an orchestrator's clock goes, 0.01 is 1 %; its zero is anywhere."""
    limits: Limits = field(default_factory=Limits)
    wire: Wire = Wire()
    faults: Faults = Faults()
    traffic: Traffic = Traffic()
    faults_from: float = 15.0
    faults_until: float = 120.0
    traffic_from: float = 0.0
    traffic_until: float = 170.0
    until: float = 400.0
    heartbeat_seconds: float = 0.0
    """Each pod is told again so often; 0: only with each resync."""


def draw(seed: int) -> Plan:
    """A small world: 2 to 10 nodes, 1 to 6 models, and any mixture of faults."""
    chance = random.Random(seed)
    return Plan(
        seed=seed,
        nodes=chance.randint(2, 10),
        gpus=chance.randint(1, 2),
        models=chance.randint(1, 6),
        orchestrators=chance.choice((1, 2, 2, 3)),
        least=chance.choice((0, 0, 0, 1)),
        most=chance.randint(1, 4),
        idle_after=chance.choice((5.0, 20.0, 60.0)),
        residency=chance.choice((5.0, 10.0, 30.0)),
        capacity=chance.choice((1, 1, 2, 4)),
        first_replicas=chance.choice((0, 0, 1, 2)),
        seconds_per_unit=chance.choice((0.01, 0.05, 0.1)),
        skew=chance.choice((0.0, 0.0, 0.01, -0.01, 0.05)),
        limits=Limits(jobs=chance.choice((3, 20, 100)), seconds=chance.choice((60.0, 600.0))),
        wire=_wire(chance),
        faults=_faults(chance),
        traffic=_traffic(chance),
    )


def _wire(chance: random.Random) -> Wire:
    return Wire(
        delay=chance.choice(((0.001, 0.02), (0.01, 0.5), (0.1, 4.0))),
        lost=chance.choice((0.0, 0.0, 0.05, 0.3)),
        twice=chance.choice((0.0, 0.0, 0.1, 0.5)),
        reordered=chance.choice((0.0, 0.0, 0.1, 0.5)),
    )


def _faults(chance: random.Random) -> Faults:
    def often(*means: float) -> float:
        return chance.choice((0.0, *means))

    return Faults(
        worker_crash=often(5.0, 20.0, 60.0),
        worker_hang=often(20.0, 60.0),
        worker_still=often(30.0, 90.0),
        worker_slow=often(20.0, 60.0),
        pod_deleted=often(10.0, 40.0),
        pod_forced=often(30.0, 90.0),
        node_crash=often(30.0, 90.0),
        node_cut=often(30.0, 90.0),
        rollout=often(30.0, 60.0),
        model_gone=often(60.0),
        obstacle=often(40.0),
        api_away=often(40.0, 80.0),
        orchestrator_crash=often(40.0, 80.0),
    )


def _traffic(chance: random.Random) -> Traffic:
    return Traffic(
        jobs_per_second=chance.choice((0.1, 0.5, 1.0, 2.0)),
        callers=chance.randint(1, 6),
        hang_up=chance.choice((0.0, 0.05, 0.3)),
        poison=chance.choice((0.0, 0.0, 0.02, 0.1)),
        patience=chance.choice(((1.0, 10.0), (5.0, 60.0))),
        burst=chance.choice((1, 1, 5)),
    )


def large(seed: int, *, nodes: int = 10_000, pods: int = 100_000, seconds: float = 600.0) -> Plan:
    """A fleet of thousands of nodes: each pod is told every ten seconds, among jobs, deaths and rollouts."""
    models = max(1, pods // 100)
    return Plan(
        seed=seed,
        nodes=nodes,
        gpus=-(-pods // nodes),
        models=models,
        most=2 * pods // models,
        first_replicas=pods // models,
        start_seconds=(20.0, 60.0),
        start_timeout=300.0,
        idle_after=1e9,
        wire=Wire(resync_seconds=1e9),
        faults=Faults(worker_crash=1.0, node_crash=20.0, rollout=60.0, worker_hang=5.0),
        traffic=Traffic(jobs_per_second=0.3, callers=20, hang_up=0.01),
        traffic_from=70.0,
        faults_until=seconds - 120.0,
        traffic_until=seconds - 60.0,
        until=seconds,
        heartbeat_seconds=10.0,
    )
