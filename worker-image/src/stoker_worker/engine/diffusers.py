"""The engine that runs real models with diffusers, from a local folder and without a network."""

import gc
import inspect
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stoker_contracts.jobs import ImageToVideo, Job
from stoker_contracts.pipelines import Pipeline
from stoker_contracts.worker import ExitReason, GpuInfo
from stoker_worker.engine.families import family_of
from stoker_worker.engine.loading import find_model
from stoker_worker.engine.protocol import (
    BrokenResultError,
    CancelledError,
    FatalEngineError,
    OutOfMemoryError,
    Output,
    Pixels,
    RefusedError,
    StepHook,
    Task,
)

_CLASSES = {
    Pipeline.TEXT_TO_IMAGE: "AutoPipelineForText2Image",
    Pipeline.IMAGE_TO_IMAGE: "AutoPipelineForImage2Image",
    Pipeline.IMAGE_TO_VIDEO: "StableVideoDiffusionPipeline",
}
_STICKY = ("illegal memory access", "device-side assert", "uncorrectable ECC", "unspecified launch failure")
"""CUDA errors after which the process's context is dead (kubernetes: let the pod restart)."""


@dataclass(frozen=True, slots=True)
class Model:
    """Which model, from where, on what."""

    pipeline: Pipeline
    model_id: str
    directory: Path
    device: str = "auto"
    switches: frozenset[str] = frozenset()
    memory_budget: int | None = None


class DiffusersEngine:
    """One diffusers pipeline. torch is imported by `load`, so that the port opens first."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._family = family_of(model.model_id, model.pipeline)
        self._torch: Any = None
        self._pipe: Any = None
        self._accepted: frozenset[str] = frozenset()

    def load(self) -> None:
        """Read the weights and move them to the device. Raises FatalEngineError."""
        folder = find_model(self._model.directory, self._model.model_id)
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        import diffusers  # noqa: PLC0415 - seconds of imports that must not delay the port
        import torch  # noqa: PLC0415 - as above
        import transformers  # noqa: PLC0415 - as above

        self._torch = torch
        for library in (diffusers, transformers):
            library.utils.logging.set_verbosity_error()
            library.utils.logging.disable_progress_bar()
        try:
            self._pipe = self._loaded(getattr(diffusers, _CLASSES[self._model.pipeline]), folder)
        except torch.OutOfMemoryError:
            words = "the card is too small for the weights of this model"
            raise FatalEngineError(ExitReason.OUT_OF_MEMORY, words) from None
        except Exception as error:
            words = f"{self._model.model_id} cannot be loaded: {type(error).__name__}: {_without_paths(error, folder)}"
            raise FatalEngineError(ExitReason.LOAD_FAILED, words) from error
        self._accepted = frozenset(inspect.signature(self._pipe.__call__).parameters)

    def _loaded(self, kind: Any, folder: Path) -> Any:
        cuda = self._on_cuda()
        if cuda:
            self._bound_memory()
        else:
            self._torch.set_num_threads(1)
        variant = "fp16" if cuda and any(folder.rglob("*.fp16.safetensors")) else None
        pipe = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=self._dtype(cuda=cuda), variant=variant
        )
        pipe.set_progress_bar_config(disable=True)
        pipe = pipe.to("cuda" if cuda else "cpu")
        if "compile" in self._model.switches:
            denoiser = getattr(pipe, "unet", None) or pipe.transformer
            denoiser.compile()
        return pipe

    def _on_cuda(self) -> bool:
        if self._model.device == "auto":
            return bool(self._torch.cuda.is_available())
        return self._model.device == "cuda"

    def _dtype(self, *, cuda: bool) -> Any:
        if "bfloat16" in self._model.switches:
            return self._torch.bfloat16
        return self._torch.float16 if cuda else self._torch.float32

    def _bound_memory(self) -> None:
        """A seat belt: the allocator refuses what would go past the budget."""
        if self._model.memory_budget is not None:
            total = self._torch.cuda.get_device_properties(0).total_memory
            self._torch.cuda.set_per_process_memory_fraction(min(1.0, self._model.memory_budget / total))

    def run(self, task: Task, step: StepHook) -> Output:
        """Make the pictures, one after the other with seeds seed, seed + 1, ... as Livepeer's runner does."""
        count = getattr(task.job, "num_images_per_prompt", 1)
        try:
            if isinstance(task.job, ImageToVideo):
                return Output(self._pictures(task, task.seed, step), [task.seed])
            seeds = [task.seed + index for index in range(count)]
            return Output([self._pictures(task, seed, step)[0] for seed in seeds], seeds)
        except self._torch.OutOfMemoryError:
            self._free()
            message = "the job needs more memory than the card has"
            raise OutOfMemoryError(message) from None
        except (CancelledError, BrokenResultError):
            raise
        except (ValueError, TypeError) as error:
            words = f"the model does not take this job: {_without_paths(error, self._model.directory)}"
            raise RefusedError(words) from error
        except RuntimeError as error:
            if any(mark in str(error) for mark in _STICKY):
                raise FatalEngineError(ExitReason.ENGINE_FAILED, "the GPU reported an error that only a restart cures") from error
            raise

    def _pictures(self, task: Task, seed: int, step: StepHook) -> list[Pixels]:
        generator = self._torch.Generator("cpu").manual_seed(seed)
        arguments = self._arguments(task) | {
            "generator": generator,
            "output_type": "pt",
            "callback_on_step_end": _step_callback(step),
        }
        with self._torch.inference_mode():
            result = self._pipe(**{key: value for key, value in arguments.items() if key in self._accepted})
            tensor = result.frames[0] if isinstance(task.job, ImageToVideo) else result.images
            return self._pixels(tensor)

    def _pixels(self, tensor: Any) -> list[Pixels]:
        """Pictures × channels × height × width in 0..1, as bytes. A result that is no number is an error, not a black picture."""
        if not bool(self._torch.isfinite(tensor).all()):
            message = "the model produced values that are no numbers; try another seed or size"
            raise BrokenResultError(message)
        scaled = tensor.float().mul(255).round().clamp(0, 255).to(self._torch.uint8)
        return list(np.ascontiguousarray(scaled.permute(0, 2, 3, 1).cpu().numpy()))

    def _arguments(self, task: Task) -> dict[str, Any]:
        given = _fields(task.job)
        if given.get("num_inference_steps") == 0:
            given["num_inference_steps"] = self._steps(given.get("strength", 1.0))
        if self._family.unguided and "guidance_scale" in given:
            given["guidance_scale"] = 0.0
        if task.image is not None:
            given["image"] = task.image
        return given

    def _steps(self, strength: float) -> int:
        """The model's own number of steps, raised where `strength` would leave less than one."""
        return max(self._family.default_steps, math.ceil(1 / strength))

    def _free(self) -> None:
        gc.collect()
        if self._torch.cuda.is_available():
            self._torch.cuda.empty_cache()

    def hardware(self) -> dict[str, GpuInfo]:
        """The cards that torch sees; empty before the load and on a CPU."""
        if self._pipe is None or not self._torch.cuda.is_available():
            return {}
        return {str(index): self._card(index) for index in range(self._torch.cuda.device_count())}

    def _card(self, index: int) -> GpuInfo:
        facts = self._torch.cuda.get_device_properties(index)
        free, total = self._torch.cuda.mem_get_info(index)
        return GpuInfo(
            id=str(getattr(facts, "uuid", index)),
            name=facts.name,
            memory_total=total,
            memory_free=free,
            major=facts.major,
            minor=facts.minor,
        )

    def utilization(self) -> dict[str, Any]:
        """Memory in use by card, in percent."""
        return {
            index: {"id": card.id, "name": card.name, "utilization_memory": 100 - 100 * card.memory_free // card.memory_total}
            for index, card in self.hardware().items()
        }


def _fields(job: Job) -> dict[str, Any]:
    """What a job says to the pipeline; the rest is the worker's business."""
    ours = {"model_id", "safety_check", "seed", "num_images_per_prompt", "output_format"}
    return {key: value for key, value in job.model_dump().items() if key not in ours}


def _step_callback(step: StepHook) -> Any:
    def after_step(_pipe: Any, _index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        step()
        return tensors

    return after_step


def _without_paths(error: Exception, folder: Path) -> str:
    """The error's first line, without where the files lie."""
    text = str(error).strip().split("\n", 1)[0]
    return text.replace(str(folder), "the model directory")[:400]
