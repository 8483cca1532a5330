"""The clock as a seam: what waits or dates takes one, so that a simulated day costs no time in a test."""

import asyncio
import time
from typing import Protocol

from celreplay.times import SECOND, Instant


class Clock(Protocol):
    """Wall time and sleeping."""

    def now(self) -> Instant:
        """The present moment."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; returns early only by cancellation."""
        ...


class SystemClock:
    """The host's clock."""

    def now(self) -> Instant:
        return Instant(time.time_ns() * SECOND // 1_000_000_000)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
