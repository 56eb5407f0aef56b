"""Fields of a job, as they should be and as they should not."""

import random
from collections.abc import Callable
from typing import Any

from stoker_contracts.pipelines import Pipeline
from tools.fuzz.case import rarely

GOOD: dict[Pipeline, dict[str, Any]] = {
    Pipeline.TEXT_TO_IMAGE: {"prompt": "a red circle", "width": 64, "height": 64, "num_inference_steps": 1},
    Pipeline.IMAGE_TO_IMAGE: {"prompt": "a red circle", "num_inference_steps": 2},
    Pipeline.IMAGE_TO_VIDEO: {"width": 64, "height": 64, "num_inference_steps": 1},
}
_NAMES = (
    "prompt", "negative_prompt", "model_id", "safety_check", "seed", "width", "height", "num_inference_steps", "guidance_scale",
    "num_images_per_prompt", "strength", "image_guidance_scale", "fps", "motion_bucket_id", "noise_aug_strength", "output_format",
    "image", "__class__", "", "prompt\0", "model_config",
)  # fmt: skip
_WORDS = (
    "nan", "inf", "-inf", "1e999", "0x10", "1_000", "٣", "1.0", "-0", "true", "mp4", "frames", "org/model", "\0", "\x1b[31m",
    "../../etc/passwd", "{{7*7}}", "%s%n", "'; --", "\u202e\u0000", "🏳️‍🌈" * 300,
)  # fmt: skip
_VALUES: tuple[Callable[[random.Random], Any], ...] = (
    lambda chance: chance.randint(-(2**70), 2**70),
    lambda chance: chance.randint(-10, 300),
    lambda chance: chance.choice((8, 64, 65, 72, 4096, 4097, 200, 201, 500, 501, 2**31, 2**32 - 1, 2**32, 2**63, 10**30)),
    lambda chance: chance.uniform(-2, 2) * 10 ** chance.randint(-300, 300),
    lambda chance: chance.choice((True, False, None, "", " ", [], {}, [None], {"a": 1})),
    lambda chance: chance.choice(_WORDS),
    lambda chance: "x" * chance.choice((1, 255, 8191, 8192, 8193, 100_000)),
    lambda chance: "".join(
        chr(chance.choice((chance.randrange(1, 0xD800), chance.randrange(0xE000, 0x110000)))) for _ in range(20)
    ),
    lambda chance: _nested(chance.choice((2, 50, 300))),
    lambda chance: [chance.random() for _ in range(chance.choice((1, 1000)))],
)


def _nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def fields(pipeline: Pipeline, chance: random.Random) -> dict[str, Any]:
    """Those of a good job, with some of them changed, taken away or added."""
    given = dict(GOOD[pipeline])
    for _ in range(chance.randint(0, 4)):
        name = chance.choice(_NAMES)
        if rarely(chance):
            given.pop(name, None)
        else:
            given[name] = chance.choice(_VALUES)(chance)
    return given
