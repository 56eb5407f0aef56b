"""What a finished job returns."""

from typing import Literal

from pydantic import BaseModel, Field


class MediaItem(BaseModel):
    """One image, one frame or one clip."""

    url: str = Field(description="A data URL: `data:image/png;base64,...` or `data:video/mp4;base64,...`.")
    seed: int = Field(description="The seed that makes this very result again.")
    nsfw: bool = Field(default=False, description="Flagged by the safety checker; false where none ran.")


class ImagesResult(BaseModel):
    """The answer of every pipeline but image-to-video in its frames form."""

    images: list[MediaItem]


class FramesResult(BaseModel):
    """What Livepeer's runner answers to image-to-video: one batch of PNG frames, all of one size."""

    frames: list[list[MediaItem]]


OutputFormat = Literal["frames", "mp4"]
"""How a video is returned: `frames` (Livepeer's runner) or one `mp4` in `images`."""
