"""What Prometheus sees of recorded calls."""

from collections.abc import Mapping, Sequence

from stoker_worker.engine.protocol import Footprint, GraphDecision, GraphFigures, Outcome, Row, StageHook, Steps
from tests.support.held_worker import Gate, Worker, worker
from tests.support.waiting import until


class Recording(Gate):
    """Records a call of its UNet at the load, one in each batch, and finds that the VAE is not worth it; parking forgets all."""

    def __init__(self, *, parks: bool = False) -> None:
        super().__init__(parks=parks)
        self._held = self._replayed = 0

    def _record(self) -> None:
        self._held, self._replayed = self._held + 1, self._replayed + 1

    def load(self, stage: StageHook) -> Footprint:
        self._record()
        return super().load(stage)

    def run(self, rows: Sequence[Row], steps: Steps) -> Outcome:
        self._record()
        return super().run(rows, steps)

    def park(self) -> bool:
        self._held = 0
        return super().park()

    def graphs(self) -> Mapping[str, GraphFigures]:
        return {
            "unet": GraphFigures(self._held, {GraphDecision.REPLAYED: self._replayed}),
            "vae": GraphFigures(0, {GraphDecision.SATURATED: 1}),
        }


def held(made: Worker, part: str) -> float | None:
    return made.metrics.registry.get_sample_value("stoker_worker_graphs", {"part": part})


def decided(made: Worker, part: str) -> dict[str, float]:
    """What was decided about a part, and how often."""
    counts = {
        each.value: made.metrics.registry.get_sample_value(
            "stoker_worker_graph_decisions_total", {"part": part, "decision": each.value}
        )
        for each in GraphDecision
    }
    return {decision: count for decision, count in counts.items() if count}


async def test_each_part_tells_its_graphs_and_what_was_decided_after_the_load_and_after_each_batch() -> None:
    async with worker(Recording()) as made:
        at_first = held(made, "unet"), decided(made, "unet")
        for seed in range(2):
            made.send(seed)
            await made.ends()

        assert at_first == (1, {"replayed": 1})
        assert (held(made, "unet"), decided(made, "unet")) == (3, {"replayed": 3})
        assert (held(made, "vae"), decided(made, "vae")) == (0, {"saturated": 1})


async def test_graphs_that_parking_let_go_are_not_told_any_more_and_their_decisions_are() -> None:
    async with worker(Recording(parks=True), park_after=0.02) as made:
        await until(lambda: made.scheduler.readiness().state == "parked")

        assert (held(made, "unet"), decided(made, "unet")) == (0, {"replayed": 1})


async def test_a_worker_that_records_nothing_tells_of_no_part() -> None:
    async with worker() as made:
        made.send(1)
        await made.ends()

        assert b"stoker_worker_graphs{" not in made.metrics.text()
        assert b"stoker_worker_graph_decisions_total{" not in made.metrics.text()
