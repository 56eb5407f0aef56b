"""The engine that runs real models with diffusers, from a local folder and without a network."""

import gc
from collections.abc import Hashable, Sequence
from typing import Any

from stoker_contracts.worker import ExitReason, GpuInfo
from stoker_worker.engine.arguments import batch_key
from stoker_worker.engine.batch import run_batch
from stoker_worker.engine.loading import family_in
from stoker_worker.engine.memory import forget_peak, peak_bytes
from stoker_worker.engine.parking import ParkingPlace
from stoker_worker.engine.pipeline import Loaded, Model, load_pipeline, without_paths
from stoker_worker.engine.protocol import (
    FatalEngineError,
    Footprint,
    Outcome,
    OutOfMemoryError,
    RefusedError,
    Row,
    StageHook,
    Steps,
)
from stoker_worker.engine.warm import hot_shapes, warm_up

_STICKY = ("illegal memory access", "device-side assert", "uncorrectable ECC", "unspecified launch failure")
"""CUDA errors after which the process's context is dead (kubernetes: let the pod restart)."""


class DiffusersEngine:
    """One diffusers pipeline."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._family = family_in(model.directory, model.model_id, model.pipeline)
        self._loaded: Loaded | None = None
        self._place: ParkingPlace | None = None

    @property
    def lossy(self) -> tuple[str, ...]:
        """The switches that change pictures."""
        return tuple(sorted(self._model.switches))

    def load(self, stage: StageHook) -> Footprint:
        """Read the weights, move them to the device and run the hot shapes once. Raises FatalEngineError."""
        self._family = family_in(self._model.directory, self._model.model_id, self._model.pipeline)
        self._loaded = loaded = load_pipeline(self._model, stage)
        self._place = ParkingPlace(loaded.pipe, loaded.torch, loaded.device)
        warm_up(self.run, self._model.pipeline, hot_shapes(self._model.warm_shapes, loaded.device), stage)
        return loaded.footprint

    def key(self, row: Row) -> Hashable:
        """What rows must share to run in one call."""
        return batch_key(row, self._family)

    def run(self, rows: Sequence[Row], steps: Steps) -> Outcome:
        """Make the rows. Raises EngineError and FatalEngineError."""
        loaded = self._ready
        forget_peak(loaded.torch, loaded.device)
        try:
            made = run_batch(loaded, self._family, rows, steps)
            return Outcome(made, peak_bytes(loaded.torch, loaded.device))
        except loaded.torch.OutOfMemoryError:
            self._free(loaded)
            message = "the job needs more memory than the card has"
            raise OutOfMemoryError(message) from None
        except (ValueError, TypeError) as error:
            words = f"the model does not take this job: {without_paths(error, self._model.directory)}"
            raise RefusedError(words) from error
        except RuntimeError as error:
            if any(mark in str(error) for mark in _STICKY):
                raise FatalEngineError(ExitReason.ENGINE_FAILED, "the GPU reported an error that only a restart cures") from error
            raise

    def park(self) -> bool:
        """Move the weights to the host's memory; False where there is no card to leave, or no room."""
        return self._place is not None and self._place.park()

    def unpark(self) -> None:
        """Bring parked weights back. Raises FatalEngineError."""
        if self._place is not None:
            self._place.unpark()

    @property
    def _ready(self) -> Loaded:
        assert self._loaded is not None, "run before load"  # noqa: S101 - the scheduler's order
        return self._loaded

    def _free(self, loaded: Loaded) -> None:
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
