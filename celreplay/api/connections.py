"""What stands before HTTP: how many connections there may be, and how long a request's head may take.

aiohttp has no time limit for the head of a request, so that a client that sends a byte now and then would
keep its connection for ever.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import cast

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

HEAD_TIMEOUT = 10.0
"""Seconds from the first byte of a request (or the connection) to the end of its head."""
MOST_CONNECTIONS = 256
MOST_OF_ONE_ADDRESS = 64

_log = structlog.get_logger(__name__)


class Gate:
    """The connections of all ports: `before(server)` is what their sockets speak, `timed` the outermost
    middleware of the application."""

    def __init__(
        self,
        *,
        head_timeout: float = HEAD_TIMEOUT,
        most: int = MOST_CONNECTIONS,
        most_of_one: int = MOST_OF_ONE_ADDRESS,
    ) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self.head_timeout = head_timeout
        self.addresses: Counter[str] = Counter()
        self.open: dict[asyncio.BaseTransport, Connection] = {}
        """By their transports: the only thing of them that a request knows."""

    def before(self, server: Callable[[], asyncio.Protocol]) -> "Callable[[], Connection]":
        """The protocol of one port."""
        return lambda: Connection(self, server())

    @property
    def timed(self) -> Middleware:
        """A request whose head has come is no longer waited for."""

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = self.open.get(request.transport) if request.transport is not None else None
            if connection is None:
                return await handler(request)
            connection.begin_request()
            try:
                return await handler(request)
            finally:
                connection.end_request()

        return middleware

    def admits(self, address: str) -> bool:
        """True where there is room for one more of this address."""
        return self.addresses.total() < self._most and self.addresses[address] < self._most_of_one


class Connection(asyncio.Protocol):
    """One connection: hands everything on to aiohttp's protocol, and closes what takes too long."""

    def __init__(self, gate: Gate, inner: asyncio.Protocol) -> None:
        self._gate = gate
        self._inner = inner
        self._address = ""
        self._admitted = False
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._in_request = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Counted, or closed at once where there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        self._address = str((transport.get_extra_info("peername") or ("",))[0])
        self._admitted = self._gate.admits(self._address)
        if not self._admitted:
            _log.warning("api.too_many_connections", address=self._address)
            self._transport.abort()
            return
        self._gate.addresses[self._address] += 1
        self._gate.open[transport] = self
        self._inner.connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Handed on; the first bytes of a request start its time."""
        if not self._admitted:
            return
        if not self._in_request and self._timer is None:
            self._expect_head()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Handed on."""
        return self._inner.eof_received() if self._admitted else None

    def pause_writing(self) -> None:
        """Handed on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Handed on."""
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """No longer counted."""
        self._head_is_there()
        if not self._admitted or self._transport is None:
            return
        self._gate.open.pop(self._transport, None)
        self._gate.addresses[self._address] -= 1
        self._gate.addresses += Counter()  # forgets addresses without a connection
        self._inner.connection_lost(error)

    def begin_request(self) -> None:
        """The head is complete."""
        self._in_request = True
        self._head_is_there()

    def end_request(self) -> None:
        """The answer is made; the next head may come."""
        self._in_request = False

    def _expect_head(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._gate.head_timeout, self._too_slow)

    def _head_is_there(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self._transport is not None and not self._in_request:
            _log.warning("api.head_too_slow", address=self._address, seconds=self._gate.head_timeout)
            self._transport.abort()
