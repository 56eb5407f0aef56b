"""What an HTTP answer to a job is worth."""

import io
from base64 import b64decode
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx2
import orjson

from stoker_contracts.names import HEADER_COLD_START, HEADER_QUEUE_MS
from stoker_worker.bench.samples import Failure, Reply

BROKEN = "broken answer"
"""The kind of failure of a 200 without what was asked for."""
_WORDS_AT_MOST = 200
_VIDEO = "data:video/mp4;base64,"


class _BrokenError(Exception):
    """The answer is not what was asked for."""


def judged(answer: httpx2.Response | Failure, rows: int) -> Reply:
    """What came back for a job that asked for so many pictures, or for a video."""
    if isinstance(answer, Failure):
        return Reply(failure=answer)
    waited, cold = _queue_ms(answer.headers), answer.headers.get(HEADER_COLD_START, "").lower() == "true"
    if answer.status_code != HTTPStatus.OK:
        return Reply(failure=refusal(answer), queue_ms=waited, cold=cold)
    try:
        return Reply(_pictures(answer, rows), queue_ms=waited, cold=cold)
    except _BrokenError as error:
        return Reply(failure=Failure(BROKEN, str(error)), queue_ms=waited, cold=cold)


def refusal(answer: httpx2.Response) -> Failure:
    """Why an answer is none: its status, the type that it names, and its words."""
    content = as_object(answer)
    error, detail = content.get("error"), content.get("detail")
    kind, words = "", ""
    if isinstance(error, Mapping):
        kind, words = str(error.get("type", "")), str(error.get("message", ""))
    if not words and isinstance(detail, Mapping):
        words = str(detail.get("msg", ""))
    if not words and isinstance(detail, list | str):
        words = detail if isinstance(detail, str) else "; ".join(_finding(each) for each in detail)
    return Failure(f"HTTP {answer.status_code} {kind}".strip(), words[:_WORDS_AT_MOST])


def as_object(answer: httpx2.Response) -> Mapping[str, Any]:
    """The JSON object of an answer; an empty one where there is none."""
    try:
        content = orjson.loads(answer.content)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _finding(found: Any) -> str:
    """One line of a 422."""
    if not isinstance(found, Mapping):
        return ""
    return f"{'.'.join(map(str, found.get('loc', ())[1:]))}: {found.get('msg', '')}"


def _queue_ms(headers: Mapping[str, str]) -> float | None:
    try:
        return float(headers[HEADER_QUEUE_MS])
    except (KeyError, ValueError):
        return None


def _pictures(answer: httpx2.Response, rows: int) -> int:
    """How many pictures, or frames, came back. Raises _BrokenError where they are fewer than `rows`."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()
    if kind == "video/mp4":
        return _frames(answer.content)
    if kind.startswith("image/"):
        return _enough(1, rows)
    content = as_object(answer)
    if isinstance(content.get("frames"), list):
        return _enough(sum(len(clip) for clip in content["frames"] if isinstance(clip, list)), 1)
    items = content.get("images")
    urls = [str(item.get("url", "")) for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
    if urls and urls[0].startswith(_VIDEO):
        return sum(_frames(_decoded(url)) for url in urls)
    return _enough(sum(url != "" for url in urls), rows)


def _enough(count: int, rows: int) -> int:
    if count < rows:
        message = f"{count} of {rows} pictures came back"
        raise _BrokenError(message)
    return count


def _decoded(url: str) -> bytes:
    try:
        return b64decode(url.removeprefix(_VIDEO))
    except ValueError:
        message = "the video is no base64"
        raise _BrokenError(message) from None


def _frames(clip: bytes) -> int:
    import av  # noqa: PLC0415 - 60 ms that a benchmark of pictures need not wait

    try:
        with av.open(io.BytesIO(clip), "r") as container:
            return _enough(sum(packet.size > 0 for packet in container.demux(video=0)), 1)
    except (av.FFmpegError, IndexError):
        message = "the video cannot be read"
        raise _BrokenError(message) from None
