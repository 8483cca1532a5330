"""Deliveries a second through the store: save → claim → settle, each commit on disk (synchronous=FULL).

    python benchmarks/outbox.py [--deliveries 20000] [--waiting 0] [--folder DIR]

`--waiting N` first fills the store with N deliveries that are not due or blocked by their strand.
"""

import argparse
import asyncio
import platform
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from celreplay.calls.model import Call, Caller, Direction, Disposition
from celreplay.connectors.base import OutcomeKind
from celreplay.store.base import Claim, FinishedCall, NewDelivery, Settlement, State
from celreplay.store.sqlite import SqliteStore
from celreplay.times import SECOND, Instant

START = 1_795_400_000 * SECOND
NOW = START + 10**6 * SECOND
WORKERS = 32
NUMBERS = 5000
PAYLOAD = b"x" * 1500
TARGETS = {
    "claim + settle, 32 workers, one each": 5000,
    "claim + settle, batches of 50": 5000,
    "save → claim → settle": 3300,
}
"""Deliveries a second; what has no target is for comparison."""


def finished(number: int, *, prefix: str = "", strand: str | None, due_at: int = 0) -> FinishedCall:
    linkedid = f"{prefix}{1_795_400_000 + number}.{number}"
    call = Call(
        linkedid=linkedid,
        linkedids=[linkedid],
        system="pbx",
        direction=Direction.INCOMING,
        disposition=Disposition.ANSWERED,
        caller=Caller(number="+12025550123"),
        started_at=Instant(START + number),
        revision="r1",
    )
    wish = NewDelivery(connector="crm", strand=strand, due_at=due_at, payload=PAYLOAD)
    return FinishedCall(call=call, deliveries=[wish])


def settlement(claim: Claim) -> Settlement:
    return Settlement(
        delivery_id=claim.delivery_id,
        token=claim.token,
        state=State.DELIVERED,
        reason="answered 200 OK",
        kind=OutcomeKind.OK,
        ended_at=NOW,
        http_status=200,
        answer=b'{"ok":true}',
    )


async def fill(store: SqliteStore, waiting: int) -> None:
    """One half not due, one half in ten long strands behind a head that is not due."""
    half = waiting // 2
    for first in range(0, half, 1000):
        page = range(first, min(first + 1000, half))
        later = [finished(n, prefix="later-", strand=None, due_at=NOW + 10**12) for n in page]
        behind = [finished(n, prefix="behind-", strand=f"long-{n % 10}", due_at=NOW + 10**12) for n in page]
        await store.save_calls([*later, *behind], now=NOW)


async def save(store: SqliteStore, count: int) -> None:
    """As a replay does: pages of 100 calls."""
    for first in range(0, count, 100):
        page = range(first, min(first + 100, count))
        await store.save_calls([finished(n, strand=f"{n % NUMBERS}") for n in page], now=NOW)


async def save_singly(store: SqliteStore, count: int) -> None:
    """As many callers at once do: one call each."""

    async def one(first: int) -> None:
        for n in range(first, count, WORKERS):
            await store.save_calls([finished(n, prefix="single-", strand=None)], now=NOW)

    await asyncio.gather(*(one(first) for first in range(WORKERS)))


async def work(store: SqliteStore, count: int) -> None:
    """32 workers, one delivery each at a time, without any sending in between."""
    left = count

    async def one() -> None:
        nonlocal left
        while left > 0:
            claims: Sequence[Claim] = await store.claim("crm", 1, now=NOW, order_patience=900)
            left -= len(claims)
            if claims:
                await store.settle([settlement(claim) for claim in claims])

    await asyncio.gather(*(one() for _ in range(WORKERS)))


async def work_in_batches(store: SqliteStore, count: int) -> None:
    """One loop which claims and settles 50 at a time."""
    while count > 0:
        claims = await store.claim("crm", 50, now=NOW, order_patience=900)
        await store.settle([settlement(claim) for claim in claims])
        count -= len(claims)


async def measure(folder: Path, count: int, waiting: int) -> None:
    path = folder / "outbox.db"
    store = SqliteStore.open(path, system="pbx")
    await fill(store, waiting)
    timings: dict[str, float] = {}
    steps = [
        ("save, pages of 100 calls", save),
        ("claim + settle, 32 workers, one each", work),
        ("save, 32 callers, one call each", save_singly),
        ("claim + settle, batches of 50", work_in_batches),
    ]
    for name, step in steps:
        begun = time.perf_counter()
        await step(store, count)
        timings[name] = time.perf_counter() - begun
    begun = time.perf_counter()
    for _ in range(200):
        await store.next_due("crm")
    timings["next_due, 200 times"] = time.perf_counter() - begun
    if mistakes := await store.check():
        raise SystemExit(f"the store is wrong: {mistakes}")
    await store.aclose()
    for name, seconds in timings.items():
        show(name, count / seconds if "200 times" not in name else 200 / seconds)
    pages, workers = timings["save, pages of 100 calls"], timings["claim + settle, 32 workers, one each"]
    show("save → claim → settle", count / (pages + workers))
    print(f"{'bytes of file per delivery':40} {path.stat().st_size / (2 * count + waiting):10,.0f}")


def show(name: str, found: float) -> None:
    target = TARGETS.get(name)
    goal = "" if target is None else f" (target: {target:,}/s){'' if found >= target else '  MISSED'}"
    print(f"{name:40} {found:10,.0f}/s{goal}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=20_000)
    parser.add_argument("--waiting", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the store is made; its disk is what is measured")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, synchronous=FULL")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        asyncio.run(measure(Path(folder), options.deliveries, options.waiting))


if __name__ == "__main__":
    main()
