"""``make fuzz-worker``: tens of thousands of bad requests to real workers, one for each pipeline, with the stub engine.

No bad request may cost a 5xx, a missing answer, or the process; a good one in between must be served.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import family, rss_mb
from benchmarks.worker.started import Worker, started
from stoker_contracts.pipelines import Pipeline
from tools.fuzz.case import Case
from tools.fuzz.cases import case, good
from tools.fuzz.wire import Wire

_WARM_UP = 0.1
"""Share of the requests after which memory is taken as a measure."""
_MOST_TOLD = 20
_OK, _FAILED = 200, 500
_SAY_EVERY_SECONDS = 5.0
_SETTINGS = {
    "MODEL_ID": "org/model",
    "ENGINE": "stub",
    "CAPACITY": "16",
    "STUB_SCRIPT": '{"step_seconds": 0}',
    "WORKER_MAX_PIXELS": str(2**20),
    "BODY_STALL_SECONDS": "2",
    "LOG_LEVEL": "ERROR",
}


class Fuzzer:
    """Sends cases to the worker of one pipeline and judges what comes back."""

    def __init__(self, pipeline: Pipeline, seed: int) -> None:
        self.pipeline = pipeline
        self.statuses: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.violations: list[str] = []
        self.restarts = 0
        self.rss_growth_mb = 0.0
        self.decoders_lost = 0
        self._chance = random.Random(f"{seed} {pipeline.value}")  # noqa: S311 - cases, no secrets

    @property
    def sent(self) -> int:
        """Requests so far."""
        return sum(self.statuses.values())

    def run(self, requests: int) -> None:
        """Send so many, starting the worker anew where it has ended."""
        while self.sent < requests:
            with _worker(self.pipeline) as worker:
                self._run_on(worker, requests)
                if worker.process.poll() is not None:
                    self.restarts += 1

    def _run_on(self, worker: Worker, requests: int) -> None:
        wire = Wire(worker.port)
        self._judge(good(self.pipeline), wire)
        before, children = 0.0, set(family(worker.process.pid))
        while self.sent < requests - 1 and worker.process.poll() is None:
            if not before and self.sent >= requests * _WARM_UP:
                before = rss_mb(worker.process.pid)
            self._judge(case(self.pipeline, self._chance), wire)
        self._judge(good(self.pipeline), wire)
        wire.close()
        if worker.process.poll() is None:
            self.rss_growth_mb = rss_mb(worker.process.pid) - before
            self.decoders_lost += len(children - set(family(worker.process.pid)))

    def _judge(self, sent: Case, wire: Wire) -> None:
        try:
            status = wire.exchange(sent)
        except OSError as error:
            status, words = None, type(error).__name__
        else:
            words = str(status)
        self.statuses[str(status)] += 1
        self.kinds[sent.kind] += 1
        wrong = (status is not None and status >= _FAILED) or (status is None and sent.whole) or (sent.good and status != _OK)
        if wrong:
            self.violations.append(f"{self.pipeline.value} {sent.kind} {words}: {sent.wire[:300]!r}")


@contextmanager
def _worker(pipeline: Pipeline) -> Iterator[Worker]:
    with tempfile.TemporaryDirectory() as folder, started(Path(folder), PIPELINE=pipeline.value, **_SETTINGS) as worker:
        worker.wait_until_loaded()
        yield worker


def fuzz(requests: int, seed: int, say: Callable[[str], None]) -> dict[str, object]:
    """Send about so many, a third to each pipeline's worker; the report."""
    fuzzers = [Fuzzer(pipeline, seed) for pipeline in Pipeline]
    threads = [threading.Thread(target=each.run, args=(-(-requests // len(fuzzers)),)) for each in fuzzers]
    began = told = time.monotonic()
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        threads[0].join(0.1)
        time.sleep(0.1)
        if time.monotonic() - told > _SAY_EVERY_SECONDS:
            told = time.monotonic()
            say(f"  {sum(each.sent for each in fuzzers)} of {requests}, {sum(len(each.violations) for each in fuzzers)} violations")
    violations = [violation for each in fuzzers for violation in each.violations]
    for violation in violations[:_MOST_TOLD]:
        say(violation)
    return {
        "requests": sum(each.sent for each in fuzzers),
        "statuses": dict(sorted(sum((each.statuses for each in fuzzers), Counter()).items())),
        "kinds": dict(sorted(sum((each.kinds for each in fuzzers), Counter()).items())),
        "violations": len(violations),
        "restarts": sum(each.restarts for each in fuzzers),
        "decoders_lost": sum(each.decoders_lost for each in fuzzers),
        "rss_growth_mb": round(max(each.rss_growth_mb for each in fuzzers), 1),
        "seconds": round(time.monotonic() - began, 1),
        "seed": seed,
    }


def main() -> int:
    """Fuzz, print the report as the last line; 1 where anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz_worker", description=__doc__)
    parser.add_argument("--requests", type=int, default=50_000, help="how many, at least (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of all that is drawn (default: %(default)s)")
    given = parser.parse_args()
    report = fuzz(given.requests, given.seed, lambda words: print(words, file=sys.stderr, flush=True))
    print(json.dumps(report), flush=True)
    return 1 if report["violations"] or report["restarts"] else 0


if __name__ == "__main__":
    sys.exit(main())
