"""Following the CEL table: rows become finished calls in the store, position and all in one transaction."""

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from celreplay.cel.events import CelEvent, EventType
from celreplay.cel.grouping import Group, Grouper, groups_of
from celreplay.clock import Clock
from celreplay.errors import CelreplayError, StoreError
from celreplay.health import Health
from celreplay.intake import Intake, Wish
from celreplay.sources.base import CelSource, Position
from celreplay.store.base import Queued, Reading, Store
from celreplay.waiting import first_of

_log = structlog.get_logger(__name__)

_LONGEST_PAUSE = 30.0


class TailOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the table is followed; durations in seconds."""

    poll_interval: float = 1.0
    grace: float = 3.0
    stale_after: float = 28_800.0
    page: int = 2_000
    """Rows read at once: some 40 ms of work, after which other tasks have their turn."""
    start: int | None = None
    """Where the first start begins, microseconds UTC; None = now."""


class Tail:
    """Reads on from the stored position for as long as it runs."""

    def __init__(
        self,
        source: CelSource,
        store: Store,
        intake: Intake,
        clock: Clock,
        health: Health,
        options: TailOptions,
    ) -> None:
        self._source = source
        self._store = store
        self._intake = intake
        self._clock = clock
        self._health = health
        self._options = options
        self._grouper = Grouper()
        self._position = Position()
        self._live_since = 0
        self._started = False
        self._caught_up = False
        self._frontier = 0
        self._anchored = False
        self.queued = asyncio.Event()
        """Set whenever deliveries were queued: the workers' hint."""

    @property
    def position(self) -> Position:
        """What has been read and stored."""
        return self._position

    @property
    def open_calls(self) -> int:
        """Calls that have begun and not finished."""
        return len(self._grouper)

    async def begin(self) -> None:
        """Find the place before anything else happens: a call that ends from now on is ours. Where the
        database is away, `run` tries again."""
        try:
            await self._begin()
        except CelreplayError as error:
            self._away(error)

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the table until `stop`. A database that is away is waited for; nothing else ends this."""
        pause = self._options.poll_interval
        while not stop.is_set():
            try:
                more = await self.step()
                self._back_again()
                pause = 0.0 if more else self._options.poll_interval
            except CelreplayError as error:
                self._away(error)
                self._started = False  # what was read but not stored is read again
                pause = min(_LONGEST_PAUSE, max(1.0, pause * 2))
            await first_of(stop.wait(), self._clock.sleep(pause))

    async def step(self) -> bool:
        """Read one page and store what it finished; True when the table had more than a page."""
        if not self._started:
            await self._begin()
        rows = await self._next_rows()
        now = self._clock.now()
        more = len(rows) >= self._options.page
        self._take_in(rows, now)
        self._caught_up = not more
        horizon = now if self._caught_up else min(self._frontier, now)
        finished = self._grouper.take_finished(
            now=horizon, grace=self._options.grace, stale_after=self._options.stale_after
        )
        headless = self._grouper.take_headless(now=horizon, grace=self._options.grace)
        if rows or finished or headless:
            await self._save(await self._whole(finished, headless))
        return more

    async def _next_rows(self) -> Sequence[CelEvent]:
        """The rows behind the position, the last row read being asked for again: where it is gone, or
        another has its id, the table was emptied or put back from a backup, and its ids say nothing."""
        position, page = self._position, self._options.page
        if not self._anchored or position.id is None:
            return await self._source.rows_after(position, page)
        before = Position(id=position.id - 1, eventtime=position.eventtime)
        rows = await self._source.rows_after(before, page + 1)
        if rows and rows[0].id == position.id and rows[0].eventtime <= position.eventtime:
            return rows[1:]
        self._position = await self._source.position_before(position.eventtime)
        self._anchored = False
        _log.warning("tail.ids_started_anew", position=position.id, goes_on_at=self._position.id)
        return await self._source.rows_after(self._position, page)

    def _take_in(self, rows: Sequence[CelEvent], now: int) -> None:
        """Add rows. Live ones were seen now, whatever the PBX's clock says; those of a time that is being
        caught up with were seen when they happened, so that calls of then end by the time of then."""
        for row in rows:
            self._frontier = max(self._frontier, row.eventtime)
            self._grouper.add(row, now if self._caught_up else min(row.eventtime, now))
        if rows:
            self._position = Position(id=rows[-1].id, eventtime=self._frontier)
            self._anchored = True

    async def _save(self, groups: Sequence[Group]) -> None:
        now = self._clock.now()
        reading = Reading(
            position=self._position, open_keys=self._grouper.open_keys(), live_since=self._live_since
        )
        calls = self._intake.finished(groups, Wish(), now)
        results = await self._store.save_calls(calls, now=now, reading=reading)
        for result in results:
            if result.result in (Queued.CHANGED, Queued.UPDATED):
                names = {"linkedid": result.linkedid, "connector": result.connector}
                _log.warning("tail.call_changed", **names, reason=result.reason)
        if results:
            self.queued.set()

    async def _begin(self) -> None:
        """Find the place: the stored one with its open calls, or on the very first start the configured."""
        reading = await self._store.reading()
        self._grouper = Grouper()
        self._caught_up = False
        if reading is None:
            await self._first_start()
        else:
            self._live_since = reading.live_since
            self._position = reading.position
            self._frontier = reading.position.eventtime
            self._anchored = True
            await self._reopen(reading.open_keys)
        self._started = True

    async def _first_start(self) -> None:
        now = self._clock.now()
        if self._options.start is None:
            self._position = (await self._source.describe()).last
        else:
            self._position = await self._source.position_before(self._options.start)
        self._frontier = self._position.eventtime
        self._live_since = now if self._options.start is None else self._options.start
        await self._store.save_calls(
            [], now=now, reading=Reading(position=self._position, live_since=self._live_since)
        )
        _log.info("tail.first_start", position=self._position.id, start=self._options.start)

    async def _reopen(self, keys: frozenset[str]) -> None:
        for row in await self._source.rows_of(keys) if keys else ():
            self._grouper.add(row, row.eventtime)

    async def _whole(self, finished: Sequence[Group], headless: Sequence[Group]) -> list[Group]:
        """The finished groups with all of their rows: one that lacks a call's beginning is read again by its
        keys (its head was written before we began, or it holds late rows of a call that has finished before).
        What turns out to go on stays open."""
        whole = [group for group in finished if _has_heads(group)]
        cut = [group for group in finished if not _has_heads(group)]
        if cut or headless:
            rows = await self._source.rows_of(frozenset().union(*(group.keys for group in [*cut, *headless])))
            stale = {key for group in cut if not group.ended for key in group.keys}
            for group in groups_of(rows):
                if group.ended or not group.keys.isdisjoint(stale):
                    whole.append(group)
                else:
                    for row in group.events:
                        self._grouper.add(row, self._clock.now(), whole=True)
        return whole

    def _away(self, error: CelreplayError) -> None:
        part = "store" if isinstance(error, StoreError) else "cel"
        if self._health.problem(part, str(error)):
            _log.warning("tail.paused", part=part, error=str(error))

    def _back_again(self) -> None:
        if self._health.well("cel") | self._health.well("store"):
            _log.info("tail.goes_on", position=self._position.id)


def _has_heads(group: Group) -> bool:
    """True when every linkedid of the group has the first row of its originating channel."""
    begun = {row.uniqueid for row in group.events if row.eventtype == EventType.CHAN_START}
    return all(row.linkedid in begun for row in group.events)
