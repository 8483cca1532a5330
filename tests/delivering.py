"""What tests of deliveries share: calls, a store with some of them in it, a deliverer at work."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from crm_server import SECRET
from fakes import FakeClock

from celreplay.calls.model import Call, Caller, Direction, Disposition
from celreplay.clock import Clock
from celreplay.config import DeliveryConfig
from celreplay.connectors.base import Connector
from celreplay.connectors.http import HttpDriver
from celreplay.connectors.options import DeliveryOptions
from celreplay.connectors.webhook import WebhookOptions
from celreplay.delivery.workers import Deliverer
from celreplay.store.base import FinishedCall, NewDelivery, State
from celreplay.store.records import DeliveryRecord
from celreplay.store.sqlite import SqliteStore
from celreplay.times import SECOND, Instant
from celreplay.units import Duration, Secret

START = 1_795_400_000


def call_of(number: int, **fields: Any) -> Call:
    """A call that began `number` seconds after the first."""
    fields = {
        "linkedid": f"{START + number}.{number}",
        "system": "office",
        "direction": Direction.INCOMING,
        "disposition": Disposition.ANSWERED,
        "caller": Caller(number="+12025550143", name="Ann"),
        "started_at": Instant((START + number) * SECOND),
        "ended_at": Instant((START + number + 60) * SECOND),
        "revision": "r1",
        **fields,
    }
    return Call(linkedids=[fields["linkedid"]], **fields)


def webhook_options(url: str, **fields: Any) -> WebhookOptions:
    fields = {"timeout": Duration(5), "jitter": 0.0, **fields}
    return WebhookOptions(url=url, secret=Secret(SECRET), **fields)


def fake_options(**fields: Any) -> DeliveryOptions:
    return DeliveryOptions(type="fake", **{"jitter": 0.0, **fields})


class Office:
    """A store, a clock and the connectors of a small PBX."""

    def __init__(self, store: SqliteStore, clock: Clock) -> None:
        self.store = store
        self.clock = clock

    async def queue(self, connector: Connector, *calls: Call, strand: str | None = None, **wish: Any) -> None:
        """Queue a delivery of each call, due now."""
        now = self.clock.now()
        finished = [
            FinishedCall(
                call=call,
                deliveries=[
                    NewDelivery(
                        connector=connector.name,
                        strand=strand,
                        due_at=now,
                        payload=connector.prepare(call, "call"),
                        **wish,
                    )
                ],
            )
            for call in calls
        ]
        await self.store.save_calls(finished, now=now)

    async def delivery(self, call: Call) -> DeliveryRecord:
        [record] = await self.store.deliveries(linkedid=call.linkedid)
        return record

    async def count(self, connector: Connector, state: State) -> int:
        return (await self.store.counts()).get(connector.name, {}).get(state, 0)

    @contextlib.asynccontextmanager
    async def delivering(
        self, connector: Connector, options: DeliveryOptions, **config: float
    ) -> AsyncIterator["Working"]:
        """A deliverer at work; it is stopped at the end, and fails the test if it has failed."""
        durations = {name: Duration(value) for name, value in config.items()}
        connectors: Mapping[str, Connector] = {connector.name: connector}
        async with HttpDriver() as driver:
            deliverer = Deliverer(
                self.store,
                connectors,
                driver,
                self.clock,
                {connector.name: options},
                DeliveryConfig(**durations),
            )
            working = Working(deliverer)
            try:
                yield working
            finally:
                await working.stop()


class Working:
    """A running deliverer."""

    def __init__(self, deliverer: Deliverer) -> None:
        self.deliverer = deliverer
        self.stopping = asyncio.Event()
        self.task = asyncio.create_task(deliverer.run(self.stopping))

    async def stop(self) -> None:
        self.stopping.set()
        await asyncio.gather(self.task)


async def office_in(folder: Any, clock: Clock | None = None) -> Office:
    store = SqliteStore.open(folder / "store.sqlite", system="office")
    return Office(store, clock or FakeClock(manual=True))


async def true(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for something real; the test's own time limit is the end of patience."""
    while True:
        result = condition()
        if result if isinstance(result, bool) else await result:
            return
        await asyncio.sleep(0.005)
