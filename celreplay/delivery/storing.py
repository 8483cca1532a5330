"""Uses the store for one connector: waits for one that fails, and ends attempts together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from celreplay.clock import Clock
from celreplay.delivery.shielding import whole
from celreplay.errors import StoreError
from celreplay.store.base import Settlement, Store
from celreplay.waiting import first_of

_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds between attempts to use a store that fails."""
_log = structlog.get_logger()

T = TypeVar("T")
Kept = Sequence[bool] | None
"""For each settlement whether its claim was still ours; None: the daemon ended before the store worked."""


class Storing:
    """One connector's way to the store."""

    def __init__(self, store: Store, connector: str, clock: Clock) -> None:
        self.store = store
        self._connector = connector
        self._clock = clock
        self._works = True
        self._ended: list[tuple[Sequence[Settlement], asyncio.Future[Kept]]] = []
        self._settling: asyncio.Task[None] | None = None
        self.closing = asyncio.Event()
        """Set when nobody waits for a store that fails any more."""

    async def whole(self, work: Awaitable[T]) -> T:
        """Let the work end, even when the task is cancelled meanwhile."""
        return await whole(work, hurry=self.closing.set)

    def settle(self, settlements: Sequence[Settlement]) -> asyncio.Future[Kept]:
        """End attempts; False for each whose claim was lost, None for all when the daemon ends before
        the store works. What ends while others are being stored is stored in one transaction afterwards."""
        kept: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
        self._ended.append((settlements, kept))
        if self._settling is None:
            self._settling = asyncio.create_task(self._settle(), name=f"settling of {self._connector}")
        return kept

    async def _settle(self) -> None:
        try:
            while self._ended:
                batch, self._ended = self._ended, []
                await self._settle_together(batch)
        finally:
            self._settling = None

    async def _settle_together(
        self, batch: Sequence[tuple[Sequence[Settlement], asyncio.Future[Kept]]]
    ) -> None:
        together = [one for settlements, _ in batch for one in settlements]
        try:
            kept = await self.patiently(lambda: self.store.settle(together))
        except Exception as error:  # noqa: BLE001 - each owner gets it, and the others behind them go on
            for _, owner in batch:
                owner.set_exception(error)
            return
        at = 0
        for settlements, owner in batch:
            owner.set_result(None if kept is None else kept[at : at + len(settlements)])
            at += len(settlements)

    async def pause(self, tries: int) -> None:
        """Wait for a store that fails: longer from time to time."""
        seconds = _PAUSES[min(tries, len(_PAUSES) - 1)]
        await first_of(self._clock.sleep(seconds), self.closing.wait())

    async def patiently(self, use: Callable[[], Awaitable[T]]) -> T | None:
        """Use the store until it works; None when the daemon ends before. Told once."""
        tries = 0
        while True:
            try:
                result = await use()
                self.told(None)
                return result
            except StoreError as error:
                self.told(error)
                if self.closing.is_set():
                    return None
            await self.pause(tries)
            tries += 1

    def told(self, error: StoreError | None) -> None:
        """Log that the store fails, or works again: each once."""
        if error is not None and self._works:
            _log.error("delivery.store_failed", connector=self._connector, reason=str(error))
        if error is None and not self._works:
            _log.info("delivery.store_works", connector=self._connector)
        self._works = error is None
