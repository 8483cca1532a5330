"""Rows for benchmarks: the captured calls of the demo, one after the other, as often as asked for."""

from collections.abc import Iterator

from celreplay.demo.data import COLUMNS, captured_calls

APART = 20
"""Seconds from call to call."""


def rows(calls: int, start: float) -> Iterator[dict[str, str]]:
    """The rows of so many calls, the first of which begins at `start`, in the order of writing."""
    captured = captured_calls()
    for number in range(calls):
        call = captured[number % len(captured)].beginning_at(start + number * APART)
        for row in call.rows:
            yield dict(zip(COLUMNS, row, strict=True))
