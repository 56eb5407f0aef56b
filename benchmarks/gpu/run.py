"""``make bench-gpu``: this worker beside stock diffusers on one card, with random weights of the true size, in turns.

Each part runs in a process of its own and is given up after its time. The last line is one JSON object; without a card it says why
nothing was measured. ``--rehearse`` runs the same code with tiny models on the CPU, which proves the code and measures nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.rounds import LEAST_ROUNDS, ROUNDS
from benchmarks.processes import BenchmarkError
from benchmarks.result import compare, print_result, say
from e2e.command_line import command_line


@dataclass(frozen=True, slots=True)
class Part:
    """One measurement: where it stands, the seconds it is given, and what its figures are to reach."""

    place: str
    seconds: float
    least: Mapping[str, float]


PARTS = {
    "where": Part("where:where", 600, {}),
    "norms": Part("norms:norms", 120, {"norms_vs_torch": 2, "decoder_vs_stock": 1.5}),
    "latency": Part(
        "pictures:latency",
        300,
        {"sdxl_latency_vs_stock": 5, "sdxl_pipeline_vs_stock": 2.5, "sdxl_bit_identical": 1, "sdxl_lossless_psnr_db": 45},
    ),
    "throughput": Part("pictures:throughput", 300, {"sdxl_throughput_vs_stock": 8, "sdxl_pictures_per_s": 60}),
    "weights": Part("others:weights", 240, {"weights_vs_stock": 4, "weights_gb_per_s": 15}),
    "video": Part(
        "others:video", 540, {"svd_vs_stock": 1.25, "svd_psnr_db": 45, "svd_encode_cpu_vs_png": 15, "svd_bytes_vs_png": 100}
    ),
    "flux": Part("others:flux_picture", 540, {"flux_vs_stock": 1.5, "flux_psnr_db": 45}),
}
"""Every part by its name, in the order in which they are run."""
_CHILD = "--in-this-process"
VIDEO_STEPS = 25
_SHARE = 0.8
"""Share of a part's time after which it begins nothing new, so that it ends in time."""


def main(arguments: list[str] | None = None) -> int:
    """Measure what is asked for; the exit code."""
    asked = _parsed(arguments)
    why = None if asked.rehearse else _no_card()
    if why is not None:
        say(f"not measured: {why}")
        print_result({"measured": False, "why": why})
        return 0
    figures: dict[str, Any] = {}
    failed = []
    with _folder(asked) as folder:
        for name in asked.only or PARTS:
            try:
                figures |= _measured(name, asked, folder)
            except BenchmarkError as error:
                say(f"bench-gpu: {name}: {error}")
                failed.append(name)
    print_result({"measured": not asked.rehearse, "failed": failed} | figures)
    return 1 if failed else 0


@contextmanager
def _folder(asked: argparse.Namespace) -> Iterator[Path]:
    """Where the models are written; a part in its own process finds those of the parts before it."""
    if asked.here:
        yield asked.scratch
        return
    with tempfile.TemporaryDirectory(prefix="bench-gpu-", dir=asked.scratch) as folder:
        yield Path(folder)


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = command_line("benchmarks.gpu.run", __doc__, 'make bench-gpu ONLY="where latency"')
    parser.add_argument("--only", action="append", choices=list(PARTS), help="only this part; may be repeated")
    parser.add_argument("--rehearse", action="store_true", help="tiny models on the CPU, to try the code")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds of each comparison, at least {LEAST_ROUNDS}")
    parser.add_argument(
        "--video-steps", type=int, default=VIDEO_STEPS, help="steps of the video; fewer where the card is lent for minutes"
    )
    parser.add_argument("--scratch", type=Path, help="folder with room for 12 GB of models; the system's for such by default")
    parser.add_argument(_CHILD, action="store_true", dest="here", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _no_card() -> str | None:
    """Why nothing can be measured here; None where it can."""
    import torch  # noqa: PLC0415 - `--help` must not wait for it

    return None if torch.cuda.is_available() else "torch sees no CUDA device on this machine"


def _measured(name: str, asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The part's figures. Raises BenchmarkError."""
    say(f"{name}:")
    found = _here(name, asked, folder) if asked.here or asked.rehearse else _in_a_process(name, asked, folder)
    if not asked.rehearse and not asked.here:
        compare(found, PARTS[name].least, {})
    return found


def _in_a_process(name: str, asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.gpu.run", _CHILD, "--only", name, "--rounds", str(asked.rounds),
               "--video-steps", str(asked.video_steps), "--scratch", str(folder)]  # fmt: skip
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=PARTS[name].seconds, check=False, env=environment)
    except subprocess.TimeoutExpired:
        message = f"not done after {PARTS[name].seconds:.0f} s"
        raise BenchmarkError(message) from None
    if done.returncode != 0:
        message = f"its process ended with {done.returncode}"
        raise BenchmarkError(message)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {key: value for key, value in found.items() if key not in ("measured", "failed")}


def _here(name: str, asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    import importlib  # noqa: PLC0415 - with torch, below

    import diffusers  # noqa: PLC0415 - `--help` must not wait for it
    import torch  # noqa: PLC0415 - as above
    import transformers  # noqa: PLC0415 - as above

    from benchmarks.gpu.models import Stage  # noqa: PLC0415 - as above

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    device = "cpu" if asked.rehearse else "cuda"
    module, _, function = PARTS[name].place.partition(":")
    measure: Callable[[Stage], dict[str, Any]] = getattr(importlib.import_module(f"benchmarks.gpu.{module}"), function)
    rounds = 1 if asked.rehearse else max(LEAST_ROUNDS, asked.rounds)
    found = measure(Stage(torch, device, folder, PARTS[name].seconds * _SHARE, rounds, asked.video_steps))
    named = {"device": torch.cuda.get_device_name(), "torch": torch.__version__} if device == "cuda" else {}
    return named | found


if __name__ == "__main__":
    sys.exit(main())
