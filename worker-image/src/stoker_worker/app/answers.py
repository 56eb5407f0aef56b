"""From an engine's output to an HTTP answer, in the shapes of Livepeer's runner."""

import asyncio
import os
from base64 import b64encode
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from starlette.responses import Response

from stoker_contracts.errors import ErrorType, error_body
from stoker_contracts.jobs import ImageToVideo
from stoker_contracts.names import HEADER_LOSSY, HEADER_NSFW, HEADER_SEED
from stoker_worker.app.accept import preferred
from stoker_worker.encoding.lossy import encode_jpeg, encode_webp
from stoker_worker.encoding.mp4 import encode_mp4
from stoker_worker.encoding.png import encode_png
from stoker_worker.engine.protocol import Output, Pixels, Task

T = TypeVar("T")

PNG, MP4, JSON = "image/png", "video/mp4", "application/json"
_PICTURES: dict[str, Callable[[Pixels], bytes]] = {PNG: encode_png, "image/jpeg": encode_jpeg, "image/webp": encode_webp}
_LOSSY = {"image/jpeg": "jpeg", "image/webp": "webp", MP4: "h264"}
"""What a format is called where an answer says what may have changed its pictures."""
_MOST_ENCODERS = 8


def json_answer(content: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(content), status, media_type=JSON)


def failure(message: str, kind: ErrorType, status: int) -> Response:
    """An error that both worlds understand."""
    return json_answer(error_body(message, kind), status)


@dataclass(frozen=True, slots=True)
class _Form:
    """How a job's result goes out: each picture or the video as `media`, bare, or as data URLs in JSON."""

    media: str
    bare: bool = False


class Answers:
    """Encodes results, several pictures at a time, while the model works on."""

    def __init__(self) -> None:
        self._encoders = ThreadPoolExecutor(min(_MOST_ENCODERS, max(2, len(os.sched_getaffinity(0)))), "encoder")

    async def answer(self, task: Task, output: Output, accept: str, lossy: Iterable[str]) -> Response:
        """`output` the way the caller asked for it; `lossy` are the engine's switches that may change pictures."""
        form = _form(task, output, accept)
        files = await self._files(task, output, form)
        if form.bare:
            headers = {HEADER_SEED: str(output.seeds[0])} | ({HEADER_NSFW: "true"} if output.nsfw else {})
            response = Response(files[0], media_type=form.media, headers=headers)
        else:
            response = await self._in_thread(_as_json, task, files, output, form.media)
        lost = [*lossy, *([_LOSSY[form.media]] if form.media in _LOSSY else [])]
        if lost:
            response.headers[HEADER_LOSSY] = ", ".join(lost)
        return response

    async def _files(self, task: Task, output: Output, form: _Form) -> list[bytes]:
        if isinstance(task.job, ImageToVideo) and form.media == MP4:
            return [await self._in_thread(encode_mp4, output.pictures, task.job.fps)]
        encoder = _PICTURES[form.media]
        return list(await asyncio.gather(*(self._in_thread(encoder, picture) for picture in output.pictures)))

    def _in_thread(self, what: Callable[..., T], *arguments: Any) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._encoders, what, *arguments)


def _form(task: Task, output: Output, accept: str) -> _Form:
    if isinstance(task.job, ImageToVideo):
        if preferred(accept, (JSON, MP4)) == MP4:
            return _Form(MP4, bare=True)
        return _Form(MP4 if task.job.output_format == "mp4" else PNG)
    if len(output.pictures) > 1:
        return _Form(PNG)
    media = preferred(accept, (JSON, *_PICTURES), only_by_name=_LOSSY)
    return _Form(PNG) if media == JSON else _Form(media, bare=True)


def _as_json(task: Task, files: list[bytes], output: Output, media: str) -> Response:
    """A video's frames share its seed."""
    if isinstance(task.job, ImageToVideo) and media == PNG:
        return json_answer({"frames": [[_item(file, media, output, 0) for file in files]]})
    return json_answer({"images": [_item(file, media, output, place) for place, file in enumerate(files)]})


def _item(file: bytes, media: str, output: Output, place: int) -> dict[str, Any]:
    url = f"data:{media};base64,{b64encode(file).decode()}"
    return {"url": url, "seed": output.seeds[place], "nsfw": place in output.nsfw}
