"""How workers leave: first they get no new job while others can take it; only when they are idle is the fleet asked to end them."""

from collections.abc import Collection
from dataclasses import dataclass

from stoker_orchestrator.domain.model import Endpoint, EndpointState, Leaving

GOES_FIRST = -1
"""The deletion cost of a worker that is to go; all others cost 0."""
_RANK_AGAIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Retired:
    """This endpoint is to go; until it is idle it gets only jobs that no other can take."""

    model: str
    endpoint: str
    reason: str


@dataclass(frozen=True, slots=True)
class Revived:
    """This endpoint was to go and stays."""

    model: str
    endpoint: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rank:
    """Tell the fleet what ending this endpoint would cost."""

    model: str
    endpoint: str
    cost: int


class Retirement:
    """Who is to go of all models, since when, and what the fleet knows of it."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._ranks: dict[str, int] = {}
        self._told: dict[str, tuple[int, float]] = {}

    def forget(self, known: Collection[str]) -> None:
        """Only the endpoints with these ids are left. Looked at where more is remembered than there can be of them."""
        for memory in (self._since, self._ranks, self._told):
            if len(memory) > len(known):
                for gone in memory.keys() - set(known):
                    del memory[gone]

    def choose(self, standing: Collection[Endpoint], excess: int, only: Collection[str] | None = None) -> list[Endpoint]:
        """Who goes where so many are too much: who was chosen before, who takes no jobs, who is idle; at last who has least work.

        Those that have jobs are chosen only where no idle one is left. `only` names those that may go.
        A worker that lost its readiness during a job would be ended before all others, so while there is one nobody goes.
        """
        if any(each.state is not EndpointState.READY and each.in_flight for each in standing):
            return []
        able = [each for each in standing if only is None or each.id in only]
        order = sorted(able, key=lambda each: (each.state is EndpointState.READY, *self._order(each)))
        idle = [each for each in order if not each.in_flight]
        return (idle or order)[: max(0, excess)]

    def _order(self, each: Endpoint) -> tuple[bool, int, float, float]:
        return each.leaving is Leaving.STAYS, each.in_flight, each.work, each.idle_since

    def retire(self, going: Collection[Endpoint], reason: str, now: float) -> list[Retired]:
        """The first phase begins for those that are not in it. It begins anew for those that an earlier leader had chosen."""
        fresh = [each for each in going if each.id not in self._since]
        for each in fresh:
            each.leaving = Leaving.RETIRING
            self._since[each.id] = now
        return [Retired(each.model, each.id, reason) for each in fresh]

    def revive(self, staying: Collection[Endpoint], reason: str) -> list[Revived]:
        """Those that were to go stay."""
        found = [each for each in staying if each.leaving is not Leaving.STAYS]
        for each in found:
            each.leaving = Leaving.STAYS
            self._since.pop(each.id, None)
        return [Revived(each.model, each.id, reason) for each in found]

    def called_back(self, endpoints: Collection[Endpoint]) -> list[Revived]:
        """Those that took a job while they were to go, and so stay."""
        if not self._since:
            return []
        found = [each for each in endpoints if each.leaving is Leaving.STAYS and each.id in self._since]
        for each in found:
            del self._since[each.id]
        return [Revived(each.model, each.id, "Demand") for each in found]

    def over(self, going: Collection[Endpoint], drain_timeout: float, now: float) -> bool:
        """Whether the second phase may begin: all are idle or had their time, and the fleet knows that they go first."""
        return all(
            self._since[each.id] < now
            and (not each.in_flight or now - self._since[each.id] >= drain_timeout)
            and self._ranks.get(each.id) == GOES_FIRST
            for each in going
        )

    def rank(self, endpoints: Collection[Endpoint], now: float) -> list[Rank]:
        """What the fleet is to be told. Of an endpoint that is new here it is not known what an earlier orchestrator said."""
        found: list[Rank] = []
        ranks = self._ranks
        for each in endpoints:
            cost = 0 if each.leaving is Leaving.STAYS else GOES_FIRST
            if ranks.get(each.id) == cost:
                continue
            told, at = self._told.get(each.id, (None, 0.0))
            if told != cost or now - at >= _RANK_AGAIN_SECONDS:
                self._told[each.id] = cost, now
                found.append(Rank(each.model, each.id, cost))
        return found

    def ranked(self, rank: Rank) -> None:
        """The fleet knows it."""
        self._ranks[rank.endpoint] = rank.cost
