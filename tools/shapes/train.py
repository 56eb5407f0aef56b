"""Train both models and store them: ``python -m tools.shapes.train --out DIR [--seed 0]``.

It takes about 40 minutes of one core's work, half an hour on two; the same seed gives the same weights on the same kind of
processor.
"""

import argparse
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, ConfigMixin

from tools.shapes import card, clip, denoiser, vae

_AUTOENCODER_STEPS = 3600
_FORGIVING_STEPS = 500
_DENOISER_STEPS = 2600
_DOUBTING_STEPS = 1500
_CLIP_STEPS = 1600


def main() -> int:
    """Train the autoencoder, then what builds on it side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder that becomes a model directory")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    _one_thread()
    with tempfile.TemporaryDirectory() as autoencoder:
        sharp = vae.train(_AUTOENCODER_STEPS, asked.seed)
        vae.forgive(sharp, _FORGIVING_STEPS, asked.seed).save_pretrained(autoencoder)
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), _one_thread) as pool:
            parts = [pool.submit(part, Path(autoencoder), asked.out, asked.seed) for part in (pictures, clips)]
            for part in parts:
                part.result()
    return 0


def pictures(autoencoder: Path, out: Path, seed: int) -> None:
    """The model that makes pictures: what words mean, then when not to believe them, then its card."""
    folder = out / card.PICTURES
    _store(denoiser.train(_read(autoencoder), _DENOISER_STEPS, seed), folder)
    pipeline, _ = card.loaded_for_pictures(folder)
    denoiser.doubt(pipeline, _DOUBTING_STEPS, seed)
    _store(pipeline, folder)
    card.write(folder, card.PICTURES)


def clips(autoencoder: Path, out: Path, seed: int) -> None:
    """The model that makes clips, and its card."""
    folder = out / card.CLIPS
    _store(clip.train(_read(autoencoder), _CLIP_STEPS, seed), folder)
    card.write(folder, card.CLIPS)


def _read(autoencoder: Path) -> Any:
    return AutoencoderKL.from_pretrained(autoencoder).eval()


def _store(pipeline: Any, folder: Path) -> None:
    """In half precision, which a caller on a CPU reads as single, and without a word about where parts were read from."""
    for part in (pipeline, *pipeline.components.values()):
        if isinstance(part, ConfigMixin):
            part.register_to_config(_name_or_path="")
    pipeline.to(dtype=torch.float16).save_pretrained(folder, safe_serialization=True)
    print(f"stored under {folder}", file=sys.stderr)


def _one_thread() -> None:
    """More threads are slower than one for layers as small as these."""
    torch.set_num_threads(1)
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


if __name__ == "__main__":
    sys.exit(main())
