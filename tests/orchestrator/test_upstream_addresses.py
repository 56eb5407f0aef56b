"""Workers behind URLs: base paths, verified TLS; and whether a job that lost its worker had reached it."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stoker_orchestrator.adapters.address import Address, parsed
from stoker_orchestrator.adapters.upstream import Upstream, WorkerLostError
from tests.support.waiting import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers each request and remembers its head; hangs up on those after the first `answers` of a connection."""

    def __init__(self, answers: int = 1_000) -> None:
        self.heads: list[bytes] = []
        self.port = 0
        self._answers = answers

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for _ in range(self._answers):
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(OK)
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["Server"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()


async def ask(client: Upstream, address: str) -> bytes:
    answer = await client.post(address, "/text-to-image", b"", b"")
    try:
        return await answer.everything()
    finally:
        client.release(answer)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file with a key and a certificate for the name localhost, signed by itself."""
    folder = tmp_path_factory.mktemp("certificate")
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=localhost",
    ]
    words += ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key", "-out", "certificate"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "key").read_text() + (folder / "certificate").read_text())
    return both


def serving(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1:8000", Address("10.0.0.1", 8000, b"10.0.0.1:8000")),
        ("[fd00::1]:8000", Address("fd00::1", 8000, b"[fd00::1]:8000")),
        ("http://runner:8000", Address("runner", 8000, b"runner:8000")),
        ("http://runner/", Address("runner", 80, b"runner")),
        ("https://runner/a/b/", Address("runner", 443, b"runner", b"/a/b", secure=True)),
        ("https://[fd00::1]:8443/a", Address("fd00::1", 8443, b"[fd00::1]:8443", b"/a", secure=True)),
    ],
)
def test_an_address_is_a_host_and_port_or_a_url(address: str, expected: Address) -> None:
    assert parsed(address) == expected


@pytest.mark.parametrize(
    "address",
    ["runner", "runner:http", "ftp://runner", "http://", "http://a:b@runner", "http://runner/?a=b", "http://runner/#a",
     "http://runner/a b", "http://run ner/", "http://runner:x/", "http://runner/é"],
)  # fmt: skip
async def test_an_address_that_is_neither_reaches_nobody(address: str) -> None:
    with pytest.raises(WorkerLostError, match="cannot be understood") as lost:
        await Upstream().post(address, "/text-to-image", b"", b"")

    assert not lost.value.sent
    assert "runner" not in str(lost.value)


async def test_the_base_path_of_a_url_stands_before_the_route() -> None:
    client = Upstream()
    async with Server().running() as server:
        assert await ask(client, f"http://127.0.0.1:{server.port}/models/a/") == b"ok"
        client.close()

    assert server.heads[0].startswith(b"POST /models/a/text-to-image HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n" % server.port)


async def test_a_worker_behind_tls_is_served_over_kept_connections_where_its_certificate_is_trusted(certificate: Path) -> None:
    trust = ssl.create_default_context(cafile=str(certificate))
    client = Upstream(trust=trust)
    async with Server().running(serving(certificate)) as server:
        address = f"https://localhost:{server.port}"
        assert [await ask(client, address) for _ in range(2)] == [b"ok"] * 2
        assert len(client._idle[address]) == 1
        client.close()


@pytest.mark.parametrize(("host", "trusted"), [("localhost", False), ("127.0.0.1", True)])
async def test_a_worker_whose_certificate_is_not_trusted_or_not_its_own_gets_no_job(
    host: str, *, trusted: bool, certificate: Path
) -> None:
    client = Upstream(trust=ssl.create_default_context(cafile=str(certificate)) if trusted else None)
    async with Server().running(serving(certificate)) as server:
        with pytest.raises(WorkerLostError, match="certificate is not trusted") as lost:
            await ask(client, f"https://{host}:{server.port}")

    assert not lost.value.sent
    assert server.heads == []


async def test_a_job_whose_worker_cannot_be_reached_was_not_sent() -> None:
    async with Server().running() as server:
        address = f"127.0.0.1:{server.port}"
    with pytest.raises(WorkerLostError) as lost:
        await ask(Upstream(), address)

    assert not lost.value.sent


async def test_a_job_that_was_hung_up_on_was_sent() -> None:
    async with Server(answers=0).running() as server:
        with pytest.raises(WorkerLostError) as lost:
            await ask(Upstream(), f"127.0.0.1:{server.port}")

    assert lost.value.sent


async def test_a_job_on_a_kept_connection_whose_worker_then_cannot_be_reached_was_sent() -> None:
    """The worker may have gone because of it."""
    client = Upstream()
    async with Server(answers=1).running() as server:
        address = f"127.0.0.1:{server.port}"
        await ask(client, address)
    with pytest.raises(WorkerLostError) as lost:
        await ask(client, address)
    await until(lambda: len(server.heads) == 2)

    assert lost.value.sent
