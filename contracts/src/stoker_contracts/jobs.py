"""Requests of the three pipelines, with the defaults of Livepeer's runner and the limits that it lacks.

Defaults come from ai-runner v0.14.1 (``runner/src/runner/routes``). Numeric strings are accepted, unknown fields ignored,
an explicit null is refused, as there. Limits that hold for every model stand in the fields; those that depend on the
model (pixels, divisibility, step ceiling) are a :class:`JobLimits`.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from stoker_contracts.names import MAX_MODEL_ID
from stoker_contracts.pipelines import FACTS, Pipeline
from stoker_contracts.uploads import MIN_SIDE

MAX_PROMPT_BYTES = 8192
MAX_SEED = 2**32 - 1
MAX_SIDE = 4096
MAX_STEPS = 500
MAX_IMAGES = 16

Prompt = Annotated[str, Field(max_length=MAX_PROMPT_BYTES)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Side = Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE)]
Steps = Annotated[int, Field(ge=0, le=MAX_STEPS, description="Denoising steps; 0 asks for the model's own default.")]
Guidance = Annotated[float, Field(ge=0, le=50, allow_inf_nan=False)]
Images = Annotated[int, Field(ge=1, le=MAX_IMAGES)]
OutputFormat = Literal["frames", "mp4"]
"""How a video is returned: `frames` (Livepeer's runner) or one `mp4` in `images`."""


def seed_after(seed: int, count: int) -> int:
    """The seed `count` places behind this one; behind the largest comes 0."""
    return (seed + count) % (MAX_SEED + 1)


class Job(BaseModel):
    """What all jobs have."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())
    pipeline: ClassVar[Pipeline]

    model_id: str = Field(default="", max_length=MAX_MODEL_ID)
    safety_check: bool = True
    seed: Seed | None = Field(default=None, description="Absent: a random one, told in the answer.")
    num_inference_steps: Steps

    @property
    def rows(self) -> int:
        """How many pictures, or videos, it asks for."""
        return 1

    @property
    def share(self) -> float:
        """How much of its steps is made, more than 0 and at most 1."""
        return 1.0

    @field_validator("seed", mode="before")
    @classmethod
    def _refuse_null(cls, value: object) -> object:
        if value is None:
            message = "seed must be an integer; leave it out for a random one"
            raise ValueError(message)
        return value


class PromptedJob(Job):
    """A job with words in it."""

    prompt: Prompt
    negative_prompt: Prompt = ""
    guidance_scale: Guidance = 7.5
    num_images_per_prompt: Images = 1

    @property
    def rows(self) -> int:
        """One picture after the other."""
        return self.num_images_per_prompt

    @field_validator("prompt", "negative_prompt")
    @classmethod
    def _bounded_bytes(cls, value: str) -> str:
        if len(value.encode(errors="surrogatepass")) > MAX_PROMPT_BYTES:
            message = f"a prompt may have at most {MAX_PROMPT_BYTES} bytes"
            raise ValueError(message)
        return value


class TextToImage(PromptedJob):
    """`POST /text-to-image`, JSON."""

    pipeline = Pipeline.TEXT_TO_IMAGE

    height: Side = 576
    width: Side = 1024
    num_inference_steps: Steps = FACTS[Pipeline.TEXT_TO_IMAGE].default_steps


class ImageToImage(PromptedJob):
    """`POST /image-to-image`, multipart, beside the file part `image`. The result has the image's size."""

    pipeline = Pipeline.IMAGE_TO_IMAGE

    strength: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = FACTS[Pipeline.IMAGE_TO_IMAGE].default_strength
    image_guidance_scale: Guidance = 1.5
    num_inference_steps: Steps = FACTS[Pipeline.IMAGE_TO_IMAGE].default_steps

    @property
    def share(self) -> float:
        """What is left of the picture is not made."""
        return self.strength


class ImageToVideo(Job):
    """`POST /image-to-video`, multipart, beside the file part `image`."""

    pipeline = Pipeline.IMAGE_TO_VIDEO

    height: Side = 576
    width: Side = 1024
    fps: Annotated[int, Field(ge=1, le=60)] = 6
    motion_bucket_id: Annotated[int, Field(ge=1, le=255)] = 127
    noise_aug_strength: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.02
    num_inference_steps: Steps = FACTS[Pipeline.IMAGE_TO_VIDEO].default_steps
    output_format: OutputFormat = "frames"


REQUESTS: dict[Pipeline, type[Job]] = {request.pipeline: request for request in (TextToImage, ImageToImage, ImageToVideo)}
"""The request of each pipeline."""


class JobLimits(BaseModel):
    """What one model takes at most; checked before a job is queued."""

    model_config = ConfigDict(frozen=True)

    max_steps: int = Field(default=200, ge=1, description="Denoising steps.")
    max_pixels: int = Field(default=2048 * 2048, ge=64, description="Pixels of all images of a job together.")
    max_images: int = Field(default=8, ge=1, description="Images of one job.")
    side_multiple: int = Field(default=8, ge=1, description="Width and height must be divisible by this.")

    def refusal(self, job: Job, size: tuple[int, int] | None = None) -> str | None:
        """Why this model does not take `job`, in words that name the limit; None when it does.

        `size` is (width, height) of the input image where the result takes its size from it.
        """
        width, height = size or _asked_size(job)
        return self._refuse_steps(job) or self._refuse_size(width, height) or self._refuse_images(job, width * height)

    def _refuse_steps(self, job: Job) -> str | None:
        steps = job.num_inference_steps
        if steps > self.max_steps:
            return f"num_inference_steps is {steps}; this model takes at most {self.max_steps}"
        if not isinstance(job, ImageToImage):
            return None
        if steps > 0 and int(steps * job.strength) < 1:
            return f"strength × num_inference_steps is {job.strength * steps:g}; it must be at least 1"
        if int(self.max_steps * job.strength) < 1:
            return f"strength is {job.strength:g}; with the {self.max_steps} steps that this model takes at most it must be larger"
        return None

    def _refuse_size(self, width: int, height: int) -> str | None:
        if width % self.side_multiple or height % self.side_multiple:
            return f"width and height must be divisible by {self.side_multiple}; {width}×{height} is not"
        return None

    def _refuse_images(self, job: Job, pixels: int) -> str | None:
        if job.rows > self.max_images:
            return f"num_images_per_prompt is {job.rows}; this model takes at most {self.max_images}"
        if pixels * job.rows > self.max_pixels:
            return f"{job.rows} × {pixels} pixels are asked for; this model takes at most {self.max_pixels} in all"
        return None


def _asked_size(job: Job) -> tuple[int, int]:
    if isinstance(job, TextToImage | ImageToVideo):
        return job.width, job.height
    message = f"the size of {type(job).__name__} comes from its image; pass it"
    raise TypeError(message)
