"""What the running daemon tells of itself."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from celreplay.clock import Clock
from celreplay.delivery.vitals import Vitals
from celreplay.health import Health
from celreplay.overview import Overview, body, overview_of
from celreplay.sources.base import CelSource
from celreplay.store.base import Store


class Monitor:
    """Asked by `/status` and `/readyz`."""

    def __init__(
        self,
        *,
        source: CelSource,
        store: Store,
        store_path: Path,
        health: Health,
        clock: Clock,
        vitals: Callable[[], Mapping[str, Vitals]],
        has_begun: Callable[[], bool],
    ) -> None:
        self._source = source
        self._store = store
        self._store_path = store_path
        self._health = health
        self._clock = clock
        self._vitals = vitals
        self._has_begun = has_begun

    @property
    def ready(self) -> bool:
        """Calls are read and stored."""
        return self._has_begun() and not self._health.problems

    async def status(self) -> dict[str, Any]:
        """See docs/api.md. Raises StoreError."""
        return body(await self.overview(), self._clock.now())

    async def overview(self) -> Overview:
        """Where reading and delivering stand. Raises StoreError."""
        overview = await overview_of(self._source, self._store, daemon=os.getpid())
        return msgspec.structs.replace(
            overview,
            problems=self._health.problems,
            vitals=self._vitals(),
            store_bytes=self._store_path.stat().st_size,
        )
