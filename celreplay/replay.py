"""Processing again: replays are durable jobs that queue the calls they find."""

import asyncio
import contextlib
from collections.abc import Sequence

import msgspec
import structlog

from celreplay.cel.grouping import Group
from celreplay.clock import Clock
from celreplay.errors import CelreplayError, SourceUnavailableError, StoreError
from celreplay.intake import Intake, Wish
from celreplay.lookup import Settled, groups_between, groups_of_ids
from celreplay.period import Period
from celreplay.sources.base import CelSource, Position
from celreplay.store.base import Lane, Replay, ReplayState, ReplayStep, Store
from celreplay.waiting import first_of

_log = structlog.get_logger(__name__)

_LONGEST_PAUSE = 30.0
_AT_ONCE = 100
"""Replays that are worked on side by side."""
_LOOKED_AT = 10_000
_PAGES_AT_ONCE = 4
"""Pages of them: whoever waited longest has the next one, so that a long replay holds up no short one."""


class Replayer:
    """Works on the replays that the store holds, side by side; goes on with them after a restart."""

    def __init__(
        self, source: CelSource, store: Store, intake: Intake, clock: Clock, settled: Settled
    ) -> None:
        self._source = source
        self._store = store
        self._intake = intake
        self._clock = clock
        self._settled = settled
        self._working: dict[int, asyncio.Task[None]] = {}
        self._orphans: set[int] = set()
        self._turn = asyncio.Semaphore(_PAGES_AT_ONCE)
        self.wake = asyncio.Event()
        """Set when a replay was added."""
        self.queued = asyncio.Event()
        """Set whenever deliveries were queued: the workers' hint."""

    async def run(self, stop: asyncio.Event) -> None:
        """Take up what waits, until `stop`; what is under way then goes on at the next start."""
        try:
            while not stop.is_set():
                self.wake.clear()
                await self._take_up()
                await first_of(stop.wait(), self.wake.wait(), self._clock.sleep(1.0))
        finally:
            for task in self._working.values():
                task.cancel()
            await asyncio.gather(*self._working.values(), return_exceptions=True)

    async def adopt(self) -> None:
        """At the start of whoever owns the store: `run` goes on with what another process had begun."""
        waiting = await self._store.replays(unfinished=True, limit=_LOOKED_AT)
        self._orphans = {replay.id for replay in waiting if replay.state is ReplayState.LOOKING_UP}

    async def _take_up(self) -> None:
        self._working = {id_: task for id_, task in self._working.items() if not task.done()}
        try:
            waiting = await self._store.replays(unfinished=True, limit=_LOOKED_AT)
        except CelreplayError as error:
            _log.warning("replay.store_unavailable", error=str(error))
            return
        for replay in waiting:
            is_ours = replay.state is ReplayState.REQUESTED or replay.id in self._orphans
            if not is_ours or replay.id in self._working:
                continue
            if len(self._working) >= _AT_ONCE:
                return
            self._orphans.discard(replay.id)
            self._working[replay.id] = asyncio.create_task(self.work(replay), name=f"replay-{replay.id}")

    async def work(self, replay: Replay, found: Sequence[Group] | None = None) -> None:
        """Queue the calls of one replay; its database and the store are waited for, other troubles end it
        with a reason. `found`: the groups of its ids, where they have been looked up already."""
        pause = 1.0
        while True:
            try:
                replay = await self._store.replay(replay.id) or replay
                await self._store.set_replay_state(replay.id, ReplayState.LOOKING_UP, now=self._clock.now())
                await (self._ids(replay, found) if replay.ids else self._period(replay))
                await self._move_on(replay)
                return
            except (SourceUnavailableError, StoreError) as error:
                what = "store" if isinstance(error, StoreError) else "cel"
                _log.warning(f"replay.waits_for_{what}", replay=replay.id, error=str(error))
                await self._clock.sleep(pause)
                pause = min(_LONGEST_PAUSE, pause * 2)
            except CelreplayError as error:
                await self._fail(replay, str(error))
                return
            except Exception as error:  # noqa: BLE001  the boundary of a task: logged, and the replay says so
                _log.exception("replay.failed", replay=replay.id)
                await self._fail(replay, f"a fault of celreplay's own: {type(error).__name__} (see the log)")
                return

    async def _move_on(self, replay: Replay) -> None:
        current = await self._store.replay(replay.id)
        if current is not None and current.state is ReplayState.LOOKING_UP:
            await self._store.set_replay_state(replay.id, ReplayState.DELIVERING, now=self._clock.now())

    async def _fail(self, replay: Replay, reason: str) -> None:
        try:
            await self._store.set_replay_state(
                replay.id, ReplayState.FAILED, now=self._clock.now(), error=reason
            )
        except CelreplayError as error:
            _log.warning("replay.store_unavailable", replay=replay.id, error=str(error))

    async def _period(self, replay: Replay) -> None:
        period = Period(start=replay.start or 0, end=replay.end or replay.requested_at)
        now = self._clock.now()
        pages = groups_between(self._source, period, now=now, settled=self._settled, after=replay.cursor)
        async with contextlib.aclosing(pages):
            while True:
                async with self._turn:
                    page = await anext(pages, None)
                    if page is None:
                        return
                    step = ReplayStep(replay_id=replay.id, cursor=page.cursor)
                    if not await self._queue(replay, page.groups, step):
                        return

    async def _ids(self, replay: Replay, found: Sequence[Group] | None) -> None:
        if replay.cursor is not None:  # it died after its only step
            return
        groups = await groups_of_ids(self._source, replay.ids) if found is None else found
        now = self._clock.now()
        open_ = [group for group in groups if not self._settled.is_finished(group, now)]
        known = frozenset().union(*(group.keys for group in groups))
        step = ReplayStep(
            replay_id=replay.id,
            cursor=Position(eventtime=now),
            not_found=tuple(id_ for id_ in replay.ids if id_ not in known),
            in_progress=tuple(sorted({group.events[0].linkedid for group in open_})),
        )
        await self._queue(replay, [group for group in groups if group not in open_], step)

    async def _queue(self, replay: Replay, groups: Sequence[Group], step: ReplayStep) -> bool:
        """Store one page; False when the replay was cancelled meanwhile."""
        current = await self._store.replay(replay.id)
        if current is None or current.state is not ReplayState.LOOKING_UP:
            return False
        now = self._clock.now()
        calls = self._intake.finished(groups, _wish(replay), now)
        step = msgspec.structs.replace(step, found=len(calls))
        await self._store.save_calls(calls, now=now, step=step)
        self.queued.set()
        return True


def _wish(replay: Replay) -> Wish:
    return Wish(
        lane=Lane.REPLAY,
        force=replay.force,
        connector=replay.connector,
        mark_delivered=replay.mark_delivered,
        requeue_dead=True,
    )
