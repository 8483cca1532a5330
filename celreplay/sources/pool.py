"""At most a few connections to a database server, kept while they are healthy."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from celreplay.errors import SourceError, SourceUnavailableError

Connection = TypeVar("Connection")
Result = TypeVar("Result")
_SIZE = 2  # following the table must not wait behind a replay


class Pool(Generic[Connection]):
    """Runs one statement at a time on each connection.

    `said` turns a driver's exception into ours. A connection on which anything went wrong, cancellation
    included, is never used again. A statement that meets a connection which the server has closed since its
    last use is run once more on a new one: all statements only read.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        discard: Callable[[Connection], None],
        said: Callable[[Exception], SourceError],
    ) -> None:
        self._connect, self._discard, self._said = connect, discard, said
        self._idle: list[Connection] = []
        self._places = asyncio.Semaphore(_SIZE)

    async def run(self, job: Callable[[Connection], Awaitable[Result]], seconds: float) -> Result:
        """Run `job` on a connection, in at most `seconds`."""
        async with self._places:
            used = self._idle.pop() if self._idle else None
            if used is not None:
                try:
                    return await self._run(used, job, seconds)
                except SourceUnavailableError:
                    self.discard_idle()
            try:
                fresh = await self._connect()
            except Exception as error:
                raise self._said(error) from error
            return await self._run(fresh, job, seconds)

    async def _run(
        self, connection: Connection, job: Callable[[Connection], Awaitable[Result]], seconds: float
    ) -> Result:
        try:
            async with asyncio.timeout(seconds):
                result = await job(connection)
        except BaseException as error:
            with contextlib.suppress(Exception):
                self._discard(connection)
            if isinstance(error, Exception):
                raise self._said(error) from error
            raise
        self._idle.append(connection)
        return result

    def discard_idle(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            with contextlib.suppress(Exception):
                self._discard(self._idle.pop())
