"""Going on by eventtime: where a table has no id, or its ids went back."""

from collections.abc import Sequence

from celreplay.cel.events import CelEvent
from celreplay.following.base import Page
from celreplay.following.overlap import Overlap
from celreplay.sources.base import CelSource, Position
from celreplay.times import SECOND

WINDOW = 60 * SECOND
"""Rows that are written this late are still found."""
MOST = 4_000
"""Rows read again at most: in a busier minute the window is shorter."""
_HOUR = 3600 * SECOND


class ByTimes:
    """The last minute is read again with every page, and what was there is taken out."""

    def __init__(self, source: CelSource, position: Position) -> None:
        self._source = source
        self.position = position
        """The latest row read."""
        self.highest: int | None = None
        """The id of the latest row, where the table has ids and it is the highest of the last minute."""
        self._overlap = Overlap()
        self._low = 0
        self._clock_goes_back = False

    async def next(self, limit: int, *, reached: int, now: int) -> Page:
        """At least `limit` new rows where there are so many. Nothing is taken where this raises.

        `reached`: the time of the table that has been read; `now`: the wall clock's."""
        window = WINDOW + (_HOUR if self._clock_goes_back else 0)
        low = max(self._low, reached - window)
        if now < reached:  # the clock was set, and that of Asterisk's host perhaps with it
            low = min(low, now - window)
        size = limit + len(self._overlap)
        rows = await self._source.rows_since(low, size)
        new = self._overlap.new_among(rows)
        self._low = low
        self._look_back(rows)
        return Page(rows=new, more=len(rows) >= size)

    def _look_back(self, rows: Sequence[CelEvent]) -> None:
        if not rows:
            return
        latest = max(rows, key=lambda row: (row.eventtime, row.id or 0))
        if latest.eventtime > self.position.eventtime:
            self.position = Position(None, latest.eventtime)
        highest = max((row.id for row in rows if row.id is not None), default=None)
        self.highest = highest if highest == latest.id else None
        # local times of that hour are read as its first occurrence, an hour before the second is over
        self._clock_goes_back = any(row.ambiguous for row in rows)
        if len(rows) > MOST:
            self._low = max(self._low, rows[-MOST].eventtime - 1)
