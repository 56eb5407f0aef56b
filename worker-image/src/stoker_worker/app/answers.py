"""From an engine's output to an HTTP answer, in the shapes of Livepeer's runner."""

import asyncio
from base64 import b64encode
from concurrent.futures import Executor
from typing import Any

import orjson
from starlette.responses import Response

from stoker_contracts.errors import ErrorType, error_body
from stoker_contracts.jobs import ImageToVideo
from stoker_worker.encoding.mp4 import encode_mp4
from stoker_worker.encoding.png import encode_png
from stoker_worker.engine.protocol import Output, Task

PNG, MP4, JSON = "image/png", "video/mp4", "application/json"


def json_answer(content: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(content), status, media_type=JSON)


def failure(message: str, kind: ErrorType, status: int) -> Response:
    """An error that both worlds understand."""
    return json_answer(error_body(message, kind), status)


async def answer(task: Task, output: Output, accept: str, encoders: Executor) -> Response:
    """Encode `output` in `encoders` and say it the way the caller asked."""
    return await asyncio.get_running_loop().run_in_executor(encoders, _encoded, task, output, accept)


def _encoded(task: Task, output: Output, accept: str) -> Response:
    if not isinstance(task.job, ImageToVideo):
        return _images([encode_png(picture) for picture in output.pictures], output.seeds, accept)
    if task.job.output_format == "mp4" or MP4 in accept:
        clip = encode_mp4(output.pictures, task.job.fps)
        return Response(clip, media_type=MP4) if MP4 in accept else json_answer({"images": [_item(clip, MP4, output.seeds[0])]})
    frames = [_item(encode_png(picture), PNG, output.seeds[0]) for picture in output.pictures]
    return json_answer({"frames": [frames]})


def _images(files: list[bytes], seeds: list[int], accept: str) -> Response:
    if PNG in accept and len(files) == 1:
        return Response(files[0], media_type=PNG, headers={"Stoker-Seed": str(seeds[0])})
    return json_answer({"images": [_item(file, PNG, seed) for file, seed in zip(files, seeds, strict=True)]})


def _item(file: bytes, media_type: str, seed: int) -> dict[str, Any]:
    return {"url": f"data:{media_type};base64,{b64encode(file).decode()}", "seed": seed, "nsfw": False}
