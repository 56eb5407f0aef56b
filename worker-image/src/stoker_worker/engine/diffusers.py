"""The engine that runs real models with diffusers, from a local folder and without a network."""

import gc
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stoker_contracts.worker import GpuInfo
from stoker_worker.engine.faults import translated
from stoker_worker.engine.protocol import Footprint, GraphFigures, Outcome, OutOfMemoryError, Row, StageHook, Steps
from stoker_worker.engine.rows.arguments import batch_key
from stoker_worker.engine.rows.batch import run_batch
from stoker_worker.engine.speed import switches
from stoker_worker.engine.speed.speed import Speed, recorder_of
from stoker_worker.engine.start.folders import family_in
from stoker_worker.engine.start.memory import forget_peak, peak_bytes
from stoker_worker.engine.start.parking import ParkingPlace
from stoker_worker.engine.start.pipeline import Loaded, Model, load_pipeline
from stoker_worker.engine.start.warm import hot_shapes, warm_up


class DiffusersEngine:
    """One diffusers pipeline. `compile_cache` is the folder in which compiled code outlives the process."""

    def __init__(self, model: Model, compile_cache: Path | None = None) -> None:
        self._model = model
        self._compile_cache = compile_cache
        self._family = family_in(model.directory, model.model_id, model.pipeline)
        self._loaded: Loaded | None = None
        self._speed: Speed | None = None
        self._place: ParkingPlace | None = None

    @property
    def lossy(self) -> tuple[str, ...]:
        """The switches in force that may change a picture."""
        return switches.not_exact(self._model.switches)

    def load(self, stage: StageHook) -> Footprint:
        """Read the weights, put the switches in force and run the hot shapes. Raises FatalEngineError."""
        loaded = load_pipeline(self._model, stage)
        began = time.monotonic()
        self._speed = speed = Speed(loaded, self._model.switches, recorder_of(loaded), self._compile_cache)
        speed.apply()
        stage("switches", time.monotonic() - began)
        self._loaded = loaded
        self._place = ParkingPlace(loaded.pipe, loaded.torch, loaded.device)
        shapes = hot_shapes(self._model.warm_shapes, loaded.device)
        warm_up(self.run, self._model.pipeline, shapes, stage, speed.warm_runs)
        return loaded.footprint

    def key(self, row: Row) -> Hashable:
        """What rows must share to run in one call."""
        return batch_key(row, self._family)

    def run(self, rows: Sequence[Row], steps: Steps) -> Outcome:
        """Make the rows. Raises EngineError and FatalEngineError."""
        loaded, speed = self._ready, self._fast
        forget_peak(loaded.torch, loaded.device)
        try:
            speed.begin()
            outcome = run_batch(loaded, self._family, rows, steps)
            return replace(outcome, peak_bytes=peak_bytes(loaded.torch, loaded.device))
        except Exception as error:  # noqa: BLE001 - a model can fail in any way, and each has its words
            failure = translated(loaded.torch, error, self._model.directory)
        if isinstance(failure, OutOfMemoryError):
            self._free(loaded, speed)
        raise failure

    def park(self) -> bool:
        """Move the weights to the host's memory; False where there is no card to leave, or no room, or they are being compiled."""
        if self._place is None or not self._fast.hold_still():
            return False
        if not self._place.park():
            self._fast.go_on()
            return False
        self._free(self._ready, self._fast)
        return True

    def unpark(self) -> None:
        """Bring parked weights back. Raises FatalEngineError."""
        if self._place is not None:
            self._place.unpark()
            self._fast.go_on()

    def graphs(self) -> Mapping[str, GraphFigures]:
        """Recorded calls by part of the pipeline; empty before the load."""
        return self._speed.graph_figures() if self._speed is not None else {}

    @property
    def _ready(self) -> Loaded:
        assert self._loaded is not None, "run before load"  # noqa: S101 - the scheduler's order
        return self._loaded

    @property
    def _fast(self) -> Speed:
        assert self._speed is not None, "run before load"  # noqa: S101 - as above
        return self._speed

    def _free(self, loaded: Loaded, speed: Speed) -> None:
        """Let go of what only saves time. Nothing must hold a failed batch by now: no exception, whose traceback would."""
        speed.forget()
        gc.collect()
        if loaded.device == "cuda":
            loaded.torch.cuda.empty_cache()

    def hardware(self) -> dict[str, GpuInfo]:
        """The cards that torch sees; empty before the load and on a CPU."""
        if self._loaded is None or not self._loaded.torch.cuda.is_available():
            return {}
        cuda = self._loaded.torch.cuda
        return {str(index): _card(cuda, index) for index in range(cuda.device_count())}

    def utilization(self) -> dict[str, Any]:
        """Memory in use by card, in percent."""
        return {
            index: {"id": card.id, "name": card.name, "utilization_memory": 100 - 100 * card.memory_free // card.memory_total}
            for index, card in self.hardware().items()
        }


def _card(cuda: Any, index: int) -> GpuInfo:
    facts = cuda.get_device_properties(index)
    free, total = cuda.mem_get_info(index)
    return GpuInfo(
        id=str(getattr(facts, "uuid", index)),
        name=facts.name,
        memory_total=total,
        memory_free=free,
        major=facts.major,
        minor=facts.minor,
    )
