"""Knowing the place in the table: each new row is given once, and the place found again where it is lost."""

from collections.abc import Sequence
from itertools import pairwise, starmap

import msgspec
import structlog

from celreplay.cel.events import CelEvent, happened_between
from celreplay.clock import Clock
from celreplay.following.base import Page
from celreplay.following.by_ids import SLACK, ByIds, Lost
from celreplay.following.by_times import ByTimes
from celreplay.sources.base import CelSource, Position, Trace
from celreplay.times import FOREVER, SECOND, Instant

_log = structlog.get_logger(__name__)

_COMPARE_EVERY = 60 * SECOND
_CLOCKS_APART = 60 * SECOND
_SET_THE_SEQUENCE = "reading goes on by eventtime; set the table's sequence behind its highest id"


class Follower:
    """Follows one table from a place that it was given. What it has given it does not give again: whoever
    cannot store it keeps it."""

    def __init__(self, source: CelSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._way: ByIds | ByTimes = ByTimes(source, Position())
        self._reached = 0
        self._before = 0
        self._floor = 0
        self._passed_over = 0
        self._anew = False
        self._waits_for_rows = False
        self._clock_is_ahead = False
        self._compare_at = 0

    @property
    def position(self) -> Position:
        """The last row read."""
        return self._way.position

    @property
    def reached(self) -> int:
        """The time of the table that has been read, never later than now: two rows in a row have it, so that
        one whose clock was wrong does not count."""
        return self._reached

    @property
    def trace(self) -> Trace:
        """What finds the place again."""
        trace = Trace(reached=self._reached, floor=self._floor, by_time=isinstance(self._way, ByTimes))
        if isinstance(self._way, ByIds):
            return msgspec.structs.replace(trace, last_row=self._way.last_row, gap=self._way.gap)
        return trace

    def just_missing(self, seconds: float) -> Sequence[int]:
        """Ids that have been missing for less than this: their rows may be on their way."""
        if isinstance(self._way, ByTimes):
            return ()
        return self._way.missing_since(self._clock.monotonic() - round(seconds * SECOND))

    async def begin_now(self) -> None:
        """Only what is written from now on is new."""
        description = await self._source.describe()
        self._before = description.last.eventtime
        self._reach(self._before)
        if "id" in description.columns:
            self._way = ByIds(self._source, description.last, anchored=True, gap=None)
            return
        self._way = ByTimes(self._source, description.last)
        now = self._clock.now()
        while (await self._way.next(10_000, reached=self._reached, now=now)).more:
            pass

    async def begin_at(self, start: int) -> None:
        """What has an eventtime of `start` or later is new."""
        position = await self._source.position_before(start)
        ids = "id" in (await self._source.describe()).columns
        self._way = self._by_ids_from(position) if ids else ByTimes(self._source, position)
        self._reach(start)
        self._floor = start

    def resume(self, position: Position, trace: Trace) -> None:
        """Go on where an earlier one was."""
        self._reached = self._before = trace.reached or position.eventtime
        self._floor = trace.floor
        if trace.by_time or (position.id is None and position.eventtime):
            self._way = ByTimes(self._source, position)
        else:
            self._way = ByIds(self._source, position, last_row=trace.last_row, anchored=True, gap=trace.gap)

    async def next(self, limit: int) -> Page:
        """New rows, about `limit` of them, in the order of writing as far as it is known."""
        way, ticks = self._way, self._clock.monotonic()
        if isinstance(way, ByTimes):
            page = await way.next(limit, reached=self._reached, now=self._clock.now())
            await self._compare_with_ids(way, page, ticks)
            return self._looked_at(page)
        page_or_lost = await way.next(limit, ticks=ticks, reached=self._reached)
        if isinstance(page_or_lost, Page):
            return self._looked_at(page_or_lost)
        if await self._find_again(way, page_or_lost):
            return await self.next(limit)
        return Page(rows=(), more=False)

    def _looked_at(self, page: Page) -> Page:
        now = self._clock.now()
        if page.rows:
            times = [self._before, *(row.eventtime for row in page.rows)]
            self._reach(max(starmap(min, pairwise(times))))
            self._before = times[-1]
        rows = self._young_enough(page)
        self._tell_of_clocks(rows, now)
        anew, self._anew = self._anew, False
        return Page(rows=rows, more=page.more, anew=anew)

    def _reach(self, moment: int) -> None:
        self._reached = max(self._reached, min(moment, self._clock.now()))

    def _young_enough(self, page: Page) -> Sequence[CelEvent]:
        """Without the rows of a time before the place that was lost: a backup may be filled in."""
        if not self._floor:
            return page.rows
        rows = [row for row in page.rows if happened_between(row, self._floor, FOREVER)]
        self._passed_over += len(page.rows) - len(rows)
        if rows and not page.more:
            if self._passed_over:
                older_than = Instant(self._floor).iso()
                _log.warning("tail.rows_passed_over", count=self._passed_over, older_than=older_than)
            self._floor = self._passed_over = 0
        return rows

    def _tell_of_clocks(self, rows: Sequence[CelEvent], now: int) -> None:
        latest = max((row.eventtime for row in rows), default=now)
        ahead = latest > now + _CLOCKS_APART
        if ahead and not self._clock_is_ahead:
            _log.warning(
                "tail.eventtime_in_the_future",
                seconds=(latest - now) // SECOND,
                hint="compare the clocks of Asterisk's host and of this one, and pbx.timezone",
            )
        if rows:
            self._clock_is_ahead = ahead

    async def _find_again(self, way: ByIds, lost: Lost) -> bool:
        """The place is lost: go on by the time reached, or behind it where only older rows are gone. False
        while the table is empty: it may have been emptied, and where its ids go on is not known."""
        lowest = await self._source.rows_after(Position(), 1)
        if not lowest:
            if not self._waits_for_rows:
                _log.warning("tail.table_is_empty", position=way.position.id)
            self._waits_for_rows = True
            return False
        ids = "id" in (await self._source.describe()).columns
        before, first = way.position.id, lowest[0].id
        if lost is Lost.BELOW or not ids:
            _log.warning("tail.ids_went_back", position=before, lowest=first, hint=_SET_THE_SEQUENCE)
            self._way, self._anew = ByTimes(self._source, Position(None, self._reached)), True
        elif before is not None and first is not None and first > before:
            _log.warning("tail.rows_purged", position=before, goes_on_at=first)
            self._way = self._by_ids_from(way.position)
        else:
            position = await self._source.position_before(self._reached)
            _log.warning("tail.ids_started_anew", position=before, goes_on_at=position.id)
            self._way, self._anew = self._by_ids_from(position), True
        self._floor = max(self._floor, min(self._reached, self._clock.now()) - SLACK)
        self._waits_for_rows = False
        return True

    def _by_ids_from(self, position: Position) -> ByIds:
        return ByIds(self._source, position, anchored=False, gap=None)

    async def _compare_with_ids(self, way: ByTimes, page: Page, ticks: int) -> None:
        """A table may get an id, or its sequence be repaired: then go by ids again."""
        if page.more or page.rows or ticks < self._compare_at:
            return
        self._compare_at = ticks + _COMPARE_EVERY
        last = (await self._source.describe()).last
        if last.id is not None and last.id == way.highest:
            self._way = ByIds(self._source, last, anchored=True, gap=None)
            _log.info("tail.goes_by_ids", position=last.id)
