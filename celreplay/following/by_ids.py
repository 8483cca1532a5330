"""Going on behind the highest id read: what a table with ids is followed by."""

from collections.abc import Sequence
from enum import Enum, auto

from celreplay.cel.events import CelEvent
from celreplay.following.base import Page, name_of
from celreplay.following.gaps import Gaps
from celreplay.sources.base import CelSource, Position
from celreplay.times import SECOND

SLACK = 2 * 3600 * SECOND
"""Rows lie no further out of the order of their times: a database stood still, a clock went back an hour."""
_LOOK_BELOW_EVERY = 60 * SECOND
_LATER = 60 * SECOND


class Lost(Enum):
    """Why ids no longer tell what is new."""

    GONE = auto()
    """The last row read is gone, or another has its id: emptied, rotated, purged, put back from a backup."""
    BELOW = auto()
    """New rows have ids below all others: the sequence was set back."""


class ByIds:
    """The last row read is asked for again with every page, and so are ids that are missing behind it."""

    def __init__(
        self, source: CelSource, position: Position, *, last_row: str = "", anchored: bool, gap: int | None
    ) -> None:
        self._source = source
        self.position = position
        self.last_row = last_row
        """`name_of` the row at the position; empty where that is not known."""
        self._anchored = anchored
        """The row at the position was there."""
        self._stored_gap = gap
        self._gaps = Gaps()
        self._lowest: CelEvent | None = None
        self._look_below_at = 0

    @property
    def gap(self) -> int | None:
        """The lowest missing id that may still come; a start goes back to it."""
        return self._gaps.lowest if self._stored_gap is None else self._stored_gap

    def missing_since(self, moment: int) -> list[int]:
        """Ids that were noticed to be missing after `moment`, of the clock that never jumps."""
        return self._gaps.missing_since(moment)

    async def next(self, limit: int, *, ticks: int, reached: int) -> Page | Lost:
        """Up to `limit` new rows and those that came late. Nothing is taken where this raises.

        `ticks`: a clock that never jumps; `reached`: the time of the table that has been read."""
        rows = await self._behind(limit)
        if rows is None:
            return Lost.GONE
        if self._stored_gap is not None:  # the row that makes sure is there: now go back
            self.position = Position(self._stored_gap - 1, self.position.eventtime)
            self._anchored, self._stored_gap = False, None
            rows = await self._behind(limit) or ()
        more = len(rows) >= limit
        asked = [] if more else self._gaps.missing
        late = await self._source.rows_with_ids(asked) if asked else ()
        if not more and ticks >= self._look_below_at:
            if await self._some_are_below(reached):
                return Lost.BELOW
            self._look_below_at = ticks + _LOOK_BELOW_EVERY
        if asked:
            self._gaps.close(_ids(late), ticks)
        self._take(rows, ticks)
        return Page(rows=[*late, *rows], more=more)

    async def _behind(self, limit: int) -> Sequence[CelEvent] | None:
        """The rows behind the position; None where its own row is no longer there."""
        id_ = self.position.id
        if not self._anchored or id_ is None:
            return await self._source.rows_after(Position(id_), limit)
        rows = await self._source.rows_after(Position(id_ - 1), limit + 1)
        if not rows or rows[0].id != id_ or name_of(rows[0]) != (self.last_row or name_of(rows[0])):
            return None
        self.last_row = name_of(rows[0])
        return rows[1:]

    def _take(self, rows: Sequence[CelEvent], ticks: int) -> None:
        ids = _ids(rows)
        if not ids:
            return
        last = self.position.id
        self._gaps.pass_over(ids[0] if last is None else last, ids, ticks)
        self.position = Position(ids[-1], rows[-1].eventtime)
        self.last_row = name_of(rows[-1])
        self._anchored = True

    async def _some_are_below(self, reached: int) -> bool:
        """True where a new row has an id as low as the lowest: no query for later rows would find it."""
        rows = await self._source.rows_after(Position(), 2)
        before, self._lowest = self._lowest, rows[0] if rows else None
        most, since = self.position.id, max(reached, self.position.eventtime) + _LATER
        if before is not None:
            most, since = before.id, reached - SLACK
        return most is not None and any(
            row.id is not None and row.id <= most and row != before and row.eventtime > since for row in rows
        )


def _ids(rows: Sequence[CelEvent]) -> list[int]:
    return [row.id for row in rows if row.id is not None]
