"""A TCP relay before a database server that can fall silent in the middle of an answer, or be cut."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self


class Relay:
    """Passes bytes on. `hold_after` bytes of answers from now on it falls silent; `cut` ends all connections."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self._left: int | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.held = asyncio.Event()

    def hold_after(self, answered: int) -> None:
        """Fall silent when so many bytes more have been answered."""
        self._left = answered

    def flow(self) -> None:
        """Answer again; connections that were held stay silent, as after a network that was away."""
        self._left = None
        self.held.clear()

    def cut(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = asyncio.current_task()
        assert own is not None
        self._tasks.add(own)
        back, forth = await asyncio.open_connection("127.0.0.1", self._behind)
        self._writers |= {writer, forth}
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(
                self._pass_on(reader, forth, limited=False), self._pass_on(back, writer, limited=True)
            )
        for one in (writer, forth):
            one.transport.abort()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, limited: bool
    ) -> None:
        while data := await reader.read(1024):
            if limited and self._left is not None:
                self._left -= len(data)
                if self._left < 0:
                    self.held.set()
                    await asyncio.Event().wait()  # until it is cut
            writer.write(data)
            await writer.drain()
        writer.close()
