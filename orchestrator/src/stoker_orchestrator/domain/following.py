"""A switchboard whose slots another orchestrator gives out, and one that begins or ceases to be such."""

from stoker_orchestrator.domain.load import IDLE, NOBODY, Load, endpoint_load
from stoker_orchestrator.domain.outliers import Outliers
from stoker_orchestrator.domain.switchboard import Switchboard


def load_of(board: Switchboard, now: float) -> Load:
    """How busy everything is by this switchboard's count."""
    registry = board.registry
    loads = {endpoint.id: load for endpoint in registry.endpoints if (load := endpoint_load(endpoint)) != IDLE}
    crowds = {model.name: crowd for model in registry.models if (crowd := board.crowd(model.name, now)) != NOBODY}
    return Load(loads, crowds, registry.rates.known_rates(), sorted(registry.roomless))


def follow(board: Switchboard, load: Load, now: float) -> None:
    """Show what the orchestrator tells that gives out the slots. Nothing is judged here meanwhile."""
    if board.told is None:
        board.outliers = Outliers()
    board.told = load
    for endpoint in board.registry.endpoints:
        load.show(endpoint, now)
    board.registry.rates.learn([rate for rate in load.rates if board.registry.model(rate[0]) is not None])
    board.registry.roomless = set(load.roomless)


def unfollow(board: Switchboard, now: float) -> None:
    """Nobody tells any more: what was in flight is unknown, what was learnt stays."""
    if board.told is None:
        return
    board.told = None
    for endpoint in board.registry.endpoints:
        if endpoint.in_flight:
            endpoint.in_flight, endpoint.work, endpoint.idle_since = 0, 0.0, now
        if endpoint.ejected:
            board.outliers.know(endpoint)
