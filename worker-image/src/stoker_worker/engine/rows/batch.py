"""A batch of rows through a loaded pipeline, in one call where its family can, else one after the other."""

from collections.abc import Sequence
from typing import Any

from stoker_worker.engine.families import Family, equal_parts
from stoker_worker.engine.protocol import CancelledError, EngineError, Made, Outcome, Row, Steps
from stoker_worker.engine.rows.arguments import arguments
from stoker_worker.engine.rows.attendance import Attendance
from stoker_worker.engine.rows.pixels import pixels
from stoker_worker.engine.rows.prompts import tell_cuts
from stoker_worker.engine.start.pipeline import Loaded


def run_batch(loaded: Loaded, family: Family, rows: Sequence[Row], steps: Steps) -> Outcome:
    """Make the rows, each with a generator of its own, so that none depends on its neighbours."""
    tell_cuts(loaded.pipe, family, rows)
    if family.batches:
        return _together(loaded, family, rows, steps)
    alone = [_together(loaded, family, [row], steps) for row in rows]  # of one job: they leave all at once
    return Outcome([made for each in alone for made in each.rows], nsfw=frozenset(i for i, each in enumerate(alone) if each.nsfw))


def _together(loaded: Loaded, family: Family, rows: Sequence[Row], steps: Steps) -> Outcome:
    attendance = Attendance(steps, _generators(loaded, family, rows), row_tensors(loaded.pipe, family))
    pictures, flags = _called(loaded, family, rows, attendance)
    made: list[Made | EngineError] = [CancelledError("the caller is gone") for _ in rows]
    for row, picture in zip(attendance.computed, pictures, strict=True):
        if row not in attendance.gone:
            made[row] = picture
    return Outcome(made, nsfw=frozenset(row for row, flag in zip(attendance.computed, flags, strict=True) if flag))


def _called(loaded: Loaded, family: Family, rows: Sequence[Row], attendance: Attendance) -> tuple[list[Any], list[bool]]:
    """What the pipeline made, and which of it its own checker flagged."""
    call = arguments(rows, family) | {
        "generator": attendance.generators if family.batches else attendance.generators[0],
        "output_type": "pt",
        "callback_on_step_end": attendance.after_step,
        "callback_on_step_end_tensor_inputs": attendance.tensors,
    }
    if family.decoded_together is not None:
        call["decode_chunk_size"] = equal_parts(loaded.pipe.unet.config.num_frames, family.decoded_together)
    with loaded.torch.inference_mode():
        result = loaded.pipe(**{key: value for key, value in call.items() if key in loaded.accepted})
        tensor = result.frames if hasattr(result, "frames") else result.images.unsqueeze(1)
        made = list(pixels(loaded.torch, tensor))
        return made, getattr(result, "nsfw_content_detected", None) or [False] * len(made)


def row_tensors(pipe: Any, family: Family) -> tuple[str, ...] | None:
    """The tensors by which rows can leave a call of `pipe`; None where something of them would stay behind.

    That is so with a denoiser that takes guidance as an embedding (diffusers keeps ``timestep_cond`` to itself) and with schedulers
    that have a source of noise for the whole batch.
    """
    denoiser = getattr(pipe, "unet", None)
    embeds_guidance = denoiser is not None and denoiser.config.get("time_cond_proj_dim") is not None
    if embeds_guidance or hasattr(pipe.scheduler, "noise_sampler"):
        return None
    return next((kind.rows for kind in family.kinds.values() if kind.name == type(pipe).__name__), None)


def _generators(loaded: Loaded, family: Family, rows: Sequence[Row]) -> list[Any]:
    device = loaded.device if family.noise_on_device else "cpu"
    return [loaded.torch.Generator(device).manual_seed(row.seed) for row in rows]
