"""Both ends of a proxy: the Go program in ``load/``, built once, as upstream and as callers."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.processes import BenchmarkError
from e2e.cache import content_key, made
from e2e.commands import CommandError, run

SOURCE = Path(__file__).with_name("load")
CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request: its body, and the bytes that its answer must have.

    `upload` makes it a form with a file of so many bytes, `body` being its model's id. `rate` is in requests per second; 0 sends
    each when the one before is answered.
    """

    name: str
    body: str
    length: int
    seconds: float
    path: str = "/text-to-image"
    upload: int = 0
    rate: float = 0


SMALL = Case("small", json.dumps({"model_id": "bench/small", "prompt": "x" * 155}), 1024, seconds=1.5)
LARGE = Case("large", json.dumps({"model_id": "bench/large", "prompt": "x" * 155}), 3 * 2**20, seconds=1.5)
BOTH = Case("both", "bench/large", 3 * 2**20, seconds=1.5, path="/image-to-image", upload=3 * 2**20)
CALM = replace(SMALL, name="calm", rate=200, seconds=2.0)
BUSY = replace(SMALL, name="busy", rate=1000, seconds=2.0)
WARM_UP = replace(SMALL, name="warm-up", seconds=0.3)


def program() -> Path:
    """The built program. Raises BenchmarkError."""
    try:
        return made("bench-load", content_key(SOURCE), _build) / "load"
    except CommandError as error:
        message = f"the load generator cannot be built with Go: {error}"
        raise BenchmarkError(message) from None


def _build(folder: Path) -> None:
    run("go", "build", "-trimpath", "-o", folder / "load", ".", cwd=SOURCE, env={"CGO_ENABLED": "0"}, timeout=300)


def call(load: Path, core: int, port: int, case: Case, *, together: bool = False) -> dict[str, Any]:
    """Let the callers send `case` for its time; `together`: one request each, and all answers under way at once.

    Raises BenchmarkError when a request failed.
    """
    flags = {
        "target": f"127.0.0.1:{port}",
        "path": case.path,
        "upload": case.upload,
        "rate": case.rate,
        "body": case.body,
        "length": case.length,
        "connections": CONNECTIONS,
        "seconds": case.seconds,
        "together": "true" if together else "false",
    }
    words = [f"-{name}={value}" for name, value in flags.items()]
    printed = run("taskset", "--cpu-list", str(core), load, "callers", *words, timeout=case.seconds + 40)
    result: dict[str, Any] = json.loads(printed)
    if result["failed"]:
        message = f"{result['failed']} of {CONNECTIONS} callers failed: {result['failure']}"
        raise BenchmarkError(message)
    return result
