"""From tensors to bytes, against what diffusers itself makes of them."""

from typing import Any

import numpy as np
import pytest

from stoker_worker.engine.protocol import BrokenResultError
from stoker_worker.engine.rows.pixels import pixels

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


def decoded(torch: Any, dtype: str) -> Any:
    """What a VAE gives: every value that bfloat16 has between -1.5 and 1.5, in pictures of 3 channels."""
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    near = every[torch.isfinite(every) & (every.abs() <= 1.5)].float()
    noise = torch.rand(3 * 64 * 64, generator=torch.Generator().manual_seed(0)) * 3 - 1.5
    values = torch.cat([near, noise])
    values = values[: values.numel() // (2 * 3 * 8) * (2 * 3 * 8)]
    return values.reshape(2, 3, 8, -1).to(getattr(torch, dtype))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_pictures_have_the_bytes_that_diffusers_gives_them(torch: Any, dtype: str) -> None:
    from diffusers.image_processor import VaeImageProcessor  # noqa: PLC0415 - torch only where it is tested

    processor = VaeImageProcessor()
    theirs = processor.postprocess(decoded(torch, dtype), output_type="pil")
    ours = pixels(torch, processor.postprocess(decoded(torch, dtype), output_type="pt").unsqueeze(1))

    assert len(ours) == len(theirs) == 2
    for row, picture in zip(ours, theirs, strict=True):
        assert isinstance(row, list)
        assert np.array_equal(row[0], np.asarray(picture))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_frames_have_the_bytes_that_diffusers_gives_them(torch: Any, dtype: str) -> None:
    from diffusers.video_processor import VideoProcessor  # noqa: PLC0415 - as above

    processor = VideoProcessor()
    video = decoded(torch, dtype).unsqueeze(0).movedim(2, 1)
    (theirs,) = processor.postprocess_video(video, output_type="pil")
    (ours,) = pixels(torch, processor.postprocess_video(video, output_type="pt"))

    assert isinstance(ours, list)
    assert [np.array_equal(frame, np.asarray(picture)) for frame, picture in zip(ours, theirs, strict=True)] == [True, True]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_row_that_is_no_number_is_an_error_and_leaves_the_others(torch: Any, bad: float) -> None:
    tensor = torch.full((3, 2, 3, 8, 8), 0.5)
    tensor[1, 1, 2, 3, 4] = bad
    made = pixels(torch, tensor)

    assert isinstance(made[1], BrokenResultError)
    assert "no numbers" in str(made[1])
    for row in (made[0], made[2]):
        assert isinstance(row, list)
        assert [frame.shape for frame in row] == [(8, 8, 3)] * 2
        assert (np.stack(row) == 128).all()
