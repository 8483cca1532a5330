"""The clock as a seam: what waits or dates takes one, so that a simulated day costs no time in a test."""

import asyncio
import time
from typing import Protocol

from celreplay.times import SECOND, Instant


class Clock(Protocol):
    """Wall time, even time and sleeping."""

    def now(self) -> Instant:
        """The present moment."""
        ...

    def monotonic(self) -> int:
        """Microseconds since some moment; goes on evenly where the wall clock is set."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; returns early only by cancellation."""
        ...


class SystemClock:
    """The host's clock."""

    def now(self) -> Instant:
        return Instant(time.time_ns() * SECOND // 1_000_000_000)

    def monotonic(self) -> int:
        return time.monotonic_ns() // 1000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SteadyTime:
    """The wall time of its beginning, gone on evenly: waits that are counted with it are neither lengthened
    nor cut short when the clock is set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.now() - clock.monotonic()

    def now(self) -> int:
        """Microseconds since the epoch, as if the clock had never been set since the beginning."""
        return self._began + self._clock.monotonic()
