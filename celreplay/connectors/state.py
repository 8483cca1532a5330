"""A connector's durable key-value, shared by all its workers in this process."""

import asyncio
from collections import UserDict
from collections.abc import Awaitable, Callable, Mapping

from celreplay.connectors.base import NOT_BEFORE


async def _keep_nothing(_values: Mapping[str, str]) -> None: ...


class SharedState(UserDict[str, str]):
    """The ConnectorState that generators read and change.

    A generator runs between two requests without interruption, so that it sees no half change of another
    worker; `save` stores one state after the other, and only what has changed.
    """

    def __init__(
        self,
        values: Mapping[str, str] | None = None,
        save: Callable[[Mapping[str, str]], Awaitable[None]] = _keep_nothing,
    ) -> None:
        super().__init__(values or {})
        self._stored = dict(self.data)
        self._save = save
        self._one_writer = asyncio.Lock()

    @property
    def not_before(self) -> int:
        """Until when the vendor wants no request; 0 where it said nothing that can be read."""
        value = self.data.get(NOT_BEFORE, "")
        return int(value) if value.isdecimal() else 0

    async def save(self) -> None:
        """Return when what stands here now is stored. Raises what the store raises."""
        if self.data == self._stored and not self._one_writer.locked():
            return
        async with self._one_writer:
            values = dict(self.data)
            if values != self._stored:
                await self._save(values)
                self._stored = values
