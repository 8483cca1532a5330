"""The use cases shared by the API and the command line."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence

import msgspec
import structlog

from celreplay.cel.grouping import Group
from celreplay.clock import Clock
from celreplay.errors import BadRequestError, CelreplayError
from celreplay.health import Health
from celreplay.lookup import groups_of_ids
from celreplay.pace import Pace, Progress
from celreplay.period import Period
from celreplay.replay import Replayer
from celreplay.sources.base import CelSource
from celreplay.store.base import Force, Hold, Queueing, Replay, ReplayState, Store
from celreplay.times import Instant

LOOK_UP_PATIENCE = 5.0
"""Seconds a request waits for the look-up of its ids; a slower one goes on as a replay."""
BEFORE_LIVE_READING = "period before live reading"
"""What `Store.once` remembers of the refusal of the first period before live reading."""
_log = structlog.get_logger(__name__)
_NAMED = 3  # ids in one line of the log
_ENDED = (ReplayState.DONE, ReplayState.CANCELLED, ReplayState.FAILED)


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Calls to process again: named ids, or a period."""

    ids: tuple[str, ...] = ()
    period: Period | None = None
    force: Force | None = None
    """None: ids named one by one are sent again, a period sends what has not been delivered."""
    dry_run: bool = False
    connector: str | None = None
    mark_delivered: bool = False
    requested_by: str


class ReplayView(msgspec.Struct, frozen=True, kw_only=True):
    """A replay as its requester sees it. `replay.id` 0: none of the ids is known, and nothing happened."""

    replay: Replay
    items: Sequence[Queueing] = ()
    """Call by call, for named ids and dry runs."""
    holds: Mapping[str, Hold] = {}
    """Connectors on hold at which deliveries of it wait."""
    progress: Progress = Progress()


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """`ok` is false while something keeps calls from reaching the CRM."""

    ok: bool
    problems: tuple[str, ...]


class Services:
    """What one can ask celreplay for."""

    def __init__(
        self,
        *,
        source: CelSource,
        store: Store,
        replayer: Replayer,
        connectors: Collection[str],
        health: Health,
        clock: Clock,
    ) -> None:
        self._source = source
        self._store = store
        self._replayer = replayer
        self._connectors = connectors
        self._health = health
        self._clock = clock
        self._pace = Pace()
        self._going_on: set[asyncio.Task[None]] = set()

    async def request_replay(self, request: ReplayRequest) -> ReplayView:
        """Take a request. A period is answered at once; ids are looked up and queued first, unless that
        takes long. Raises BadRequestError, SourceError, StoreError: nothing has happened then."""
        self._check(request)
        await self._refuse_the_first_past(request)
        replay = self._replay_of(request)
        if not request.ids:
            return await self._added(replay)
        look_up = asyncio.create_task(groups_of_ids(self._source, request.ids), name="look-up")
        done, _ = await asyncio.wait({look_up}, timeout=LOOK_UP_PATIENCE)
        if not done:
            look_up.cancel()
            return await self._added(replay)
        groups = look_up.result()
        if not groups:
            return ReplayView(replay=msgspec.structs.replace(replay, not_found=request.ids))
        return await self._queued_now(replay, groups)

    async def replay(self, replay_id: int) -> ReplayView | None:
        """A replay as it stands."""
        replay = await self._store.replay(replay_id)
        if replay is None:
            return None
        items = await self._store.replay_items(replay_id) if replay.ids or replay.dry_run else ()
        holds = await self._store.holds_of_replay(replay_id) if replay.waiting else {}
        progress = self._pace.seen(replay, self._clock.now())
        if holds:
            progress = msgspec.structs.replace(progress, ends_at=None)
        return ReplayView(replay=replay, items=items, holds=holds, progress=progress)

    async def replays(self, limit: int = 100) -> Sequence[Replay]:
        """The latest replays, newest first."""
        return await self._store.replays(limit=limit)

    async def cancel(self, replay_id: int, *, by: str) -> ReplayView | None:
        """Stop a replay; what waits of it is taken off the outbox. `by`: who wants it, for the log."""
        replay = await self._store.replay(replay_id)
        if replay is None:
            return None
        if replay.state not in _ENDED:
            await self._store.set_replay_state(replay_id, ReplayState.CANCELLED, now=self._clock.now())
            _log.info("replay.cancelled", replay=replay_id, by=by)
        return await self.replay(replay_id)

    async def wait_for(self, replay_id: int, seconds: float) -> ReplayView | None:
        """The replay when it has ended, or as it stands after `seconds`."""
        until = self._clock.now() + seconds * 1_000_000
        while True:
            replay = await self._store.replay(replay_id)
            if replay is None or replay.state in _ENDED or self._clock.now() >= until:
                return await self.replay(replay_id)
            await self._clock.sleep(0.1)

    async def health(self) -> HealthReport:
        """Whether calls get from the CEL table to the CRM."""
        problems = [f"{part}: {text}" for part, text in self._health.problems.items()]
        damage = self._store.damage
        if damage is not None and "store" not in self._health.problems:
            problems.append(f"store: {damage}")
        try:
            holds = await self._store.holds()
        except CelreplayError as error:
            problems.append(f"store: {error}")
        else:
            problems += [f"connector {name} is on hold: {hold.reason}" for name, hold in holds.items()]
        return HealthReport(ok=not problems, problems=tuple(problems))

    def _check(self, request: ReplayRequest) -> None:
        if bool(request.ids) == (request.period is not None):
            raise BadRequestError("give ids or a period, not both", parameter="id")
        if request.connector is not None and request.connector not in self._connectors:
            known = ", ".join(sorted(self._connectors)) or "none is configured"
            raise BadRequestError(
                f"no connector {request.connector!r} (known: {known})", parameter="connector"
            )
        if not self._connectors:
            raise BadRequestError(
                "no connector is configured: there is nowhere to send calls to", code="no_connector"
            )
        if request.mark_delivered and request.force is not None:
            raise BadRequestError("mark_delivered sends nothing, so force has no meaning", parameter="force")

    async def _refuse_the_first_past(self, request: ReplayRequest) -> None:
        """The first period that reaches back before live reading began is refused, once: until then another
        connector may have sent its calls, and the CRM would have them twice."""
        if request.period is None or request.dry_run:
            return
        reading = await self._store.reading()
        if reading is not None and request.period.start >= reading.live_since:
            return
        first = await self._store.once(BEFORE_LIVE_READING, now=self._clock.now())
        if not first or request.mark_delivered or request.force not in (None, Force.NO):
            return
        since = f"began at {Instant(reading.live_since).iso()}" if reading else "has not begun"
        raise BadRequestError(
            f"this period reaches back before live reading, which {since}: another connector may have sent"
            " these calls to the CRM. Nothing was done. This is said once: the same request goes on now, and"
            " with mark_delivered it records the calls as delivered elsewhere instead of sending them",
            parameter="start_date",
            code="before_live_reading",
        )

    def _replay_of(self, request: ReplayRequest) -> Replay:
        usual = Force.YES if request.ids and not request.mark_delivered else Force.NO
        return Replay(
            requested_at=self._clock.now(),
            requested_by=request.requested_by,
            ids=request.ids,
            start=request.period.start if request.period else None,
            end=request.period.end if request.period else None,
            force=usual if request.force is None else request.force,
            connector=request.connector,
            dry_run=request.dry_run,
            mark_delivered=request.mark_delivered,
        )

    async def _added(self, replay: Replay) -> ReplayView:
        replay_id = await self._store.add_replay(replay)
        _tell(replay_id, replay)
        self._replayer.wake.set()
        return await self.replay(replay_id) or ReplayView(replay=replay)

    async def _queued_now(self, replay: Replay, groups: Sequence[Group]) -> ReplayView:
        """Queue looked-up calls before answering; a client that hangs up does not stop it half way. Where the
        store fails the replay goes on when it works again, and the answer is the replay as it stands."""
        replay_id = await self._store.add_replay(
            msgspec.structs.replace(replay, state=ReplayState.LOOKING_UP)
        )
        _tell(replay_id, replay)
        work = asyncio.create_task(
            self._replayer.work(msgspec.structs.replace(replay, id=replay_id), groups),
            name=f"replay-{replay_id}",
        )
        self._going_on.add(work)
        work.add_done_callback(self._going_on.discard)
        await asyncio.wait({work}, timeout=LOOK_UP_PATIENCE)
        return await self.replay(replay_id) or ReplayView(replay=replay)

    async def aclose(self) -> None:
        """Stop what goes on for requests; the store remembers it."""
        for task in self._going_on:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._going_on, return_exceptions=True)


def _tell(replay_id: int, replay: Replay) -> None:
    """Who asked for what: the journal is read when somebody wonders why a call was sent again."""
    _log.info(
        "replay.requested",
        replay=replay_id,
        by=replay.requested_by,
        ids=len(replay.ids),
        first_ids=list(replay.ids[:_NAMED]),
        start=None if replay.start is None else Instant(replay.start).iso(),
        end=None if replay.end is None else Instant(replay.end).iso(),
        force=replay.force.value,
        dry_run=replay.dry_run,
        mark_delivered=replay.mark_delivered,
        connector=replay.connector,
    )
