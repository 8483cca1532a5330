"""Following the CEL table: rows become finished calls in the store, position and all in one transaction."""

import asyncio
from bisect import bisect
from collections.abc import Sequence

import msgspec
import structlog

from celreplay.cel.events import EventType
from celreplay.cel.grouping import Group, Grouper, groups_of, is_from_before
from celreplay.cel.systems import SET_SYSTEMNAME, born_twice
from celreplay.clock import Clock, SteadyTime
from celreplay.errors import CelreplayError, StoreError
from celreplay.following.base import Page
from celreplay.following.follower import Follower
from celreplay.health import Health
from celreplay.intake import Intake, Wish
from celreplay.sources.base import CelSource, Position, Trace
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
        self._time = SteadyTime(clock)
        self._follower = Follower(source, clock)
        self._grouper = Grouper()
        self._finished: list[Group] = []
        self._headless: list[Group] = []
        self._unsaved = False
        self._live_since = 0
        self._started = False
        self._caught_up = False
        self.queued = asyncio.Event()
        """Set whenever deliveries were queued: the workers' hint."""

    @property
    def position(self) -> Position:
        """What has been read."""
        return self._follower.position

    @property
    def trace(self) -> Trace:
        """What finds that place again."""
        return self._follower.trace

    @property
    def open_calls(self) -> int:
        """Calls that have begun and not finished."""
        return len(self._grouper)

    @property
    def has_begun(self) -> bool:
        """The place in the table is known."""
        return self._started

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
                pause = min(_LONGEST_PAUSE, max(1.0, pause * 2))
            await first_of(stop.wait(), self._clock.sleep(pause))

    async def step(self) -> bool:
        """Read one page and store what it finished; True when the table had more than a page."""
        if not self._started:
            await self._begin()
        await self._store_taken()
        reached = self._follower.reached
        page = await self._follower.next(self._options.page)
        now = self._time.now()
        self._take_in(page, reached, now)
        self._caught_up = not page.more
        horizon = now if self._caught_up else min(self._follower.reached, now)
        finished = self._grouper.take_finished(
            now=horizon, grace=self._options.grace, stale_after=self._options.stale_after
        )
        self._finished = self._without_gap(finished, now) if self._caught_up else finished
        self._headless = self._grouper.take_headless(now=horizon, grace=self._options.grace)
        self._unsaved = bool(page.rows or self._finished or self._headless)
        await self._store_taken()
        return page.more

    def _take_in(self, page: Page, reached: int, now: int) -> None:
        """Add rows. Live ones were seen now, whatever the PBX's clock says; those of a time that is being
        caught up with were seen when they happened, so that calls of then end by the time of then."""
        if page.anew:
            self._grouper.begin_anew()
        for row in page.rows:
            then = max(row.eventtime, reached)
            self._grouper.add(row, now if self._caught_up else min(then, now))

    def _without_gap(self, groups: Sequence[Group], now: int) -> list[Group]:
        """Those in which no row may be missing. What is read after a start has had its grace by its time; but
        where an id between a call's rows has only just been found missing, the call gets it once more."""
        missing = self._follower.just_missing(self._options.grace)
        whole = []
        for group in groups:
            ids = [row.id for row in group.events if row.id is not None]
            at = bisect(missing, min(ids)) if ids else 0
            if not ids or at == len(missing) or missing[at] > max(ids):
                whole.append(group)
                continue
            for row in group.events:
                self._grouper.add(row, now)
        return whole

    async def _store_taken(self) -> None:
        """Where a database is away, what was taken waits, and nothing more is read until it is stored."""
        if self._unsaved:
            await self._save(await self._whole(self._finished, self._headless))
            self._finished, self._headless, self._unsaved = [], [], False

    async def _save(self, groups: Sequence[Group]) -> None:
        now = self._clock.now()
        reading = Reading(
            position=self._follower.position,
            trace=self._follower.trace,
            open_keys=self._grouper.open_keys(),
            live_since=self._live_since,
        )
        for group in groups:
            if twice := born_twice(group.events):
                _log.warning("tail.two_systems", uniqueids=twice[:4], hint=SET_SYSTEMNAME)
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
            self._follower.resume(reading.position, reading.trace)
            await self._reopen(reading.open_keys)
        self._started = True

    async def _first_start(self) -> None:
        start = self._options.start
        if start is None:
            await self._follower.begin_now()
        else:
            await self._follower.begin_at(start)
        self._live_since = self._clock.now() if start is None else start
        await self._save([])
        _log.info("tail.first_start", position=self.position.id, start=start)

    async def _reopen(self, keys: frozenset[str]) -> None:
        for row in await self._source.rows_of(keys) if keys else ():
            self._grouper.add(row, min(row.eventtime, self._time.now()))

    async def _whole(self, finished: Sequence[Group], headless: Sequence[Group]) -> list[Group]:
        """The finished groups with all of their rows: one that lacks a call's beginning is read again by its
        keys (its head was written before we began, or it holds late rows of a call that has finished before).
        What turns out to go on stays open."""
        whole = [group for group in finished if _has_heads(group)]
        cut = [group for group in finished if not _has_heads(group)]
        if cut or headless:
            again = [*cut, *headless]
            rows = await self._source.rows_of(frozenset().union(*(group.keys for group in again)))
            gone = [row for group in again for row in group.events if is_from_before(row)]
            stale = {key for group in cut if not group.ended for key in group.keys}
            for group in groups_of([*gone, *rows]):
                if group.ended or not group.keys.isdisjoint(stale):
                    whole.append(group)
                else:
                    for row in group.events:
                        self._grouper.add(row, self._time.now(), whole=True)
        return whole

    def _away(self, error: CelreplayError) -> None:
        part = "store" if isinstance(error, StoreError) else "cel"
        if self._health.problem(part, str(error)):
            _log.warning("tail.paused", part=part, error=str(error))

    def _back_again(self) -> None:
        if self._health.well("cel") | self._health.well("store"):
            _log.info("tail.goes_on", position=self.position.id)


def _has_heads(group: Group) -> bool:
    """True when every linkedid of the group has the first row of its originating channel."""
    begun = {row.uniqueid for row in group.events if row.eventtype == EventType.CHAN_START}
    return all(row.linkedid in begun for row in group.events)
