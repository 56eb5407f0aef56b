"""Raw exchanges with a worker: what is sent is what a case says, byte by byte."""

import contextlib
import re
import socket

from tools.fuzz.case import Case

_SECONDS = 30.0
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: close\r\n", re.IGNORECASE)


class Wire:
    """Sends one case after the other; a connection is kept as long as it can be."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def exchange(self, case: Case) -> int | None:
        """The status of the answer, the worst where there are several; None where there was none."""
        if not case.whole:
            return self._cut_off(case.wire)
        if self._socket is None:
            self._socket = self._connected()
        try:
            self._socket.sendall(case.wire)
            status, kept = _answer(self._socket)
        except OSError:
            status, kept = None, False
        if not kept:
            self.close()
        return status

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), _SECONDS)

    def _cut_off(self, wire: bytes) -> int | None:
        """On a connection of its own, which is closed behind it."""
        said = b""
        with self._connected() as connection, contextlib.suppress(OSError):
            connection.sendall(wire)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(2**16):
                said += part
        statuses = [int(each) for each in _STATUS.findall(said)]
        return max(statuses, default=None)


def _answer(connection: socket.socket) -> tuple[int | None, bool]:
    """The status of one answer, and whether the connection is kept. Raises OSError."""
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(2**16)
        if not part:
            return None, False
        head += part
    head, _, body = head.partition(b"\r\n\r\n")
    head += b"\r\n"
    status, length = _STATUS.match(head), _LENGTH.search(head)
    if status is None or length is None:
        return None, False
    missing = int(length[1]) - len(body)
    while missing > 0:
        part = connection.recv(min(missing, 2**16))
        if not part:
            return None, False
        missing -= len(part)
    return int(status[1]), not _CLOSES.search(head)
