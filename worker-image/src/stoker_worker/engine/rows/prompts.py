"""Prompts that are longer than a model reads: that they are cut is told, and nothing of what they say."""

import logging
from collections.abc import Sequence
from typing import Any

from stoker_contracts.jobs import PromptedJob
from stoker_worker.engine.families import Family
from stoker_worker.engine.protocol import Row

log = logging.getLogger(__name__)

_MARKS = 2
"""Tokens that begin and end a prompt."""


def tell_cuts(pipe: Any, family: Family, rows: Sequence[Row]) -> None:
    """Log how many tokens of each prompt the model reads, where it does not read all.

    Pipelines with several encoders are judged by the last one, which reads furthest (T5 in FLUX and Stable Diffusion 3).
    """
    readers = [getattr(pipe, name, None) for name in ("tokenizer_3", "tokenizer_2", "tokenizer")]
    reader = next((each for each in readers if each is not None), None)
    if family.prompt_tokens is None or reader is None:
        return
    limit = min(family.prompt_tokens, reader.model_max_length)
    for prompt in {row.job.prompt for row in rows if isinstance(row.job, PromptedJob)}:
        if len(prompt.encode(errors="replace")) + _MARKS > limit and (tokens := len(reader(prompt).input_ids)) > limit:
            log.info("a prompt of %d tokens is cut to %d", tokens, limit)
