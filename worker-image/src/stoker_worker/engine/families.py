"""What is known of model families beyond what diffusers knows: one table, in the order of its rows."""

from dataclasses import dataclass

from stoker_contracts.pipelines import Pipeline


@dataclass(frozen=True, slots=True)
class Family:
    """How models with `mark` in their id want to be called. Steps count where a job asks for 0, the model's own default."""

    mark: str
    default_steps: int
    unguided: bool = False


_FAMILIES = (
    Family("lightning-2step", 2, unguided=True),
    Family("lightning-8step", 8, unguided=True),
    Family("lightning", 4, unguided=True),
    Family("turbo", 1, unguided=True),
    Family("schnell", 4),
)
_DEFAULT_STEPS = {Pipeline.TEXT_TO_IMAGE: 50, Pipeline.IMAGE_TO_IMAGE: 50, Pipeline.IMAGE_TO_VIDEO: 25}


def family_of(model_id: str, pipeline: Pipeline) -> Family:
    """The first family whose mark is in `model_id`. Distilled models run without guidance, as Livepeer's runner has it."""
    lowered = model_id.lower().replace("_", "-")
    return next((family for family in _FAMILIES if family.mark in lowered), Family(mark="", default_steps=_DEFAULT_STEPS[pipeline]))
