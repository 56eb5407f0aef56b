"""A switchboard with some workers, and what it says."""

from stoker_orchestrator.domain.admission import Limits
from stoker_orchestrator.domain.events import ModelSeen
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.switchboard import Effect, Granted, Refused, Switchboard
from tests.support.fleet import endpoint, model

M = model(start_timeout=60)


def switchboard(*endpoints: str, line_limit: int = 4, capacity: int = 1) -> Switchboard:
    board = Switchboard(Registry(), Limits(line_limit))
    board.apply(ModelSeen(M), now=0)
    for identity in endpoints:
        board.apply(endpoint(identity, capacity=capacity), now=0)
    return board


def granted(effects: list[Effect]) -> list[tuple[int, str]]:
    return [(each.ticket, each.endpoint.id) for each in effects if isinstance(each, Granted)]


def refused(effects: list[Effect]) -> list[tuple[int, int]]:
    return [(each.ticket, each.refusal.status) for each in effects if isinstance(each, Refused)]
