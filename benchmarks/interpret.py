"""Rows to Calls per second of CPU time on one core: Grouper and interpretation over the captures, repeated.

Then the memory while as many calls as asked for are streamed: it does not grow with their number.

python benchmarks/interpret.py [REPETITIONS [CALLS]]
"""

import resource
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import count, islice
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from captures_io import cases, events_of

from celreplay.calls.interpret import calls_of
from celreplay.calls.model import Call
from celreplay.calls.numbering import PbxRules
from celreplay.cel.events import CelEvent
from celreplay.cel.grouping import Grouper

RULES = PbxRules(system="pbx")
PAGE = 1000
ONE_PAGE = 1e-6  # the pages are the clock, in microseconds


def renamed(event: CelEvent, number: int) -> CelEvent:
    """The row in the call of this number."""
    return msgspec.structs.replace(
        event,
        id=number * 1_000_000 + (event.id or 0),
        uniqueid=f"{number}-{event.uniqueid}",
        linkedid=f"{number}-{event.linkedid}",
    )


def repeated(events: list[CelEvent], times: int) -> Iterator[CelEvent]:
    """The same calls again and again, each time under other ids."""
    return (renamed(event, number) for number in range(times) for event in events)


def interpreted(rows: Iterable[CelEvent]) -> Iterator[Call]:
    """Feed the rows in pages, as the tail does, and give each call that has finished."""
    grouper, rest = Grouper(), iter(rows)
    for now in count():
        page = list(islice(rest, PAGE))
        for event in page:
            grouper.add(event, now)
        groups = (
            grouper.take_finished(now=now, grace=ONE_PAGE, stale_after=1e9) if page else grouper.take_all()
        )
        for group in groups:
            yield from calls_of(group.events, RULES)
        if not page:
            return


def measure(name: str, rows: list[CelEvent]) -> None:
    """Print one line."""
    began = time.process_time()
    calls = sum(1 for _ in interpreted(rows))
    seconds = time.process_time() - began
    rates = f"{len(rows) / seconds:,.0f} rows/s, {calls / seconds:,.0f} calls/s"
    print(f"{name}: {len(rows)} rows, {calls} calls, {rates}")


def measure_memory(events: list[CelEvent], calls: int) -> None:
    """Print the memory after a twentieth of the calls, and after all of them."""
    for done, _ in enumerate(interpreted(repeated(events, calls)), 1):
        if done in (calls // 20, calls):
            print(f"memory after {done} calls streamed: {resident() / 1e6:.1f} MB")


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    streamed = int(sys.argv[2]) if len(sys.argv) > 2 else 200_000
    plain = events_of("01-in-answered-1", "sqlite")
    short = [event for event in plain if not event.eventtype.startswith("APP_")]
    measure_memory(short, streamed)
    captures = [event for case in cases() for event in events_of(case, "sqlite")]
    measure("all captures", list(repeated(captures, times)))
    measure("plain answered call", list(repeated(plain, times * 150)))
    measure(f"answered call of {len(short)} rows", list(repeated(short, times * 150)))


if __name__ == "__main__":
    main()
