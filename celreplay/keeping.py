"""What is done in the store from time to time: what is old is removed, what waits for ever is woken."""

import structlog

from celreplay.clock import Clock
from celreplay.errors import StoreError
from celreplay.retention import RetentionConfig
from celreplay.store.base import Store
from celreplay.store.retention import Forgotten
from celreplay.times import SECOND

_EVERY = 3600.0
_LOOK_AT_CLOCK = 5.0
_STEP = 2 * SECOND
"""What is less is left to the drift of clocks."""
_BREATH = 0.2
"""Seconds between two pages, in which the store is the workers'."""

_log = structlog.get_logger(__name__)


class Keeper:
    """Looks after the store at its start and every hour. `longest_wait`: seconds beyond which no delivery is
    ever put off; a later moment comes from a clock that was wrong."""

    def __init__(self, store: Store, clock: Clock, ages: RetentionConfig, longest_wait: float) -> None:
        self._store = store
        self._clock = clock
        self._ages = ages
        self._longest_wait = longest_wait

    async def run(self) -> None:
        """Until cancelled. A store that fails is tried again an hour later: others tell of it."""
        while True:
            try:
                await self.wake()
                await self.clean()
            except StoreError as error:
                _log.warning("retention.put_off", error=str(error))
            await self._clock.sleep(_EVERY)

    async def watch(self) -> None:
        """Until cancelled: where the clock is set back, what waits goes back with it."""
        ahead = self._clock.now() - self._clock.monotonic()
        while True:
            await self._clock.sleep(_LOOK_AT_CLOCK)
            back = ahead - (self._clock.now() - self._clock.monotonic())
            if back > _STEP:
                try:
                    await self._store.set_back(by=back)
                except StoreError as error:
                    _log.warning("clock.not_followed", error=str(error))
                    continue
                _log.warning("clock.set_back", seconds=back / SECOND)
            ahead -= back

    async def wake(self) -> None:
        """What waits for a moment of a clock that has been set back since is due now. Raises StoreError."""
        now = self._clock.now()
        furthest = now + round(self._longest_wait * SECOND)
        if woken := await self._store.wake_late(now=now, furthest=furthest):
            _log.warning("delivery.clock_was_wrong", woken=woken)

    async def clean(self) -> None:
        """Remove all that is too old now. Raises StoreError; what was removed before stays so."""
        page = Forgotten()
        deliveries = calls = replays = 0
        while not page.done:
            page = await self._store.forget(self._ages, now=self._clock.now(), after=page)
            deliveries += page.deliveries
            calls += page.calls
            replays += page.replays
            await self._clock.sleep(_BREATH)
        if deliveries or calls or replays:
            _log.info("retention.removed", deliveries=deliveries, calls=calls, replays=replays)
