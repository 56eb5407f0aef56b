"""The tokenizer: a token for each word of the shapes' world, and single bytes for all else, so that every prompt is known to it."""

import itertools
from collections import Counter
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from tools.shapes import world

LONGEST = 24
"""Tokens of a prompt, start and end among them; what goes beyond is cut off."""
_END_OF_WORD = "</w>"
_SPECIAL = ["<|startoftext|>", "<|endoftext|>"]


def tokenizer() -> Any:
    """Made anew from the world's words; the same each time."""
    letters = sorted(ByteLevel.alphabet())
    pieces = [*letters, *(letter + _END_OF_WORD for letter in letters)]
    merges = _merges()
    tokens = [*pieces, *("".join(pair) for pair in merges), *_SPECIAL]
    return CLIPTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=merges, model_max_length=LONGEST)


def _merges() -> list[tuple[str, str]]:
    """Which pieces become one, in order, until each word is one: byte pair encoding, ties in the order of the alphabet."""
    spelled = [[*word[:-1], word[-1] + _END_OF_WORD] for word in world.words()]
    merges = []
    while pairs := Counter(pair for pieces in spelled for pair in itertools.pairwise(pieces)):
        merges.append(max(sorted(pairs), key=lambda pair: pairs[pair]))
        spelled = [_joined(pieces, merges[-1]) for pieces in spelled]
    return merges


def _joined(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined
