"""Carries claimed deliveries of one connector to its CRM, and settles every one of them, whatever happens."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
import structlog

from celreplay.clock import Clock
from celreplay.connectors.base import Checkpoint, Connector, Delivery, Exchange, Outcome, OutcomeKind, Probe
from celreplay.connectors.http import HttpDriver
from celreplay.connectors.masking import masked
from celreplay.connectors.state import SharedState
from celreplay.connectors.trip import ClaimLostError, Trip
from celreplay.delivery.gate import Passage
from celreplay.delivery.settling import Settler
from celreplay.delivery.storing import Kept, Storing
from celreplay.delivery.telling import log_attempt, name_of
from celreplay.delivery.throttle import Standing, at_start, judge
from celreplay.errors import StoreError
from celreplay.store.base import Claim, Settlement
from celreplay.times import Instant, seconds_between

_log = structlog.get_logger()


class Courier:
    """One connector's deliveries, under way and settled."""

    def __init__(
        self,
        storing: Storing,
        connector: Connector,
        driver: HttpDriver,
        clock: Clock,
        settler: Settler,
        secrets: Iterable[str] = (),
    ) -> None:
        self._storing = storing
        self._store = storing.store
        self._connector = connector
        self._driver = driver
        self._clock = clock
        self._settler = settler
        self._secrets = tuple(secrets)
        self._state = SharedState()
        self._saving_hold = asyncio.Lock()
        self.standing = Standing()
        self.attempts: Counter[OutcomeKind] = Counter()

    @property
    def not_before(self) -> int:
        """Until when the vendor wants no request."""
        return self._state.not_before

    async def open(self) -> None:
        """Take up what is stored of the connector. Raises StoreError."""
        name = self._connector.name
        values = await self._store.connector_state(name)
        self._state = SharedState(values, lambda changed: self._store.set_connector_state(name, changed))
        hold = (await self._store.holds()).get(name)
        if hold is not None:
            self.standing = Standing(hold=at_start(hold, self._clock.now()))

    async def look_again(self) -> bool:
        """True where somebody has asked, by the store, for a canary at once. Raises StoreError."""
        async with self._saving_hold:
            hold = self.standing.hold
            stored = (await self._store.holds()).get(self._connector.name)
        if hold is None or stored is None or self.standing.hold is not hold:
            return False
        sooner = min(hold.next_canary_at, stored.next_canary_at)
        changed = msgspec.structs.replace(hold, next_canary_at=sooner)
        self.standing = msgspec.structs.replace(self.standing, hold=changed)
        return sooner < hold.next_canary_at

    async def send(self, claims: Sequence[Claim], passage: Passage, *, canary: bool) -> None:
        """Send claims in one exchange; all are settled at the end, also of a cancellation."""
        started_at = self._clock.now()
        trip = Trip(
            state=self._state,
            on_checkpoint=lambda step: self._checkpoint(claims, step),
            permit=passage.request,
        )
        deliveries = [claim.delivery for claim in claims]
        try:
            outcomes = await self._driver.exchange(self._steps(deliveries, started_at), len(claims), trip)
        except ClaimLostError:
            self._log_lost(claims)
            return
        except StoreError as error:
            await self._cut_off(claims, trip, passage, f"the store failed: {error.message}")
            return
        except asyncio.CancelledError:
            await self._cut_off(claims, trip, passage, "celreplay stopped while sending it")
            raise
        outcomes = [masked(outcome, self._secrets, self._state) for outcome in outcomes]
        await self._settle_exchange(claims, outcomes, started_at, passage, canary=canary)

    async def resolve(self, claim: Claim, passage: Passage, *, canary: bool) -> None:
        """Find out about a claim whose earlier attempt is uncertain: ask, or follow the policy."""
        now = self._clock.now()
        early = self._settler.too_early(claim, now=now)
        if early is not None:
            await self._settle([claim], [early])
            return
        trip = Trip(state=self._state, permit=passage.request)
        answer: Probe | Outcome = Probe.UNKNOWN
        try:
            if self._connector.can_probe:
                steps = self._connector.probe(claim.delivery, self._state, now)
                answer = await self._driver.probe(steps, trip)
        except asyncio.CancelledError:
            await self.give_back([claim])
            raise
        except StoreError:
            await self.give_back([claim])
            return
        await self._settle_probe(claim, answer, now, canary=canary)

    async def give_back(self, claims: Sequence[Claim], reason: str = "not sent: celreplay stopped") -> None:
        """Claims for which nothing has been sent wait again."""
        storing, store = self._storing, self._store
        await storing.whole(
            storing.patiently(lambda: store.release(claims, now=self._clock.now(), reason=reason))
        )

    def _steps(self, deliveries: Sequence[Delivery], now: Instant) -> Exchange:
        """The connector's exchange, begun inside the driver, which survives whatever it raises."""
        return (yield from self._connector.exchange(deliveries, self._state, now))

    async def _checkpoint(self, claims: Sequence[Claim], step: Checkpoint) -> bool:
        claim = claims[step.index]
        return await self._storing.whole(self._store.checkpoint(claim.delivery_id, claim.token, step.data))

    async def _cut_off(self, claims: Sequence[Claim], trip: Trip, passage: Passage, reason: str) -> None:
        if not trip.left or passage.last_at is None:
            await self.give_back(claims)
            return
        now = self._clock.now()
        reason = f"{reason}, after the request had left: it may have arrived"
        settlements = [
            self._settler.cut_off(claim, started_at=passage.last_at, now=now, reason=reason)
            for claim in claims
        ]
        await self._settle(claims, settlements)

    async def _settle_exchange(
        self,
        claims: Sequence[Claim],
        outcomes: Sequence[Outcome],
        started_at: Instant,
        passage: Passage,
        *,
        canary: bool,
    ) -> None:
        now = self._clock.now()
        last_at = passage.last_at or started_at
        settlements = []
        before = self.standing
        for claim, outcome in zip(claims, outcomes, strict=True):
            ruling = judge(self.standing, claim.delivery_id, outcome, canary=canary, now=now)
            self.standing = ruling.standing
            settlements.append(
                self._settler.after_exchange(claim, outcome, ruling, started_at=last_at, now=now)
            )
        await self._settle(claims, settlements, before=before, started_at=started_at)

    async def _settle_probe(
        self, claim: Claim, answer: Probe | Outcome, started_at: Instant, *, canary: bool
    ) -> None:
        now = self._clock.now()
        before = self.standing
        if isinstance(answer, Outcome):
            answer = masked(answer, self._secrets, self._state)
            ruling = judge(self.standing, claim.delivery_id, answer, canary=canary, now=now)
            self.standing = ruling.standing
            settlement = self._settler.unasked(claim, answer, ruling, now=now)
        else:
            if answer is not Probe.UNKNOWN:  # the CRM works
                asked = Outcome(kind=OutcomeKind.OK, reason="asked")
                ruling = judge(self.standing, claim.delivery_id, asked, canary=canary, now=now)
                self.standing = ruling.standing
            held = self.standing.hold is not None
            settlement = self._settler.after_probe(claim, answer, held=held, now=now)
        await self._settle([claim], [settlement], before=before, started_at=started_at)

    async def _settle(
        self,
        claims: Sequence[Claim],
        settlements: Sequence[Settlement],
        *,
        before: Standing | None = None,
        started_at: Instant | None = None,
    ) -> None:
        """Store what became of the claims, whatever happens meanwhile; a hold that has changed since `before`
        is stored first. `started_at`: an attempt was made, and the log is told."""
        if before is None or before.hold == self.standing.hold:
            settling = self._storing.settle(settlements)
        else:
            settling = asyncio.ensure_future(self._save_and_settle(before, settlements))
        try:
            await self._storing.whole(settling)
        finally:
            if settling.done() and not settling.cancelled() and settling.exception() is None:
                self._tell(claims, settlements, settling.result(), started_at)

    async def _save_and_settle(self, before: Standing, settlements: Sequence[Settlement]) -> Kept:
        await self._save_hold(before)
        return await self._storing.settle(settlements)

    def _tell(
        self,
        claims: Sequence[Claim],
        settlements: Sequence[Settlement],
        kept: Kept,
        started_at: Instant | None,
    ) -> None:
        if kept is None:
            for claim in claims:
                _log.error("delivery.unsettled", **name_of(claim), reason="uncertain at the next start")
        else:
            self._log_lost([claim for claim, ours in zip(claims, kept, strict=True) if not ours])
        if started_at is None:
            return
        for claim, settlement in zip(claims, settlements, strict=True):
            self.attempts[settlement.kind] += 1
            log_attempt(claim, settlement, started_at)

    async def _save_hold(self, before: Standing) -> None:
        """Store the hold if it has changed; say so once when it begins and ends."""
        if before.hold == self.standing.hold:
            return
        name = self._connector.name
        async with self._saving_hold:
            hold = self.standing.hold
            await self._storing.patiently(lambda: self._store.set_hold(name, hold))
        if before.hold is None and hold is not None:
            _log.warning("connector.held", connector=name, kind=hold.kind.value, reason=hold.reason)
        if before.hold is not None and hold is None:
            seconds = seconds_between(before.hold.since, self._clock.now())
            _log.info("connector.released", connector=name, seconds=seconds)

    def _log_lost(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            _log.error("delivery.claim_lost", **name_of(claim), reason="somebody else took it over")
