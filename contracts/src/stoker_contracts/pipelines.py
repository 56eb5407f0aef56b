"""The pipelines that Stoker serves: name, route, capability number, result kind."""

from dataclasses import dataclass
from enum import StrEnum


class Pipeline(StrEnum):
    """A pipeline's name, as go-livepeer's models configuration spells it."""

    TEXT_TO_IMAGE = "text-to-image"
    IMAGE_TO_IMAGE = "image-to-image"
    IMAGE_TO_VIDEO = "image-to-video"

    __hash__ = str.__hash__
    """Pipelines are keys that each job looks up; an enumeration's own hash is a call of Python."""


class Media(StrEnum):
    """What a pipeline produces."""

    IMAGE = "image"
    VIDEO = "video"


@dataclass(frozen=True, slots=True)
class PipelineFacts:
    """What every program must know of a pipeline.

    ``capability`` is Livepeer's number (go-livepeer ``core/capabilities.go``), ``short`` starts the names of
    resources, ``takes_image`` tells that jobs come as multipart with the file part ``image`` instead of JSON.
    ``default_steps`` and ``default_strength`` are those of a job that names none (ai-runner v0.14.1), ``frames`` how many
    pictures a row counts for where its cost is declared.
    """

    route: str
    capability: int
    short: str
    takes_image: bool
    produces: Media
    default_steps: int
    default_strength: float = 1.0
    frames: int = 1


_FRAMES = 25
"""As Stable Video Diffusion XT makes them."""

FACTS: dict[Pipeline, PipelineFacts] = {
    Pipeline.TEXT_TO_IMAGE: PipelineFacts("/text-to-image", 27, "t2i", takes_image=False, produces=Media.IMAGE, default_steps=50),
    Pipeline.IMAGE_TO_IMAGE: PipelineFacts(
        "/image-to-image", 28, "i2i", takes_image=True, produces=Media.IMAGE, default_steps=100, default_strength=0.8
    ),
    Pipeline.IMAGE_TO_VIDEO: PipelineFacts(
        "/image-to-video", 29, "i2v", takes_image=True, produces=Media.VIDEO, default_steps=25, frames=_FRAMES
    ),
}
"""Everything known of each pipeline."""

BY_ROUTE: dict[str, Pipeline] = {facts.route: pipeline for pipeline, facts in FACTS.items()}
"""Which pipeline a path belongs to."""
