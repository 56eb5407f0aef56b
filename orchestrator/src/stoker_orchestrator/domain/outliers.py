"""Endpoints that fail though their fleet calls them ready: probed, ejected, and let in again.

One that lost a job is asked until it answers, so that the job need not wait for another worker where the only one lives. One is
ejected after two failures in a row, or when it answers no probe then or while a job of ours runs there. Two and not five in a row,
as Envoy has it (`outlier_detection.proto`): jobs here take seconds to minutes.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from stoker_orchestrator.domain.model import Endpoint

FAILURES = 2
"""Failures in a row, of jobs or of probes."""
QUIET_SECONDS = 2.0
"""A job may be under way so long before anybody asks whether its worker lives."""
PROBE_SECONDS = 2.0
"""Between two probes of one endpoint; also how long an answer may take."""
STEPS_WITHOUT_PROGRESS = 3.0
"""A worker stands still when its steps stand for so many times what its slowest step took."""
LEAST_STILL_SECONDS = 30.0
"""A worker may encode or compile between steps."""
FIRST_STILL_SECONDS = 600.0
"""It may compile for longer before its first step; a model's start may take as long."""
_BACK_OFF_SECONDS: tuple[float, ...] = (2.0, 4.0, 8.0, 15.0)
"""Between probes of an ejected endpoint; one that recovers is back within the longest of them."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """What an endpoint answered to a probe: whether anything, whether it is ready, and how many steps it has made in its life."""

    alive: bool
    ready: bool = False
    steps: int | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """An endpoint is to be asked whether it lives."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Ejected:
    """An endpoint gets no more jobs, and those under way there are lost."""

    endpoint: Endpoint
    reason: str
    """``failures``, ``silent`` or ``still``."""


@dataclass(frozen=True, slots=True)
class Readmitted:
    """An ejected endpoint answers again."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Recovered:
    """An endpoint that lost a job and was not ejected answers: the job may meet it once more."""

    endpoint: Endpoint


Judgement = Probe | Ejected | Readmitted | Recovered


@dataclass(slots=True)
class _Record:
    """What is known of an endpoint that was looked at. Moments are on the orchestrator's clock."""

    endpoint: Endpoint
    failures: int = 0
    misses: int = 0
    probed_at: float = float("-inf")
    steps: int | None = None
    moved_at: float = 0.0
    slowest_step: float = 0.0
    tries: int = 0


class Outliers:
    """The records of all endpoints that run jobs, lost one, or were ejected."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        self._watched: dict[str, Endpoint] = {}
        """Those that were ejected or lost a job, and have not answered since: they are probed while they are idle as well."""

    def begun(self, endpoint: Endpoint, now: float) -> None:
        """A job begins there."""
        if endpoint.in_flight == 1:
            record = self._record(endpoint)
            record.probed_at, record.moved_at, record.steps, record.misses = now, now, None, 0

    def ended(self, endpoint: Endpoint) -> None:
        """A job ended there as it should."""
        record = self._records.get(endpoint.id)
        if record is not None:
            record.failures = 0

    def failed(self, endpoint: Endpoint) -> list[Judgement]:
        """The endpoint lost a job, or failed at it in a way that is its own fault."""
        record = self._record(endpoint)
        record.failures += 1
        endpoint.recovered = False
        if endpoint.pulse:  # of containers their fleet knows, which looks at their health
            self._watched[endpoint.id] = endpoint
        return [self._eject(record, "failures")] if record.failures >= FAILURES and not endpoint.ejected else []

    def know(self, endpoint: Endpoint) -> None:
        """The endpoint was ejected, or lost a job, when another orchestrator led; from now on it is probed from here."""
        self._watched[endpoint.id] = self._record(endpoint).endpoint

    def gone(self, identity: str) -> None:
        """The endpoint is no more."""
        self._records.pop(identity, None)
        self._watched.pop(identity, None)

    def due(self, busy: Iterable[Endpoint], now: float) -> list[Judgement]:
        """Whom to probe now: of the busy endpoints those at work for a while, and of the watched ones those whose time has come."""
        idle = [each for each in self._watched.values() if not each.in_flight]
        return [Probe(each) for each in [*busy, *idle] if self._is_due(each, now)]

    def _is_due(self, endpoint: Endpoint, now: float) -> bool:
        asked = endpoint.pulse if endpoint.in_flight else endpoint.id in self._watched
        if not endpoint.ejected and not asked:
            return False
        record = self._record(endpoint)
        pause = _BACK_OFF_SECONDS[min(record.tries, len(_BACK_OFF_SECONDS) - 1)] if endpoint.ejected else PROBE_SECONDS
        if now - record.probed_at < pause:
            return False
        record.probed_at = now
        return True

    def answered(self, identity: str, steps: int | None, now: float, *, ready: bool = True) -> list[Judgement]:
        """An endpoint answered a probe; `steps` is how many steps it has made in its life, where it tells.

        One that is not `ready` lives, but has nothing to come back with: it loads, or is about to end.
        """
        record = self._records.get(identity)
        if record is None:
            return []
        record.misses = 0
        if ready and self._watched.pop(identity, None) is not None:
            return [self._back(record, now)]
        if record.endpoint.ejected or steps is None or not record.endpoint.in_flight:
            return []
        if record.steps is None or steps != record.steps:
            if record.steps is not None and steps > record.steps:
                record.slowest_step = max(record.slowest_step, (now - record.moved_at) / (steps - record.steps))
            record.steps, record.moved_at = steps, now
            return []
        known = max(LEAST_STILL_SECONDS, STEPS_WITHOUT_PROGRESS * record.slowest_step)
        limit = known if record.slowest_step else FIRST_STILL_SECONDS
        return [self._eject(record, "still")] if now - record.moved_at > limit else []

    def silent(self, identity: str) -> list[Judgement]:
        """An endpoint did not answer a probe."""
        record = self._records.get(identity)
        if record is None:
            return []
        record.misses += 1
        if record.endpoint.ejected:
            record.tries += 1
            return []
        return [self._eject(record, "silent")] if record.misses >= FAILURES else []

    def _back(self, record: _Record, now: float) -> Judgement:
        """It answers. What it lost before counts on unless it was ejected for it."""
        record.endpoint.recovered = True
        if not record.endpoint.ejected:
            return Recovered(record.endpoint)
        record.endpoint.ejected = False
        record.failures, record.tries, record.moved_at = 0, 0, now
        return Readmitted(record.endpoint)

    def _eject(self, record: _Record, reason: str) -> Ejected:
        record.endpoint.ejected, record.endpoint.recovered, record.tries = True, False, 0
        self._watched[record.endpoint.id] = record.endpoint
        return Ejected(record.endpoint, reason)

    def _record(self, endpoint: Endpoint) -> _Record:
        record = self._records.get(endpoint.id)
        if record is None:
            record = self._records[endpoint.id] = _Record(endpoint)
        return record
