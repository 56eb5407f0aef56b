"""The adapter against a server that answers what no API server would, as a proxy before one may."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stoker_operator.adapters.kubernetes import Kubernetes
from stoker_operator.adapters.port import ClusterError, Kind
from tests.support.scripted_api import kubeconfig_for

EMPTY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def answer(status: str, content_type: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@asynccontextmanager
async def answering(folder: Path, raw: bytes) -> AsyncIterator[Kubernetes]:
    """A client of a server that gives everybody this answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(kubeconfig_for(server.sockets[0].getsockname()[1])))
        client = Kubernetes.connect("stoker", kubeconfig)
        yield client
        await client.close()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (EMPTY, "cannot be read"),
        (answer("502 Bad Gateway", "text/html", b"<html>"), "502"),
        (answer("502 Bad Gateway", "application/json", b"<html>"), "cannot be read"),
        (answer("502 Bad Gateway", "application/json", b"[]"), "cannot be read"),
        (answer("200 OK", "application/json", b"[]"), "cannot be read"),
        (answer("200 OK", "application/json", b"{}"), "cannot be read"),
        (answer("200 OK", "text/html", b"<html>"), "cannot be read"),
        (answer("503 Service Unavailable", "application/json", b'{"code": 503, "message": "starting"}'), "503: starting"),
    ],
    ids=["empty 502", "502 in words", "502 no JSON", "502 no object", "no list", "no items", "no JSON", "503 in words"],
)
async def test_whatever_is_no_answer_of_an_api_server_is_worth_another_try(tmp_path: Path, raw: bytes, words: str) -> None:
    async with answering(tmp_path, raw) as cluster:
        with pytest.raises(ClusterError, match=words):
            await cluster.list(Kind.MODEL_DEPLOYMENT)
