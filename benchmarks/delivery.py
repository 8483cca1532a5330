"""Deliveries a second from the outbox to the CRM: the whole Deliverer over a real store (synchronous=FULL).

    python benchmarks/delivery.py [--deliveries 20000] [--waiting 500000] [--folder DIR] [--loop uvloop]

One line for each figure, with its target: a connector in the same process that answers at once; the webhook
connector with a local receiver in a process of its own; and both the claim and what `celreplay status` asks,
with and without `--waiting` deliveries in the store. Every attempt is logged, as in the daemon, to /dev/null.
"""

import argparse
import asyncio
import contextlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from outbox import NOW, fill, finished, settlement

from celreplay import log
from celreplay.calls.model import Call
from celreplay.clock import SystemClock
from celreplay.connectors.base import (
    Connector,
    ConnectorState,
    Delivery,
    Exchange,
    Outcome,
    OutcomeKind,
    Probe,
    Probing,
)
from celreplay.connectors.http import HttpDriver
from celreplay.connectors.options import DeliveryOptions
from celreplay.connectors.webhook import WebhookConnector, WebhookOptions
from celreplay.delivery.workers import Deliverer
from celreplay.store.base import FinishedCall, NewDelivery, State
from celreplay.store.sqlite import SqliteStore
from celreplay.times import Instant
from celreplay.units import Secret

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # noqa: S105  of the contract's vectors
NUMBERS = 5000
OK = Outcome(kind=OutcomeKind.OK, reason="taken", http_status=200)


class AtOnce:
    """A connector that takes every call without a request."""

    name = "crm"
    batch_size = 1
    can_probe = False

    def prepare(self, call: Call, part: str, *, update: bool = False) -> bytes:  # noqa: ARG002 - the protocol
        return b"x" * 1500

    def exchange(self, deliveries: Sequence[Delivery], state: ConnectorState, now: Instant) -> Exchange:  # noqa: ARG002 - the protocol
        yield from ()
        return [OK] * len(deliveries)

    def probe(self, delivery: Delivery, state: ConnectorState, now: Instant) -> Probing:  # noqa: ARG002 - the protocol
        yield from ()
        return Probe.UNKNOWN


def wished(connector: Connector, number: int, prefix: str) -> FinishedCall:
    call = finished(number, prefix=prefix, strand=None).call
    wish = NewDelivery(
        connector=connector.name, strand=f"{number % NUMBERS}", payload=connector.prepare(call, "call")
    )
    return FinishedCall(call=call, deliveries=[wish])


async def queue(store: SqliteStore, connector: Connector, count: int, prefix: str) -> None:
    for first in range(0, count, 100):
        page = range(first, min(first + 100, count))
        await store.save_calls([wished(connector, number, prefix) for number in page], now=NOW)


async def delivered(store: SqliteStore) -> int:
    return (await store.counts()).get("crm", {}).get(State.DELIVERED, 0)


async def through(store: SqliteStore, connector: Connector, options: DeliveryOptions, count: int) -> float:
    """Deliver what waits; deliveries a second."""
    before = await delivered(store)
    stop = asyncio.Event()
    async with HttpDriver() as driver:
        deliverer = Deliverer(store, {connector.name: connector}, driver, SystemClock(), {"crm": options})
        begun = time.perf_counter()
        running = asyncio.create_task(deliverer.run(stop))
        while await delivered(store) < before + count:  # noqa: ASYNC110 - as `celreplay replay` looks
            await asyncio.sleep(0.1)
        seconds = time.perf_counter() - begun
        stop.set()
        await running
    return count / seconds


@contextlib.asynccontextmanager
async def receiver() -> AsyncIterator[str]:
    """A receiver in a process of its own; its URL. It must have seen every call once."""
    program = Path(__file__).with_name("receiver.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    if process.stdout is None:
        raise SystemExit("the receiver has no output")
    yield f"http://127.0.0.1:{int(await process.stdout.readline())}/"
    out, _ = await process.communicate(b"")
    requests, distinct = out.split()
    if requests != distinct:
        raise SystemExit(f"{requests.decode()} requests for {distinct.decode()} calls")


async def rates(folder: Path, count: int, workers: int) -> None:
    store = SqliteStore.open(folder / "rates.db", system="pbx")
    connector = AtOnce()
    await queue(store, connector, count, "at-once-")
    options = DeliveryOptions(type="webhook", workers=workers)
    show("at once, in the same process", await through(store, connector, options, count), 5000)
    async with receiver() as url:
        http = WebhookOptions(type="webhook", url=url, secret=Secret(SECRET), workers=workers)
        webhook = WebhookConnector("crm", http)
        await queue(store, webhook, count, "http-")
        show("webhook, a receiver in another process", await through(store, webhook, http, count), 2500)
    await store.aclose()


async def milliseconds(what: Callable[[], Awaitable[object]], times: int = 200) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        await what()
    return (time.perf_counter() - begun) / times * 1000


async def looks(folder: Path, waiting: int) -> tuple[float, float]:
    """Milliseconds of a claim with its settlement, and of what `status` asks, beside so many that wait."""
    store = SqliteStore.open(folder / f"waiting-{waiting}.db", system="pbx")
    await fill(store, waiting)
    await store.save_calls([finished(n, prefix="due-", strand=f"{n}") for n in range(1000)], now=NOW)

    async def claim() -> None:
        claims = await store.claim("crm", 4, now=NOW, order_patience=900)
        await store.settle([settlement(claim) for claim in claims])

    async def status() -> None:
        await store.counts()
        await store.holds()
        await store.replays(limit=10)
        await store.next_due("crm")

    await claim()
    found = await milliseconds(claim), await milliseconds(status)
    await store.aclose()
    return found


async def beside(folder: Path, waiting: int) -> None:
    empty, full = await looks(folder, 0), await looks(folder, waiting)
    for name, before, after in zip(("claim and settle four", "status"), empty, full, strict=True):
        ratio = after / before
        figures = f"{before:.2f} → {after:.2f} ms, x {ratio:.2f} (target: at most x 2)"
        print(f"{f'{name}, {waiting:,} waiting':52} {figures}{'' if ratio <= 2 else '  MISSED'}")


def show(name: str, found: float, target: int) -> None:
    missed = "" if found >= target else "  MISSED"
    print(f"{name:52} {found:8,.0f}/s (target: {target:,}/s){missed}", flush=True)


async def measure(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        await rates(Path(name), options.deliveries, options.workers)
        if options.waiting:
            await beside(Path(name), options.waiting)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--waiting", type=int, default=500_000)
    parser.add_argument("--folder", type=Path, help="where the store is made; its disk is what is measured")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f}, {options.loop}")
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        log.configure("info", "json", stream=nowhere)
        if options.loop == "uvloop":
            import uvloop  # noqa: PLC0415 - only when asked for

            uvloop.run(measure(options))
        else:
            asyncio.run(measure(options))


if __name__ == "__main__":
    main()
