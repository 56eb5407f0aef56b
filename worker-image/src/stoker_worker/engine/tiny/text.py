"""Tokenizers and text encoders of the tiny pipelines, made in memory."""

from typing import Any

from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

HIDDEN = 32
"""Width of every tiny text and image encoder."""


def clip_tokenizer() -> CLIPTokenizer:
    """A tokenizer of single bytes: every prompt is known to it."""
    symbols = _byte_symbols()
    vocabulary = [*symbols, *(f"{symbol}</w>" for symbol in symbols), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: index for index, token in enumerate(vocabulary)}, merges=[], model_max_length=77)


def _byte_symbols() -> list[str]:
    """The printable stand-ins for the 256 bytes that byte-level tokenizers use (GPT-2's table)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(hidden))]


def clip_text(vocabulary: int, *, projection: bool = False) -> Any:
    """CLIP's text encoder for `vocabulary` tokens, of which the last two begin and end a text."""
    config = CLIPTextConfig(
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
        vocab_size=vocabulary,
        hidden_size=HIDDEN,
        projection_dim=HIDDEN,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=3,
        hidden_act="gelu",
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()


def t5_tokenizer() -> T5Tokenizer:
    """A tokenizer of single printable characters. The first three tokens are those that T5 knows by their number."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -10.0), ("▁", -1.0)]
    return T5Tokenizer(vocab=[*pieces, *((chr(code), -2.0) for code in range(ord("!"), ord("~") + 1))], extra_ids=0)


def t5_text(vocabulary: int, *, multilingual: bool = False) -> Any:
    """T5's encoder, or with `multilingual` UMT5's. `eval`, for a freshly built one drops neurons at random."""
    config, model = (UMT5Config, UMT5EncoderModel) if multilingual else (T5Config, T5EncoderModel)
    settings = {"d_model": HIDDEN, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4}
    return model(config(vocab_size=vocabulary, pad_token_id=0, eos_token_id=1, **settings)).eval()
