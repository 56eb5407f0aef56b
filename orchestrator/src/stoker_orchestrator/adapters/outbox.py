"""Small writes of one moment, made one behind the other."""

import asyncio

_SMALL = 16 * 1024
"""More than this is written at once."""


class Outbox:
    """Keeps small writes until the event loop's turn is over.

    A write wakes the process that reads it, which costs more than the write itself. Made together, writes find it awake.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write `data` behind what was written before, soon; what goes to a connection that is closing is lost."""
        if len(data) > _SMALL:
            self.flush()
            if not transport.is_closing():
                transport.write(data)
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append((transport, data))

    def flush(self) -> None:
        """Write what waits."""
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            if not transport.is_closing():
                transport.write(data)
