"""Whom a follower of external containers believes, and what it never says."""

import asyncio
import contextlib
import logging
import ssl
from pathlib import Path

import pytest
from aiohttp import web

from stoker_orchestrator.domain.advertise import verdict
from stoker_orchestrator.domain.model import Url
from tests.support.ports import free_port
from tests.support.runners import FakeRunner, certificate, serving
from tests.support.url_fleet import TOKEN, external, following, look
from tests.support.waiting import until


@pytest.mark.parametrize(("name", "trusted", "words"), [
    ("localhost", True, ""),
    ("localhost", False, "has a certificate that is not trusted: it is signed by itself"),
    ("elsewhere.example", True, "has a certificate that is not trusted: it is for another name"),
])  # fmt: skip
async def test_a_certificate_must_be_trusted_and_for_this_name(tmp_path: Path, name: str, words: str, *, trusted: bool) -> None:
    both = certificate(tmp_path, name)
    trust = ssl.create_default_context(cafile=str(both)) if trusted else None
    async with FakeRunner().running(serving(both)) as runner:
        health = await look(runner.url(), trust)

        assert health.words == words
        assert health.lasting == bool(words)
        assert len(runner.looks) == (0 if words else 1)


async def test_a_redirect_is_not_followed_and_takes_no_token_elsewhere() -> None:
    async with FakeRunner().running() as elsewhere, FakeRunner().running() as runner:

        async def redirect(_: web.Request) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": f"{elsewhere.address}/health"})

        runner.health = redirect
        assert "redirects elsewhere (302)" in (await look(runner.url(token=TOKEN))).words
        assert elsewhere.looks == []


async def test_an_endless_answer_is_read_no_further_than_anybody_need() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b"x" * 4096)
        return response

    async with FakeRunner().running() as runner:
        runner.health = endless
        assert (await look(runner.url())).words == ""


@pytest.mark.parametrize(("answer", "words"), [
    (b"SSH-2.0-OpenSSH\r\n", "does not answer (what it says is not HTTP)"),
    (b"", "does not answer (it hung up)"),
])  # fmt: skip
async def test_a_server_that_speaks_no_http_says_so(answer: bytes, words: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        assert (await look(Url(f"http://127.0.0.1:{port}"))).words == words
        assert (await look(Url(f"https://localhost:{port}"))).lasting == bool(answer)
    finally:
        server.close()


@pytest.mark.parametrize(
    "address", ["http://nowhere.invalid", "http://a..b", "http://host:99999", f"http://127.0.0.1:{free_port()}/b"]
)
async def test_no_address_and_no_token_stands_in_words_or_logs(
    address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "provider").write_text(TOKEN)
    async with following(external(Url(address, 1, "provider"), Url(address, 1, None, TOKEN)), folder=tmp_path) as here:
        await until(lambda: all(here.troubles()) and len(here.inner.reported.get("m", ())) == 2)
        told = [*here.troubles(), *(each.message for each in here.inner.reported["m"]), verdict(here.registry, here.model).message]
        told += [record.getMessage() for record in caplog.records if record.name.startswith("stoker")]

    assert any("endpoint 1 of 2" in each for each in told)
    host = address.removeprefix("http://").partition("/")[0].partition(":")[0]
    assert not [each for each in told if host in each or TOKEN in each]
    assert TOKEN not in repr(here.events)
