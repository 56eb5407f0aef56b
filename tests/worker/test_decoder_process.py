"""Decoding in processes apart: what they cost a caller when they break, and what they must not do."""

import asyncio
import contextlib
import errno
import io
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from PIL import Image

from stoker_contracts.uploads import MAX_UPLOAD_BYTES
from stoker_worker.encoding import decoders
from stoker_worker.encoding.decoders import Decoders, DecodersError
from stoker_worker.encoding.uploads import UploadError
from tests.support.decoding import DECODERS
from tests.support.waiting import eventually, until


def file(size: tuple[int, int] = (64, 48), shade: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, shade).save(out, "PNG")
    return out.getvalue()


def program(first: str, cpu_seconds: int = 10) -> tuple[str, ...]:
    """A decoder that decodes, but does this first; `data` is the file."""
    code = f"""
import sys, os, time, signal
from stoker_worker.encoding import decoder_process
decoder_process.MAX_CPU_SECONDS = {cpu_seconds}
decode = decoder_process.decode_upload
def first(data):
    {first}
    return decode(data)
decoder_process.decode_upload = first
sys.exit(decoder_process.main())
"""
    return sys.executable, "-c", code


@asynccontextmanager
async def those(first: str = "pass", seconds: float = 20, count: int = 1, cpu_seconds: int = 10) -> AsyncIterator[Decoders]:
    made = Decoders(program(first, cpu_seconds), seconds, count)
    try:
        yield made
    finally:
        made.close()


async def test_a_picture_comes_back_as_it_is() -> None:
    decoded = await DECODERS.decode(file(shade="#123456"))

    assert (decoded.mode, decoded.size, decoded.getpixel((63, 47))) == ("RGB", (64, 48), (0x12, 0x34, 0x56))


async def test_pictures_after_each_other_have_nothing_of_each_other() -> None:
    for size, shade in [((300, 300), (255, 0, 0)), ((8, 8), (0, 0, 255)), ((2400, 2400), (0, 255, 0)), ((100, 9), (255, 0, 0))]:
        decoded = await DECODERS.decode(file(size, "#{:02x}{:02x}{:02x}".format(*shade)))
        assert (decoded.size, decoded.getcolors()) == (size, [(size[0] * size[1], shade)])


async def test_a_refusal_has_the_words_that_it_has_without_a_process() -> None:
    with pytest.raises(UploadError, match="must be a whole file in one of PNG, JPEG, WEBP"):
        await DECODERS.decode(b"no picture")


async def test_a_file_that_is_too_large_is_not_even_sent() -> None:
    async with those() as ours:
        with pytest.raises(UploadError, match=str(MAX_UPLOAD_BYTES)):
            await ours.decode(bytes(MAX_UPLOAD_BYTES + 1))

        assert ours.pids == []


async def test_who_makes_a_decoder_die_is_refused_and_the_next_one_is_served() -> None:
    async with those("b'evil' not in data or os.kill(os.getpid(), signal.SIGSEGV)") as ours:
        for _ in range(2):
            with pytest.raises(UploadError, match="a decoder broke on it"):
                await ours.decode(b"evil")
            assert (await ours.decode(file())).size == (64, 48)


async def test_a_decoder_that_an_earlier_picture_harmed_costs_the_next_caller_nothing() -> None:
    async with those() as ours:
        await ours.decode(file())
        os.kill(ours.pids[0], signal.SIGKILL)

        assert (await ours.decode(file())).size == (64, 48)


async def test_a_decoder_that_died_before_its_first_picture_costs_nobody_anything() -> None:
    async with those() as ours:
        await ours.start()
        (decoder,) = ours._all
        await until(lambda: select.select([decoder._channel], [], [], 0)[0])
        os.kill(decoder.pid, signal.SIGKILL)
        await until(lambda: not _alive(decoder.pid))

        assert (await ours.decode(file())).size == (64, 48)


async def test_decoders_that_hear_nothing_are_given_up_in_words() -> None:
    deaf = "import socket; own = socket.socket(fileno=0); own.shutdown(socket.SHUT_RD); own.send(b'R'); own.detach()"
    ours = Decoders((sys.executable, "-c", deaf), count=1)
    with contextlib.closing(ours), pytest.raises(DecodersError, match="again and again"):
        await ours.decode(file())


async def test_a_decoder_that_cannot_be_started_leaves_no_descriptor_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socketpair", full)
    before = _memories()
    async with those() as ours:
        with pytest.raises(DecodersError, match="cannot be started"):
            await ours.decode(file())

    assert _memories() == before


def _memories() -> int:
    """How many memories for pictures this process holds."""
    links = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(each.readlink()))
    return sum("memfd:picture" in link for link in links)


async def test_who_makes_a_decoder_hang_is_refused_in_time_and_the_other_goes_on() -> None:
    async with those("b'slow' not in data or time.sleep(60)", seconds=2, count=2) as ours:
        await asyncio.gather(*(ours.decode(file()) for _ in range(4)))
        slow = asyncio.create_task(ours.decode(b"slow"))
        for _ in range(5):
            await ours.decode(file())
        with pytest.raises(UploadError, match="longer than 2 s"):
            await slow

        assert (await ours.decode(file())).size == (64, 48)


@pytest.mark.parametrize(
    "greedy",
    ["bytearray(2**30)", "os.write(os.memfd_create('x'), b'x')", "[os.dup(0) for _ in range(99)]"],
    ids=["memory", "a file", "descriptors"],
)
async def test_a_decoder_that_was_taken_over_gets_little(greedy: str) -> None:
    async with those(f"b'evil' not in data or {greedy}") as ours:
        with pytest.raises(UploadError, match="a decoder broke on it"):
            await ours.decode(b"evil")

        assert (await ours.decode(file())).size == (64, 48)


async def test_a_decoder_uses_its_core_for_no_longer_than_it_may() -> None:
    async with those("b'busy' not in data or any(iter(int, 1))", cpu_seconds=0) as ours:
        with pytest.raises(UploadError, match="a decoder broke on it"):
            await ours.decode(b"busy")

        assert (await ours.decode(file())).size == (64, 48)


@pytest.mark.parametrize(
    "lie",
    [
        "os.write(0, b'\\x01' + b'\\xff' * 8)",
        "os.write(0, b'\\x02\\0\\0\\x20' + bytes(5))",
        "os.write(0, b'\\x09' + bytes(8))",
        "os.write(0, b'\\x01\\0'); os._exit(0)",
        "os.ftruncate(int(sys.argv[1]), 0); os.write(0, b'\\x01\\0\\0\\0\\x40\\0\\0\\0\\x40')",
    ],
    ids=["too many pixels", "too many words", "no answer", "half an answer", "no memory"],
)
async def test_a_decoder_that_lies_is_replaced(lie: str) -> None:
    async with those(f"b'evil' not in data or ({lie.replace('; ', ', ')})") as ours:
        with pytest.raises(UploadError, match="a decoder broke on it"):
            await ours.decode(b"evil")

        assert (await ours.decode(file())).size == (64, 48)


async def test_a_decoder_sees_no_token() -> None:
    os.environ["AUTH_TOKEN"] = "s3cret"
    try:
        async with those() as ours:
            await ours.decode(file())
            seen = Path(f"/proc/{ours.pids[0]}/environ").read_bytes()
    finally:
        del os.environ["AUTH_TOKEN"]

    assert b"s3cret" not in seen
    assert b"MALLOC_TRIM_THRESHOLD_" in seen


async def test_a_program_that_does_not_start_is_nobodys_fault_in_words() -> None:
    for broken in (("/nonexistent",), (sys.executable, "-c", "raise SystemExit(1)")):
        ours = Decoders(broken, count=1)
        with pytest.raises(DecodersError, match="process that decodes pictures"):
            await ours.decode(file())
        ours.close()


async def test_closing_ends_the_processes_and_whoever_waits_for_one() -> None:
    async with those("time.sleep(60)") as ours:
        waiting = asyncio.create_task(ours.decode(file()))
        await until(lambda: ours.pids)
        pids = ours.pids
        await asyncio.to_thread(ours.close)

        with pytest.raises((DecodersError, asyncio.CancelledError)):
            await waiting
        with pytest.raises(DecodersError, match="ends"):
            ours._start()
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_decoder_ends_when_the_worker_is_gone_whatever_ended_it() -> None:
    code = f"""
import asyncio, os
from {decoders.__name__} import Decoders
made = Decoders()
asyncio.run(made.start())
print(*made.pids, flush=True)
os._exit(9)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30).stdout
    pids = [int(pid) for pid in said.split()]

    assert len(pids) == 2
    assert eventually(lambda: not any(_alive(pid) for pid in pids))


def _alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def test_many_at_once_are_all_served() -> None:
    started = time.monotonic()
    sizes = [(8 + number, 8) for number in range(40)]
    decoded = await asyncio.gather(*(DECODERS.decode(file(size)) for size in sizes))

    assert [picture.size for picture in decoded] == sizes
    assert time.monotonic() - started < 20
