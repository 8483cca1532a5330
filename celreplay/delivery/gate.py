"""The gate that every request of a connector goes through: its rate, and what the vendor has said."""

import asyncio
from collections.abc import Callable

import structlog

from celreplay.clock import Clock
from celreplay.connectors.answers import RETRY_AFTER_CAP
from celreplay.connectors.base import Outcome, OutcomeKind
from celreplay.connectors.options import DeliveryOptions
from celreplay.delivery.pacing import Bucket, Meter
from celreplay.times import SECOND, Instant, seconds_between

LONGEST_STAY = 60.0
"""Seconds that an exchange under way waits for the vendor's budget; else it is ended, and goes on by its
checkpoint later."""
TELL_AFTER = 60.0
"""Seconds for which deliveries have waited for nothing but the rate, before the log says so."""
_log = structlog.get_logger()


class Gate:
    """One connector's; all its workers share it. `closed_until`: what the vendor has said (`NOT_BEFORE`)."""

    def __init__(
        self, name: str, options: DeliveryOptions, clock: Clock, closed_until: Callable[[], int]
    ) -> None:
        self._name = name
        self._clock = clock
        self._closed_until = closed_until
        self._bucket: Bucket | None = None
        if options.rate is not None:
            full, now = float(options.burst), int(clock.now())
            self._bucket = Bucket(rate=options.rate, burst=options.burst, level=full, at=now)
        self._line = asyncio.Lock()
        self._meter = Meter()
        self._limited_since: Instant | None = None
        self._told = False
        self.waiting = 0
        """Requests of exchanges under way that wait for a permit."""

    @property
    def tokens(self) -> float | None:
        """Requests that may leave at once; None without a rate."""
        return None if self._bucket is None else self._bucket.moved(self._clock.now()).level

    @property
    def last_minute(self) -> int:
        """Requests that left in the last 60 s."""
        return self._meter.last_minute(self._clock.now())

    @property
    def not_before(self) -> Instant | None:
        """Until when the vendor wants no request; None when it said nothing, or that is over."""
        now = self._clock.now()
        until = min(self._closed_until(), now + round(RETRY_AFTER_CAP * SECOND))
        return Instant(until) if until > now else None

    def reserve(self, wanted: int) -> int:
        """Permits for the first requests of up to `wanted` exchanges; they are taken. Exchanges under way
        come first."""
        if self.not_before is not None or (self._bucket is not None and self.waiting):
            return 0
        if self._bucket is None:
            return wanted
        bucket = self._bucket.moved(self._clock.now())
        granted = min(wanted, bucket.whole)
        self._bucket = bucket.less(granted)
        return granted

    def put_back(self, permits: int) -> None:
        """Permits that were not used."""
        if self._bucket is not None:
            self._bucket = self._bucket.less(-permits)

    def ready_at(self) -> Instant:
        """When `reserve` may have something again."""
        now = self._clock.now()
        ready = now if self._bucket is None else self._bucket.moved(now).ready_at
        return Instant(max(ready, self.not_before or now))

    async def enter(self) -> Outcome | None:
        """Wait for a permit for one request; the outcome of the exchange where that would take too long."""
        self.waiting += 1
        try:
            async with self._line:
                while (ready := self.ready_at()) > self._clock.now():
                    if self.not_before is not None and ready - self._clock.now() > LONGEST_STAY * SECOND:
                        return self._refusal(ready)
                    await self._clock.sleep((ready - self._clock.now()) / SECOND)
                if self._bucket is not None:
                    self._bucket = self._bucket.moved(self._clock.now()).less(1)
                return None
        finally:
            self.waiting -= 1

    def _refusal(self, until: Instant) -> Outcome:
        return Outcome(
            kind=OutcomeKind.THROTTLE,
            reason=f"the CRM wants no request before {until.iso()}",
            retry_after=seconds_between(self._clock.now(), until),
        )

    def left(self) -> Instant:
        """A request leaves now."""
        now = self._clock.now()
        self._meter.count(now)
        return now

    def limits(self, limited: bool) -> None:
        """Say whether due deliveries wait for nothing but a permit; the log hears of it once."""
        now = self._clock.now()
        if not limited:
            if self._told:
                _log.info("connector.keeps_up", connector=self._name)
            self._limited_since, self._told = None, False
            return
        self._limited_since = self._limited_since or now
        if not self._told and seconds_between(self._limited_since, now) >= TELL_AFTER:
            self._told = True
            until = self.not_before
            _log.warning(
                "connector.limited",
                connector=self._name,
                reason="deliveries wait for the rate" if until is None else "the CRM wants no request yet",
                not_before=until and until.iso(),
                last_minute=self.last_minute,
            )


class Passage:
    """The way of one exchange through the gate. `paid`: a permit was reserved for its first request."""

    def __init__(self, gate: Gate, *, paid: bool) -> None:
        self._gate = gate
        self._paid = paid
        self.last_at: Instant | None = None
        """When its latest request left."""

    async def request(self) -> Outcome | None:
        """Wait until the next request may leave; the outcome where it may not for long."""
        if not self._paid:
            refusal = await self._gate.enter()
            if refusal is not None:
                return refusal
        self._paid = False
        self.last_at = self._gate.left()
        return None

    def end(self) -> None:
        """Nothing more is sent; a permit that was not used goes back."""
        if self._paid:
            self._gate.put_back(1)
            self._paid = False
