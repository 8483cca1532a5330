"""The daemon's life: start, background tasks, orderly end; and the same work for one replay."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import structlog

from celreplay import __version__
from celreplay.api.app import make_app
from celreplay.api.connections import Gate
from celreplay.api.digest import DigestAuth
from celreplay.api.server import served
from celreplay.config import Config
from celreplay.parts import Parts, own, parts_of, store_path
from celreplay.services import ReplayRequest, ReplayView
from celreplay.store.ownership import Ownership
from celreplay.systemd import notify, watchdog_seconds
from celreplay.waiting import first_of
from celreplay.zone import zone_named

_WATCH_EVERY = 0.2
_FIRST_LOOK = 5.0
"""Seconds: a start does not wait longer for a database that does not answer."""

_log = structlog.get_logger(__name__)


async def serve(config: Config, stop: asyncio.Event, *, rename: bool = False) -> None:
    """Run until `stop`: stop reading first, then claiming, then let what is in flight finish."""
    with own(config):
        async with parts_of(config, rename=rename) as parts:
            uncertain = await parts.store.recover(now=parts.clock.now())
            await parts.replayer.adopt()
            await first_of(parts.tail.begin(), stop.wait(), parts.clock.sleep(_FIRST_LOOK))
            async with _api(parts) as addresses:
                address = ", ".join(addresses)
                _log.info("daemon.ready", version=__version__, api=address, uncertain=uncertain)
                notify("READY=1", f"STATUS=reading {config.cel.table}, answering on {address}")
                await _run(parts, stop)
            notify("STOPPING=1")
    _log.info("daemon.stopped")


async def _run(parts: Parts, stop: asyncio.Event) -> None:
    """All background tasks; one that dies takes the daemon down, loudly, and systemd starts it anew."""
    stop_delivering = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        delivering = [
            tasks.create_task(parts.deliverer.run(stop_delivering), name="deliverer"),
            tasks.create_task(_hints(parts), name="hints"),
            tasks.create_task(_watchdog(), name="watchdog"),
            tasks.create_task(parts.keeper.run(), name="keeper"),
            tasks.create_task(parts.keeper.watch(), name="clock"),
        ]
        reading = [
            tasks.create_task(parts.tail.run(stop), name="tail"),
            tasks.create_task(parts.replayer.run(stop), name="replayer"),
        ]
        await _until(stop, reading, deadline=parts.config.delivery.shutdown_deadline)
        stop_delivering.set()
        await delivering[0]
        for task in delivering[1:]:
            task.cancel()


async def _until(stop: asyncio.Event, tasks: list[asyncio.Task[None]], *, deadline: float) -> None:
    """Wait for `stop`, then for the tasks; one that hangs in a database is cut off at the deadline."""
    await stop.wait()
    _, hanging = await asyncio.wait(tasks, timeout=deadline)
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


async def replay_now(
    config: Config, request: ReplayRequest, watch: Callable[[ReplayView, bool], None]
) -> ReplayView:
    """Make a replay and see it through, `watch(view, daemon_runs)` being told how it goes.

    Where a daemon runs it does the work; else this process delivers, until the replay has ended. When it is
    interrupted, the replay goes on with the next start of either. Raises CelreplayError.
    """
    with contextlib.ExitStack() as held:
        ownership = Ownership.acquire(store_path(config))
        if ownership is not None:
            held.enter_context(ownership)
        async with parts_of(config) as parts:
            if ownership is not None:
                await parts.store.recover(now=parts.clock.now())
                await parts.replayer.adopt()
            view = await parts.services.request_replay(request)
            if view.replay.id == 0:
                return view
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                if ownership is not None:
                    tasks.create_task(parts.replayer.run(stop), name="replayer")
                    tasks.create_task(parts.deliverer.run(stop), name="deliverer")
                view = await _see_through(parts, view, lambda now: watch(now, ownership is None))
                stop.set()
            return view


async def cancelled(config: Config, replay_id: int, *, by: str) -> ReplayView | None:
    """Stop a replay, whoever works on it; None where there is none of this number. Raises CelreplayError."""
    if not store_path(config).exists():
        return None
    async with parts_of(config) as parts:
        return await parts.services.cancel(replay_id, by=by)


async def _see_through(parts: Parts, view: ReplayView, watch: Callable[[ReplayView], None]) -> ReplayView:
    while True:
        view = await parts.services.replay(view.replay.id) or view
        watch(view)
        if view.replay.finished_at is not None:
            return view
        await parts.clock.sleep(_WATCH_EVERY)


async def _hints(parts: Parts) -> None:
    """Wake the workers when the tail or a replay has queued something."""

    async def one(queued: asyncio.Event) -> None:
        while True:
            await queued.wait()
            queued.clear()
            parts.deliverer.hint()

    await asyncio.gather(one(parts.tail.queued), one(parts.replayer.queued))


async def _watchdog() -> None:
    """Tell systemd that the event loop turns."""
    seconds = watchdog_seconds()
    while seconds is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(seconds)


@contextlib.asynccontextmanager
async def _api(parts: Parts) -> AsyncIterator[list[str]]:
    config = parts.config.api
    gate = Gate()
    accounts = config.accounts
    auth = DigestAuth(
        {name: account.credential for name, account in accounts.items()}, algorithms=config.digest_algorithms
    )
    app = make_app(
        parts.services,
        parts.deliveries,
        parts.monitor,
        auth,
        readers={name for name, account in accounts.items() if account.role == "read"},
        zone=zone_named(parts.config.pbx.timezone),
        clock=parts.clock,
        gate=gate,
        allowed=config.allow,
        scrapers=config.metrics,
    )
    async with served(app, gate, config, parts.clock) as addresses:
        yield addresses
