"""Clips, each made by a process of its own, a few at a time."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson

from stoker_orchestrator.adapters.clips.limits import MAX_INPUT_BYTES, MAX_OUTPUT_BYTES, MAX_SECONDS, UNUSABLE
from stoker_orchestrator.adapters.connection import WorkerLostError

AT_A_TIME = 2
"""Each takes a core, and in the worst case 150 MB."""
SILENCE_SECONDS = 15.0
"""How long an answer that has begun may pause: it keeps a place from all others."""
_MAX_WORDS = 256


class UnusableFramesError(Exception):
    """An answer with frames makes no clip; the words say why."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One MP4, the seed that makes it again, and whether its frames were flagged."""

    data: bytes
    seed: int
    nsfw: bool


class ClipEncoder:
    """Makes clips of answers with frames, without a thread or the event loop being taken."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_A_TIME)

    async def encode(self, answer: AsyncIterator[bytes], fps: int) -> Clip:
        """The clip of an answer as it comes, `fps` frames a second.

        Raises UnusableFramesError, WorkerLostError for an answer that stalls, and what the answer raises.
        """
        async with self._places:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "stoker_orchestrator.adapters.clips.encode", str(fps),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            try:
                await _feed(process, answer)
                async with asyncio.timeout(MAX_SECONDS):
                    made = await _output(process)
                    code = await process.wait()
            except TimeoutError:
                message = f"they take longer than {MAX_SECONDS} s to encode"
                raise UnusableFramesError(message) from None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if code == UNUSABLE:
            raise UnusableFramesError(made[:_MAX_WORDS].decode(errors="replace"))
        if code != 0:
            message = "they cannot be decoded or encoded"
            raise UnusableFramesError(message)
        about, _, data = made.partition(b"\n")
        return Clip(data, **orjson.loads(about))


async def _feed(process: asyncio.subprocess.Process, answer: AsyncIterator[bytes]) -> None:
    """Pass the answer on as fast as it is taken. A process that ends early says itself why."""
    assert process.stdin is not None  # noqa: S101 - it was asked for
    fed = 0
    while (part := await _next(answer)) is not None:
        fed += len(part)
        if fed > MAX_INPUT_BYTES:
            message = f"the answer has more than {MAX_INPUT_BYTES} bytes"
            raise UnusableFramesError(message)
        with contextlib.suppress(ConnectionError):
            process.stdin.write(part)
            await process.stdin.drain()
    process.stdin.close()


async def _next(answer: AsyncIterator[bytes]) -> bytes | None:
    """The next bytes of an answer, None at its end."""
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            return await anext(answer, None)
    except TimeoutError:
        message = "the worker fell silent in the middle of its answer"
        raise WorkerLostError(message) from None


async def _output(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    parts, size = [], 0
    while part := await process.stdout.read(2**16):
        parts.append(part)
        size += len(part)
        if size > MAX_OUTPUT_BYTES:
            message = f"the video has more than {MAX_OUTPUT_BYTES} bytes"
            raise UnusableFramesError(message)
    return b"".join(parts)
