"""One line of log for each job, written together several times a second.

A call of `logging` for each job would cost a fifth of the whole job path.
"""

import asyncio
import functools
import logging
import sys
import time

_TOGETHER_SECONDS = 0.1

log = logging.getLogger(__name__)


class JobLog:
    """Lines in the form of the process's other log lines; nothing where these begin above the level INFO."""

    def __init__(self) -> None:
        self._ended: list[tuple[float, str]] = []

    def ended(self, request_id: str, model: str, status: int, reason: str) -> None:
        """A job is over."""
        if not log.isEnabledFor(logging.INFO):
            return
        if not self._ended:
            asyncio.get_running_loop().call_later(_TOGETHER_SECONDS, self.flush)
        self._ended.append((time.time(), f"job {request_id} model={model} status={status} reason={reason}"))

    def flush(self) -> None:
        """Write what has come together."""
        stamp = functools.lru_cache(maxsize=1)(_stamp)
        lines = [f"{stamp(int(when))},{int(when * 1000) % 1000:03} INFO {__name__}: {words}\n" for when, words in self._ended]
        self._ended.clear()
        sys.stderr.write("".join(lines))
        sys.stderr.flush()


def _stamp(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
