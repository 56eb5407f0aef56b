"""What the fuzzer promises to send it sends."""

import random

from stoker_contracts.pipelines import Pipeline
from tools.fuzz.fields import fields


def test_words_that_try_to_break_out_are_among_what_is_sent() -> None:
    chance = random.Random(0)  # noqa: S311 - cases, no secrets
    sent = {value for _ in range(5000) for value in fields(Pipeline.TEXT_TO_IMAGE, chance).values() if isinstance(value, str)}

    assert sent >= {"../../etc/passwd", "{{7*7}}", "\x1b[31m", "%s%n", "'; --"}
