"""Finding calls in the CEL table: those of a period, or of named ids, each with all of its rows."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence

import msgspec

from celreplay.cel.events import CelEvent, happened_between
from celreplay.cel.grouping import Group, Grouper, groups_of
from celreplay.errors import SourceError
from celreplay.period import Period
from celreplay.sources.base import CelSource, LinkedidPage, Position
from celreplay.times import SECOND

LONGEST_CALL = 8 * 3600 * SECOND
"""Where a table has no index on linkedid, rows are looked for this far before and behind a period."""
LATE_ROWS = 60 * SECOND
"""Rows written out of the order of their times lie no further apart than this (a stalled database)."""
PAGE = 2_000


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """When a call counts as finished; seconds."""

    grace: float = 3.0
    stale_after: float = 28_800.0

    def is_finished(self, group: Group, now: int) -> bool:
        """True for a group that has ended and had time for late rows, or that nobody will end any more.

        How long ago it ended cannot be told where the PBX's clock is ahead: then that it has is enough."""
        quiet = (now - max(row.eventtime for row in group.events)) / SECOND
        if group.ended:
            return quiet >= self.grace or quiet < 0
        return quiet >= self.stale_after


class GroupPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some finished calls of a period; after these, a replay may go on behind `cursor`."""

    groups: Sequence[Group]
    cursor: Position
    unfinished: Sequence[Group] = ()
    """Calls of the page that go on, or that nobody has ended yet: the tail brings them when they are over."""


async def groups_between(
    source: CelSource, period: Period, *, now: int, settled: Settled, after: Position | None = None
) -> AsyncGenerator[GroupPage, None]:
    """The finished calls that have a row in the period, each once, in constant memory.

    With an index on linkedid the ids of the period are paged and their rows looked up; without one the
    table is read once, from `LONGEST_CALL` before the period on.
    """
    description = await source.describe()
    keyed = {"linkedid", "uniqueid"} <= set(description.indexed)
    pages = (
        _keyed(source, period, now, settled, after)
        if keyed
        else _streamed(source, period, now, settled, after)
    )
    async for page in pages:
        yield page


async def groups_of_ids(source: CelSource, ids: Iterable[str]) -> list[Group]:
    """The groups that any of the ids (linkedid or uniqueid) belongs to."""
    return groups_of(await source.rows_of(frozenset(ids)))


async def _keyed(
    source: CelSource, period: Period, now: int, settled: Settled, after: Position | None
) -> AsyncIterator[GroupPage]:
    async for page in source.linkedids_between(period.start, period.end, after):
        groups = groups_of(await source.rows_of(page.linkedids))
        mine = [group for group in groups if _first_seen_in(group, page, period)]
        finished = [group for group in mine if settled.is_finished(group, now)]
        unfinished = [group for group in mine if not settled.is_finished(group, now)]
        yield GroupPage(groups=finished, cursor=page.last, unfinished=unfinished)


def _first_seen_in(group: Group, page: LinkedidPage, period: Period) -> bool:
    """A call comes again in every page that holds a row of it: it belongs to the first of them."""
    first = next((row for row in group.events if happened_between(row, period.start, period.end)), None)
    return first is not None and _is_behind(first, page.after)


def _is_behind(row: CelEvent, position: Position) -> bool:
    if row.id is not None and position.id is not None:
        return row.id > position.id
    return row.id is not None or row.eventtime > position.eventtime


async def _streamed(
    source: CelSource, period: Period, now: int, settled: Settled, after: Position | None
) -> AsyncIterator[GroupPage]:
    """One pass over the rows, in which a call is taken by the time reached, the `eventtime` of the cursor.
    Going on `after` one, the rows up to it are read anew, and what was taken of them is left out."""
    grouper = Grouper()
    position = await source.position_before(period.start - LONGEST_CALL)
    reached = 0
    if after is not None:
        position, reached = await _read_anew(source, grouper, position, after, period.end, settled)
    at_end = False
    while not at_end:
        rows = await source.rows_after(position, PAGE)
        reached = _add(grouper, rows, reached, period.end)
        position = Position(id=rows[-1].id, eventtime=reached) if rows else position
        at_end = (
            len(rows) < PAGE
            or reached >= period.end + LONGEST_CALL
            or (reached >= period.end + LATE_ROWS and not len(grouper))
        )
        horizon = now if at_end else min(reached, now)
        groups = [group for group in _take(grouper, horizon, settled) if _is_in(group, period)]
        yield GroupPage(
            groups=groups,
            cursor=Position(id=position.id, eventtime=horizon),
            unfinished=[group for group in grouper.take_all() if _is_in(group, period)] if at_end else (),
        )


async def _read_anew(
    source: CelSource, grouper: Grouper, position: Position, after: Position, end: int, settled: Settled
) -> tuple[Position, int]:
    """Read the rows up to the cursor once more: calls that were open there are in the grouper again. The
    position behind them, and the eventtime reached. No page is told: a cursor never goes back."""
    reached = 0
    while rows := await source.rows_after(position, PAGE):
        known = [row for row in rows if not _is_behind(row, after)]
        reached = _add(grouper, known, reached, end)
        if known:
            position = Position(id=known[-1].id, eventtime=reached)
        if len(known) < len(rows):
            break
        _take(grouper, min(reached, after.eventtime), settled)
    _take(grouper, after.eventtime, settled)
    if not rows and position.id is not None and position.id < (after.id or 0):
        raise SourceError(
            f"the CEL table was emptied or counts anew: it ended at row {after.id}, now at {position.id}",
            hint="ask for the rest of the period again",
        )
    return position, reached


def _take(grouper: Grouper, horizon: int, settled: Settled) -> Sequence[Group]:
    return grouper.take_finished(now=horizon, grace=settled.grace, stale_after=settled.stale_after)


def _add(grouper: Grouper, rows: Sequence[CelEvent], reached: int, end: int) -> int:
    """Add rows; well behind the period only those of calls that are open. The eventtime reached."""
    known: set[str] | None = None
    for row in rows:
        reached = max(reached, row.eventtime)
        if reached >= end + LATE_ROWS:
            known = set(grouper.open_keys()) if known is None else known
            if known.isdisjoint((row.linkedid, row.uniqueid)):
                continue
            known.update((row.linkedid, row.uniqueid))
        grouper.add(row, row.eventtime)
    return reached


def _is_in(group: Group, period: Period) -> bool:
    return any(happened_between(row, period.start, period.end) for row in group.events)
