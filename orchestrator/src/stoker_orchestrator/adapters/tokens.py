"""The tokens that prove to external containers who asks: one file each in a folder, as a Secret is mounted.

A file is looked at whenever its token is needed, so that a changed key counts at once, and read only when it is another one.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from stoker_orchestrator.domain.model import Url

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}")
"""Keys of a Secret but for those that begin with a dot; nothing that leads out of the folder."""
_TOKEN = re.compile(rb"[!-~]+")
_MAX_BYTES = 8192


class NoTokenError(Exception):
    """There is no such token, or it is none; the words name its key."""


@dataclass(frozen=True, slots=True)
class _Read:
    mark: tuple[int, int, int]
    token: bytes


class Tokens:
    """Tokens by their keys, from `folder`; None where there is none."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._read: dict[str, _Read] = {}

    def authorization(self, url: Url) -> bytes | None:
        """The value of the header Authorization for a container; None where it asks for none. Raises NoTokenError."""
        if url.key is None and not url.token:
            return None
        token = url.token.encode() if url.key is None else self._of_file(url.key)
        if not _TOKEN.fullmatch(token):
            whose = "its entry" if url.key is None else f"the key {url.key} of the token Secret"
            message = f"needs a token and {whose} holds none; it must be one line of visible ASCII"
            raise NoTokenError(message)
        return b"Bearer " + token

    def _of_file(self, key: str) -> bytes:
        if self._folder is None or not _KEY.fullmatch(key):
            raise NoTokenError(_missing(key))
        file = self._folder / key
        try:
            seen = file.stat()
            mark = (seen.st_ino, seen.st_mtime_ns, seen.st_size)
            known = self._read.get(key)
            if known is None or known.mark != mark:
                with file.open("rb") as opened:
                    known = self._read[key] = _Read(mark, opened.read(_MAX_BYTES).strip())
        except OSError:
            self._read.pop(key, None)
            raise NoTokenError(_missing(key)) from None
        return known.token


def _missing(key: str) -> str:
    return f"needs a token and the token Secret has no key {key}"
