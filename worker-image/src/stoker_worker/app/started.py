"""How long the start took, stage by stage, from the beginning of the process to the first job that is taken."""

import logging
import os
import time
from pathlib import Path

from stoker_worker.app.metrics import Metrics

log = logging.getLogger(__name__)

_STARTED_AT = 19
"""Field of ``/proc/self/stat`` after the name in brackets: clock ticks from the host's start to the process's (proc(5))."""


def process_seconds() -> float:
    """How long this process has been running, to a hundredth of a second."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[_STARTED_AT]) / os.sysconf("SC_CLK_TCK")


def tell_start(metrics: Metrics) -> None:
    """The worker takes jobs from now on: note the total, and say where the time went."""
    metrics.start_seconds_of("total", process_seconds())
    stages = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in metrics.started.items())
    log.info("the worker is ready: %s", stages)
