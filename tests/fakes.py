"""Fakes at the seams connector and clock; everything else in the tests is real."""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from celreplay.calls.model import Call, encode
from celreplay.connectors.base import (
    Checkpoint,
    ConnectorState,
    Delivery,
    Exchange,
    Outcome,
    OutcomeKind,
    Probe,
    Probing,
    Request,
)
from celreplay.times import SECOND, Instant

OK = Outcome(kind=OutcomeKind.OK, reason="taken", http_status=200)


class FakeClock:
    """A clock that costs no time. By itself, `sleep` moves it on and returns; with `manual=True` whoever sleeps
    waits until the test calls `advance`."""

    def __init__(self, start: int = 1_795_400_000 * SECOND, *, manual: bool = False) -> None:
        self._now = int(start)
        self._set_by = 0
        self._manual = manual
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def now(self) -> Instant:
        return Instant(self._now + self._set_by)

    def monotonic(self) -> int:
        return self._now

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock; no time passes."""
        self._set_by += round(seconds * SECOND)

    async def sleep(self, seconds: float) -> None:
        wake_at = self._now + round(seconds * SECOND)
        if not self._manual:
            self._now = max(self._now, wake_at)
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (wake_at, next(self._numbers), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Move on, waking the sleepers whose time has come in their order."""
        target = self._now + round(seconds * SECOND)
        while self._sleepers and self._sleepers[0][0] <= target:
            wake_at, _, woken = heapq.heappop(self._sleepers)
            self._now = max(self._now, wake_at)
            if not woken.done():
                woken.set_result(None)
            await asyncio.sleep(0)
        self._now = target
        await asyncio.sleep(0)

    async def until(
        self, condition: Callable[[], bool | Awaitable[bool]], *, step: float = 1.0, most: float = 4000
    ) -> None:
        """Move on in steps until the condition holds; fails after `most` steps."""
        for _ in range(int(most)):
            result = condition()
            if result if isinstance(result, bool) else await result:
                return
            await self.advance(step)
            await asyncio.sleep(0.002)
        raise AssertionError("it has not come true")


class FakeConnector:
    """A connector without a CRM: its script says what becomes of each delivery, and it records them."""

    def __init__(self, name: str = "crm", *, batch_size: int = 1, can_probe: bool = False) -> None:
        self.name = name
        self.batch_size = batch_size
        self.can_probe = can_probe
        self.outcome: Callable[[Delivery], Outcome | Exception] = lambda _: (
            self.script.popleft() if self.script else OK
        )
        """What becomes of a delivery; by default the script, then OK."""
        self.script: deque[Outcome | Exception] = deque()
        self.probes: deque[Probe | Outcome] = deque()
        """Answers to the next questions; afterwards unknown."""
        self.request: Callable[[Delivery], Request | None] = lambda _: None
        """A real request to send before the outcome."""
        self.checkpoint: bytes = b""
        """Stored before the outcome, when not empty."""
        self.state_change: dict[str, str] = {}
        self.sent: list[Delivery] = []
        self.batches: list[list[str]] = []
        self.asked: list[Delivery] = []

    @property
    def linkedids(self) -> list[str]:
        """Of everything sent, in order."""
        return [delivery.linkedid for delivery in self.sent]

    def prepare(self, call: Call, part: str, *, update: bool = False) -> bytes:
        return encode({"part": part, "call": call} | ({"update": True} if update else {}))

    def exchange(self, deliveries: Sequence[Delivery], state: ConnectorState, now: Instant) -> Exchange:  # noqa: ARG002 - the protocol
        self.batches.append([delivery.linkedid for delivery in deliveries])
        outcomes: list[Outcome] = []
        for index, delivery in enumerate(deliveries):
            self.sent.append(delivery)
            state.update(self.state_change)
            request = self.request(delivery)
            if request is not None:
                yield request
            if self.checkpoint:
                yield Checkpoint(index=index, data=self.checkpoint)
            outcome = self.outcome(delivery)
            if isinstance(outcome, Exception):
                raise outcome
            outcomes.append(outcome)
        return outcomes

    def probe(self, delivery: Delivery, state: ConnectorState, now: Instant) -> Probing:  # noqa: ARG002 - the protocol
        self.asked.append(delivery)
        request = self.request(delivery)
        if request is not None:
            yield request
        return self.probes.popleft() if self.probes else Probe.UNKNOWN
