"""The process that decodes strangers' pictures, one after the other: ``python -m stoker_worker.encoding.decoder_process``.

Its standard input is a socket, its first argument the number of a file in memory (``decoder_wire``). It ends when the other side
is gone. An error of a decoder ends this process and nothing else; the kernel bounds its memory and the time of each picture, and
lets it write no file.
"""

import mmap
import resource
import socket
import sys

from PIL import JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin

from stoker_worker.encoding.decoder_wire import ANSWER, LENGTH, READY, SHARED_BYTES, Answer
from stoker_worker.encoding.uploads import UploadError, decode_upload

FORMATS = (PngImagePlugin, JpegImagePlugin, MpoImagePlugin, WebPImagePlugin)
"""Loaded before the first picture comes, and before no file can be opened any more."""
MAX_MEMORY_BYTES = 2**30
"""Address space. The worst 16 million pixels take 400 MB: a WebP with transparency."""
MAX_CPU_SECONDS = 10
_MAX_OPEN_FILES = 16


def serve(channel: socket.socket, memory: mmap.mmap) -> None:
    """Decode until the other side is gone."""
    channel.sendall(READY)
    while len(head := channel.recv(LENGTH.size, socket.MSG_WAITALL)) == LENGTH.size:
        _grant_seconds()
        channel.sendall(_answered(memory, *LENGTH.unpack(head)))


def _answered(memory: mmap.mmap, size: int) -> bytes:
    try:
        picture = decode_upload(memory[:size])
    except UploadError as refused:
        words = str(refused).encode()
        memory[: len(words)] = words
        return ANSWER.pack(Answer.REFUSED, len(words), 0)
    pixels = picture.tobytes()
    memory[: len(pixels)] = pixels
    return ANSWER.pack(Answer.PICTURE, *picture.size)


def _confine() -> None:
    for what, most in (
        (resource.RLIMIT_AS, MAX_MEMORY_BYTES),
        (resource.RLIMIT_NOFILE, _MAX_OPEN_FILES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (least, least))


def _grant_seconds() -> None:
    """The limit counts from the process's first second, so it moves on with each picture."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + MAX_CPU_SECONDS + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def main() -> int:
    """Confine this process, then serve."""
    memory = mmap.mmap(int(sys.argv[1]), SHARED_BYTES)
    _confine()
    try:
        with socket.socket(fileno=0) as channel:
            serve(channel, memory)
    except OSError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
