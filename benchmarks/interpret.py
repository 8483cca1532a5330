"""Rows to Calls per second of CPU time on one core: Grouper and interpretation over the captures, repeated.

python benchmarks/interpret.py [REPETITIONS]
"""

import sys
import time
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from captures_io import cases, events_of

from celreplay.calls.interpret import calls_of
from celreplay.calls.numbering import PbxRules
from celreplay.cel.events import CelEvent
from celreplay.cel.grouping import Grouper

RULES = PbxRules(system="pbx")
PAGE = 1000


def repeated(events: list[CelEvent], times: int) -> list[CelEvent]:
    """The same calls again and again, each time under other ids."""
    return [
        msgspec.structs.replace(
            event,
            id=number * 1_000_000 + (event.id or 0),
            uniqueid=f"{number}-{event.uniqueid}",
            linkedid=f"{number}-{event.linkedid}",
        )
        for number in range(times)
        for event in events
    ]


def measure(name: str, rows: list[CelEvent]) -> None:
    """Feed the rows in pages, as the tail does, and print one line."""
    grouper, calls = Grouper(), 0
    began = time.process_time()
    for start in range(0, len(rows), PAGE):
        for event in rows[start : start + PAGE]:
            grouper.add(event, start)
        for group in grouper.take_finished(now=start, grace=0, stale_after=1e9):
            calls += len(calls_of(group.events, RULES))
    for group in grouper.take_all():
        calls += len(calls_of(group.events, RULES))
    seconds = time.process_time() - began
    rates = f"{len(rows) / seconds:,.0f} rows/s, {calls / seconds:,.0f} calls/s"
    print(f"{name}: {len(rows)} rows, {calls} calls, {rates}")


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    captures = [event for case in cases() for event in events_of(case, "sqlite")]
    measure("all captures", repeated(captures, times))
    measure("plain answered call", repeated(events_of("01-in-answered-1", "sqlite"), times * 150))


if __name__ == "__main__":
    main()
