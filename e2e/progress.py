"""Telling people what is being done and how long it takes."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_WIDTH = 58
_STILL_HERE_SECONDS = 15.0


@contextmanager
def step(what: str) -> Iterator[None]:
    """Tell that `what` begins, that it goes on, and how long it took. Progress goes to standard error."""
    began = time.monotonic()
    ended = threading.Event()
    reporter = threading.Thread(target=_report, args=(what, began, ended), daemon=True)
    _say(f"  {what} ...")
    reporter.start()
    try:
        yield
    except BaseException:
        _stop(reporter, ended)
        _say(f"  {what:<{_WIDTH}} failed after {time.monotonic() - began:.1f} s")
        raise
    _stop(reporter, ended)
    _say(f"  {what:<{_WIDTH}}{time.monotonic() - began:7.1f} s")


def _stop(reporter: threading.Thread, ended: threading.Event) -> None:
    ended.set()
    reporter.join()


def _report(what: str, began: float, ended: threading.Event) -> None:
    while not ended.wait(_STILL_HERE_SECONDS):
        _say(f"  {what} ... {time.monotonic() - began:.0f} s")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
