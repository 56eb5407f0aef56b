"""What an answer is worth."""

from base64 import b64encode
from typing import Any

import httpx2
import numpy as np
import pytest

from stoker_worker.bench.answers import judged
from stoker_worker.bench.samples import Failure, Reply
from stoker_worker.encoding.mp4 import encode_mp4

IMAGE = {"url": "data:image/png;base64,AAAA", "seed": 1, "nsfw": False}
CLIP = encode_mp4([np.full((16, 16, 3), tone, np.uint8) for tone in (0, 99, 200)], fps=5)
AS_URL = f"data:video/mp4;base64,{b64encode(CLIP).decode()}"


def answer(content: Any = None, status: int = 200, body: bytes | None = None, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, content=body, headers=named) if body is not None else httpx2.Response(
        status, json=content, headers=named
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "rows", "pictures"),
    [
        (answer({"images": [IMAGE, IMAGE]}), 2, 2),
        (answer({"frames": [[IMAGE, IMAGE, IMAGE]]}), 1, 3),
        (answer({"images": [{"url": AS_URL}]}), 1, 3),
        (answer(body=CLIP, content_type="video/mp4"), 1, 3),
        (answer(body=b"\x89PNG", content_type="image/png"), 1, 1),
        (answer({"images": [{"url": "/stream/a.png"}]}), 1, 1),
    ],
)
def test_pictures_and_frames_are_counted_in_whatever_form_they_come(given: httpx2.Response, rows: int, pictures: int) -> None:
    assert judged(given, rows) == Reply(pictures=pictures)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (answer({"images": [IMAGE]}), "1 of 2 pictures came back"),
        (answer({"images": []}), "0 of 2 pictures came back"),
        (answer({"images": [{"seed": 3}, 4]}), "0 of 2 pictures came back"),
        (answer({"images": 3}), "0 of 2 pictures came back"),
        (answer([1]), "0 of 2 pictures came back"),
        (answer(body=b"<html>"), "0 of 2 pictures came back"),
        (answer({"frames": [[]]}), "0 of 1 pictures came back"),
        (answer(body=b"no video", content_type="video/mp4"), "the video cannot be read"),
        (answer({"images": [{"url": "data:video/mp4;base64,A"}]}), "the video is no base64"),
    ],
)
def test_a_200_without_what_was_asked_for_is_a_failure(given: httpx2.Response, words: str) -> None:
    assert judged(given, 2) == Reply(failure=Failure("broken answer", words))


@pytest.mark.parametrize(
    ("given", "failure"),
    [
        (
            answer({"detail": {"msg": "full"}, "error": {"message": "full", "type": "overloaded", "code": "x"}}, 429),
            Failure("HTTP 429 overloaded", "full"),
        ),
        (answer({"detail": {"msg": "Out of memory"}}, 500), Failure("HTTP 500", "Out of memory")),
        (answer({"detail": "Not Found"}, 404), Failure("HTTP 404", "Not Found")),
        (answer({"detail": [{"loc": ["body", "width"], "msg": "too small"}]}, 422), Failure("HTTP 422", "width: too small")),
        (answer({"detail": [3]}, 422), Failure("HTTP 422", "")),
        (answer(body=b"<html>Bad Gateway</html>", status=502), Failure("HTTP 502", "")),
        (answer({"detail": "x" * 1000}, 500), Failure("HTTP 500", "x" * 200)),
    ],
)
def test_a_refusal_is_told_by_its_status_its_type_and_its_words(given: httpx2.Response, failure: Failure) -> None:
    assert judged(given, 1).failure == failure


def test_headers_tell_of_the_line_and_of_a_cold_start() -> None:
    given = answer({"images": [IMAGE]}, stoker_queue_ms="12.5", stoker_cold_start="true")

    assert judged(given, 1) == Reply(pictures=1, queue_ms=12.5, cold=True)
    assert judged(answer({"images": [IMAGE]}, stoker_queue_ms="soon"), 1) == Reply(pictures=1)


def test_a_job_without_an_answer_keeps_its_reason() -> None:
    assert judged(Failure("timeout", "no answer within 3 s"), 1) == Reply(failure=Failure("timeout", "no answer within 3 s"))
