"""The seam of the CEL databases: reading rows, nothing else. One contract suite runs over all of them."""

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Protocol

import msgspec

from celreplay.cel.events import CelEvent


class Position(msgspec.Struct, frozen=True):
    """A place in the CEL table: every row at or before it has been read.

    `id` is the highest id read, `eventtime` (microseconds, UTC) that of its row; without ids, the latest.
    """

    id: int | None = None
    eventtime: int = 0


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """What finds a place again, beside its position: ids may count anew, rows come late."""

    last_row: str = ""
    """Event and channel of the row at the position; empty where there is none."""
    gap: int | None = None
    """The lowest id before the position whose row may still come."""
    reached: int = 0
    """The time of the table that has been read: of its rows, but never later than when they were read."""
    floor: int = 0
    """Not 0: the place was lost, and rows with an earlier eventtime are not new."""
    by_time: bool = False
    """The table is followed by eventtime."""


class TableDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What was found by looking at the table."""

    table: str
    columns: dict[str, str]
    """CEL's name → the column's name in this table. A field without a column is absent."""
    missing: tuple[str, ...] = ()
    """Fields that this table cannot hold, e.g. `extra`, `linkedid`, `id`."""
    indexed: tuple[str, ...] = ()
    """CEL's names of the columns that lead an index."""
    eventtime_form: str = ""
    """How times are written, for people: `epoch`, `local time (Europe/Moscow), whole seconds`, `UTC`, …"""
    oldest: int | None = None
    """eventtime of the row with the lowest id, microseconds UTC; None when the table is empty."""
    last: Position = Position()
    """The end of the table now."""


class LinkedidPage(msgspec.Struct, frozen=True, kw_only=True):
    """What one step through a period found."""

    linkedids: tuple[str, ...]
    """Distinct, in order of their first row in the page."""
    after: Position
    """The page holds the rows of the period behind this position …"""
    last: Position
    """… up to and including this one. Rows of one eventtime are never parted where the table has no id."""


class CelSource(Protocol):
    """A CEL table. Every method raises SourceUnavailableError (try later) or SourceError (repair first).

    Reading leaves nothing behind: no lock, no open transaction, no open statement; each statement is short,
    because a reader of an SQLite file that stays makes Asterisk drop rows.
    """

    async def describe(self) -> TableDescription:
        """Look at the table: columns, indexes, forms, its ends."""
        ...

    async def rows_after(self, position: Position, limit: int) -> Sequence[CelEvent]:
        """Up to `limit` rows after the position, in the order of writing (id; else as `rows_since`)."""
        ...

    async def rows_since(self, moment: int, limit: int) -> Sequence[CelEvent]:
        """At least `limit` rows, where there are so many, whose eventtime is later than `moment`, in its
        order. Rows of one eventtime are never parted, so that there may be more."""
        ...

    async def rows_with_ids(self, ids: Collection[int]) -> Sequence[CelEvent]:
        """The rows that have one of these ids, in their order. Nothing where the table has no id."""
        ...

    async def position_before(self, instant: int) -> Position:
        """A position before every row whose eventtime is `instant` or later.

        Found by bisection over the ids and set back so far that rows which came late are still behind it:
        rows before `instant` may follow it too.
        """
        ...

    def linkedids_between(
        self, start: int, end: int, after: Position | None = None
    ) -> AsyncIterator[LinkedidPage]:
        """The linkedids that have a row in [start, end), in pages in the order of writing, each read when
        the consumer asks for it; `after` goes on behind an earlier page's `last`. A linkedid comes again in
        every page that holds a row of it. What belongs to the period is what `happened_between` says."""
        ...

    async def rows_of(self, keys: Collection[str]) -> Sequence[CelEvent]:
        """All rows whose linkedid or uniqueid is among the keys, and the rows of what these rows name in
        turn, until nothing new appears. In the order of writing."""
        ...

    async def aclose(self) -> None:
        """Give back all connections."""
        ...
