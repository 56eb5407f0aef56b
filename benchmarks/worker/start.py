"""How long a worker takes from exec to its first picture, beside what its parts take on their own: imports, and the load."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.processes import BenchmarkError
from benchmarks.worker.started import ONE_THREAD, started
from stoker_contracts.pipelines import FACTS, Pipeline
from stoker_worker.engine.start.folders import INDEX, find_model

ROUNDS = 3
SHAPES = "stoker/shapes"
"""A small trained model."""
_PART_SECONDS = 120
_PARTS = """
import json, sys, time

began = time.monotonic()
import diffusers, torch, transformers

torch.set_num_threads(1)
kind = getattr(diffusers, sys.argv[1])
imported = time.monotonic()
kind.from_pretrained(sys.argv[2], local_files_only=True, use_safetensors=True, dtype=torch.float32)
print(json.dumps({"import_s": imported - began, "load_s": time.monotonic() - imported}))
"""
"""What anybody would write, without a worker around it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A text-to-image model whose start is measured: the folder of the models, its id, and the job for its first picture."""

    models: Path
    model_id: str
    job: Mapping[str, Any]


def first_picture_vs_parts(subject: Subject, scratch: Path) -> dict[str, float]:
    """Medians of interleaved rounds: the ratio of the whole start to the sum of its parts, and all three in seconds."""
    wholes, parts = [], []
    for number in range(ROUNDS):
        for measure in ((0, 1), (1, 0))[number % 2]:
            if measure:
                parts.append(_parts(subject))
            else:
                wholes.append(_first_picture(subject, scratch))
    medians = {name: statistics.median(part[name] for part in parts) for name in ("import_s", "load_s")}
    whole = statistics.median(wholes)
    return {"first_picture_vs_parts": whole / sum(medians.values()), "first_picture_s": whole, **medians}


def _first_picture(subject: Subject, scratch: Path) -> float:
    """Seconds from exec to the answer with the first picture. Raises BenchmarkError."""
    settings = {
        "PIPELINE": Pipeline.TEXT_TO_IMAGE.value,
        "MODEL_ID": subject.model_id,
        "MODEL_DIR": str(subject.models),
        "DEVICE": "cpu",
    }
    began = time.monotonic()
    with (
        started(scratch, **settings) as worker,
        httpx2.Client(base_url=f"http://127.0.0.1:{worker.port}", timeout=120) as client,
    ):
        worker.wait_until_loaded()
        answer = client.post(FACTS[Pipeline.TEXT_TO_IMAGE].route, json=dict(subject.job))
        seconds = time.monotonic() - began
    if answer.status_code != httpx2.codes.OK:
        message = f"the first job ended with {answer.status_code}: {answer.text[:200]}"
        raise BenchmarkError(message)
    return seconds


def _parts(subject: Subject) -> dict[str, float]:
    """Seconds of the imports and of the load in a process of their own. Raises BenchmarkError."""
    folder = find_model(subject.models, subject.model_id)
    kind = json.loads((folder / INDEX).read_text())["_class_name"]
    command = [sys.executable, "-c", _PARTS, kind, str(folder)]
    environment = os.environ | ONE_THREAD | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=_PART_SECONDS)
    if ended.returncode:
        message = f"the model could not be loaded on its own: {ended.stderr.strip().splitlines()[-1:]}"
        raise BenchmarkError(message)
    measured: dict[str, float] = json.loads(ended.stdout.strip().splitlines()[-1])
    return measured
