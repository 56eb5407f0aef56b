"""How a container that somebody else runs is, by what its ``/health`` answers, and what that means for its model.

Accepted is what Livepeer's runner says (ai-runner v0.14.1, ``runner/src/runner/routes/health.py``), and every other 2xx. While a
job runs that runner answers nobody, so a container is not given up for its silence while a job of ours runs there.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from stoker_contracts.resources.conditions import Reason
from stoker_contracts.resources.endpoints import EndpointPhase
from stoker_contracts.worker import HealthState
from stoker_orchestrator.domain.model import EndpointState, Obstacle, Url

OF_A_GATEWAY = frozenset({502, 503, 504})
"""What a proxy says in the place of a container that does not answer it."""
NOT_LET_IN = frozenset({401, 403})
_NO_ROUTE = frozenset({404, 405})
_OK, _REDIRECT, _CLIENT_ERROR = 200, 300, 400


@dataclass(frozen=True, slots=True)
class Health:
    """What a container does, and what ails it: a reason for programs, words to follow ``endpoint 2 of 3`` for people.

    `lasting`: it does not heal by itself. `silent`: it itself did not answer, and may only be at work.
    """

    phase: EndpointPhase
    reason: Reason
    words: str = ""
    lasting: bool = False
    silent: bool = False

    @property
    def state(self) -> EndpointState:
        """The same as the registry has it. One that is down may come back at any time."""
        return EndpointState.READY if self.phase is EndpointPhase.READY else EndpointState.STARTING


WELL = Health(EndpointPhase.READY, Reason.SERVING)
UNSEEN = Health(EndpointPhase.LOADING, Reason.STARTING, "has not been looked at yet")
_LOADS = Health(EndpointPhase.LOADING, Reason.LOADING, "loads its model")


@dataclass(frozen=True, slots=True)
class Report:
    """One container of a model as its owner is told, in the order in which the resource names them."""

    phase: EndpointPhase
    reason: Reason
    message: str = ""


def down(reason: Reason, words: str, *, lasting: bool = False) -> Health:
    """A container that takes no jobs, and why."""
    return Health(EndpointPhase.DOWN, reason, words, lasting)


def unanswered(cause: str, *, silent: bool = False) -> Health:
    """A container that did not answer."""
    return replace(down(Reason.NO_ANSWER, f"does not answer ({cause})"), silent=silent)


def answered(status: int, body: bytes, url: Url) -> Health:
    """What the container at `url` says of itself."""
    if status in NOT_LET_IN:
        return refused(status, url)
    if _OK <= status < _REDIRECT:
        return _told(body)
    if _REDIRECT <= status < _CLIENT_ERROR:
        return _elsewhere(status)
    found = down(Reason.UNHEALTHY, f"answers {status} when asked for its health")
    return replace(found, silent=status in OF_A_GATEWAY)


def turned_away(status: int) -> bool:
    """Whether this answer to a job says that the container takes none of ours, and nothing of the job."""
    return status in NOT_LET_IN or status in _NO_ROUTE or _REDIRECT <= status < _CLIENT_ERROR


def refused(status: int, url: Url) -> Health:
    """A container that takes no jobs of ours, by what it answered to one."""
    if status in _NO_ROUTE:
        return down(Reason.UNHEALTHY, f"has no route for this pipeline ({status}); look at its url", lasting=True)
    if status not in NOT_LET_IN:
        return _elsewhere(status)
    if url.key is None and not url.token:
        return down(Reason.TOKEN_MISSING, f"asks for a token ({status}) and none is named; name its tokenKey", lasting=True)
    where = f"the key {url.key}" if url.key is not None else "the token of its entry"
    return down(Reason.TOKEN_REFUSED, f"refuses the token ({status}); look at {where}", lasting=True)


def _elsewhere(status: int) -> Health:
    return down(Reason.UNHEALTHY, f"redirects elsewhere ({status}), which is not followed; name where it leads", lasting=True)


def _told(body: bytes) -> Health:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return WELL
    match said.get("status") if isinstance(said, dict) else None:
        case HealthState.LOADING:
            return _LOADS
        case HealthState.ERROR:
            return down(Reason.UNHEALTHY, "says of itself that it is in error")
    return WELL


def after(before: Health, found: Health, *, busy: bool) -> Health:
    """How a container is after another look; `busy` tells that a job of ours ran there meanwhile."""
    return before if found.silent and busy else found


def sentence(index: int, total: int, health: Health) -> str:
    """What ails a container, numbered as people count; nothing where it is well."""
    return f"endpoint {index + 1} of {total} {health.words}" if health.words else ""


def obstacle(healths: Sequence[Health], since: Iterable[float], now: float, patience: float) -> Obstacle | None:
    """Why waiting for any of these containers is of no use: each is down for good, or for longer than a job may wait."""
    total = len(healths)
    for health, moment in zip(healths, since, strict=True):
        if health.phase is not EndpointPhase.DOWN or not (health.lasting or now - moment > patience):
            return None
    words = "; ".join(sentence(index, total, health) for index, health in enumerate(healths))
    return Obstacle(healths[0].reason.value, words) if healths else None


def reports(healths: Sequence[Health]) -> tuple[Report, ...]:
    """All containers of a model as their owner is told."""
    total = len(healths)
    return tuple(Report(each.phase, each.reason, sentence(index, total, each)) for index, each in enumerate(healths))
