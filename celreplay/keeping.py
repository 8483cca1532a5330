"""Retention: what is older than it is kept is removed from the store, in small pages, from time to time."""

import structlog

from celreplay.clock import Clock
from celreplay.errors import StoreError
from celreplay.retention import RetentionConfig
from celreplay.store.base import Store
from celreplay.store.retention import Forgotten

_EVERY = 3600.0
_BREATH = 0.2
"""Seconds between two pages, in which the store is the workers'."""

_log = structlog.get_logger(__name__)


class Keeper:
    """Cleans the store at its start and every hour."""

    def __init__(self, store: Store, clock: Clock, ages: RetentionConfig) -> None:
        self._store = store
        self._clock = clock
        self._ages = ages

    async def run(self) -> None:
        """Until cancelled. A store that fails is tried again an hour later: others tell of it."""
        while True:
            try:
                await self.clean()
            except StoreError as error:
                _log.warning("retention.put_off", error=str(error))
            await self._clock.sleep(_EVERY)

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
