"""The workers of one connector: claim what is due, send it, settle it, until told to stop."""

import asyncio
from collections.abc import Sequence

from celreplay.clock import Clock
from celreplay.config import DeliveryConfig
from celreplay.connectors.base import Connector
from celreplay.connectors.options import DeliveryOptions
from celreplay.delivery.courier import Courier
from celreplay.delivery.gate import Gate, Passage
from celreplay.delivery.lanes import Shares, replay_at_most
from celreplay.delivery.shielding import whole
from celreplay.delivery.storing import Storing
from celreplay.delivery.vitals import Vitals
from celreplay.errors import StoreError
from celreplay.store.base import Claim, Lane
from celreplay.times import SECOND
from celreplay.waiting import first_of

_POLL = 1.0
"""Seconds: what another process has queued is seen after so long."""
_BREATH = 0.1
"""Seconds: nothing is asked for more often than this without a reason."""


class Team:
    """Those of one connector: up to `size` exchanges at once."""

    def __init__(
        self,
        storing: Storing,
        connector: Connector,
        courier: Courier,
        clock: Clock,
        options: DeliveryOptions,
        config: DeliveryConfig,
    ) -> None:
        self._storing = storing
        self._connector = connector
        self._courier = courier
        self._clock = clock
        self._size = options.workers
        self._gate = Gate(connector.name, options, clock, lambda: courier.not_before)
        self._config = config
        self._wake = asyncio.Event()
        self._busy: set[asyncio.Task[None]] = set()
        self._replaying: set[asyncio.Task[None]] = set()
        """Of the busy ones, those with nothing live."""
        self._shares = Shares()
        self._failed_claims = 0

    async def open(self) -> None:
        await self._courier.open()

    def hint(self) -> None:
        self._wake.set()

    def vitals(self) -> Vitals:
        return Vitals(
            workers=self._size,
            in_flight=len(self._busy),
            waiting=self._gate.waiting,
            tokens=self._gate.tokens,
            last_minute=self._gate.last_minute,
            not_before=self._gate.not_before,
            hold=self._courier.standing.hold,
            attempts=dict(self._courier.attempts),
        )

    async def run(self, stop: asyncio.Event, group: asyncio.TaskGroup) -> None:
        """Claim and hand out, until `stop`."""
        while not stop.is_set():
            self._wake.clear()
            free, canary = self._free()
            permits = self._gate.reserve(free)
            claims = await self._claim(permits, stop, canary=canary) if permits else []
            if claims and self._courier.standing.hold is not None and not canary:
                self._gate.put_back(permits)
                await self._courier.give_back(claims, "not sent: the connector has just been held")
                continue
            batches = self._batches(claims)
            for number, batch in enumerate(batches):
                self._hand_out(batch, Passage(self._gate, paid=number < permits), group, canary=canary)
            self._gate.put_back(max(0, permits - len(batches)))
            if len(claims) < permits * self._batch_size(canary=canary) or not permits:
                await self._wait(stop)
        await self._finish()

    def _free(self) -> tuple[int, bool]:
        """How many exchanges may begin now, and whether it is a canary's."""
        hold = self._courier.standing.hold
        if hold is None:
            return self._size - len(self._busy), False
        due = not self._busy and hold.next_canary_at <= self._clock.now()
        return int(due), True

    def _batch_size(self, *, canary: bool) -> int:
        return 1 if canary else self._connector.batch_size

    def _hand_out(
        self, batch: Sequence[Claim], passage: Passage, group: asyncio.TaskGroup, *, canary: bool
    ) -> None:
        task = group.create_task(self._deliver(batch, passage, canary=canary))
        self._busy.add(task)
        if all(claim.lane is Lane.REPLAY for claim in batch):
            self._replaying.add(task)
        task.add_done_callback(self._done)

    async def _claim(self, exchanges: int, stop: asyncio.Event, *, canary: bool) -> Sequence[Claim]:
        """Take what is due: nothing is claimed that is not handed on, whatever happens."""
        size = self._batch_size(canary=canary)
        claiming = asyncio.ensure_future(
            self._storing.store.claim(
                self._connector.name,
                exchanges * size,
                now=self._clock.now(),
                order_patience=self._config.order_patience,
                live_patience=self._config.live_patience,
                replay_at_least=self._shares.replay_at_least,
                replay_at_most=replay_at_most(self._size, len(self._replaying)) * size,
            )
        )
        try:
            claims = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await whole(self._give_back(claiming))
            raise
        except StoreError as error:
            self._storing.told(error)
            await first_of(self._storing.pause(self._failed_claims), stop.wait())
            self._failed_claims += 1
            return []
        self._failed_claims = 0
        self._shares = self._shares.after(claims)
        self._storing.told(None)
        return claims

    async def _give_back(self, claiming: asyncio.Future[Sequence[Claim]]) -> None:
        try:
            await self._courier.give_back(await claiming)
        except StoreError as error:
            self._storing.told(error)

    def _batches(self, claims: Sequence[Claim]) -> list[Sequence[Claim]]:
        """Those to be sent by the connector's batch size; uncertain ones each alone."""
        sending = [claim for claim in claims if not claim.probing]
        size = self._connector.batch_size
        batches: list[Sequence[Claim]] = [sending[at : at + size] for at in range(0, len(sending), size)]
        return batches + [[claim] for claim in claims if claim.probing]

    async def _deliver(self, batch: Sequence[Claim], passage: Passage, *, canary: bool) -> None:
        try:
            if batch[0].probing:
                await self._courier.resolve(batch[0], passage, canary=canary)
            else:
                await self._courier.send(batch, passage, canary=canary)
        finally:
            passage.end()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._busy.discard(task)
        self._replaying.discard(task)
        self._wake.set()

    async def _wait(self, stop: asyncio.Event) -> None:
        """Until something was queued or settled, the next is due, a second has passed, or `stop`."""
        seconds = await self._seconds_to_next()
        await first_of(self._wake.wait(), stop.wait(), self._clock.sleep(seconds))

    async def _seconds_to_next(self) -> float:
        hold = self._courier.standing.hold
        try:
            if hold is not None and await self._courier.look_again():
                return 0.0
            at = hold.next_canary_at if hold else await self._next_due()
        except StoreError as error:
            self._storing.told(error)
            at = None
        now = self._clock.now()
        ready_at = self._gate.ready_at()
        self._gate.limits(at is not None and at <= now < ready_at)
        seconds = _POLL if at is None else (at - now) / SECOND
        if ready_at > now:
            return min(max(seconds, (ready_at - now) / SECOND), _POLL)
        if hold is not None and seconds <= 0:  # due, but nothing waits, or what is in flight comes first
            return _POLL
        return min(max(seconds, _BREATH), _POLL)

    async def _next_due(self) -> int | None:
        """Of what a free worker could take; one that becomes free looks for itself."""
        if len(self._busy) >= self._size:
            return None
        lanes = tuple(Lane) if replay_at_most(self._size, len(self._replaying)) else (Lane.LIVE,)
        return await self._storing.store.next_due(self._connector.name, lanes)

    async def _finish(self) -> None:
        """Let what is in flight end; after the deadline its owners are told to give up."""
        if not self._busy:
            return
        running = set(self._busy)
        await first_of(asyncio.wait(running), self._clock.sleep(self._config.shutdown_deadline))
        self._storing.closing.set()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
