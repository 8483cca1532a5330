"""Rows for benchmarks: the captured calls of the demo, one after the other, as often as asked for.

Plain calls of up to 15 rows come four times as often as queues, groups and transfers: some 14 rows a call.
"""

from collections.abc import Iterator

from celreplay.demo.data import COLUMNS, captured_calls

_PLAIN_ROWS, _PLAIN_SHARE = 15, 4
APART = 20
"""Seconds from call to call."""


def rows(calls: int, start: float) -> Iterator[dict[str, str]]:
    """The rows of so many calls, the first of which begins at `start`, in the order of writing."""
    captured = [
        call for call in captured_calls() for _ in range(_PLAIN_SHARE if len(call.rows) <= _PLAIN_ROWS else 1)
    ]
    for number in range(calls):
        call = captured[number % len(captured)].beginning_at(start + number * APART)
        for row in call.rows:
            yield dict(zip(COLUMNS, row, strict=True))
