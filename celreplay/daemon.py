"""The composition root: everything is built here from the configuration, once, and given what it uses."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import structlog
from aiohttp import web

from celreplay import __version__
from celreplay.api.app import make_app
from celreplay.api.digest import DigestAuth
from celreplay.api.port import listen
from celreplay.calls.interpret import INTERPRETER_VERSION, PbxRules
from celreplay.clock import Clock, SystemClock
from celreplay.config import Config
from celreplay.connectors.base import Connector
from celreplay.connectors.http import HttpDriver
from celreplay.connectors.options import DeliveryOptions
from celreplay.connectors.table import build
from celreplay.delivery.workers import Deliverer
from celreplay.errors import StoreError
from celreplay.health import Health
from celreplay.intake import Intake
from celreplay.lookup import Settled
from celreplay.period import parse_period
from celreplay.replay import Replayer
from celreplay.services import ReplayRequest, ReplayView, Services
from celreplay.sources.base import CelSource
from celreplay.sources.opening import source_of
from celreplay.store.base import ReplayState
from celreplay.store.ownership import Ownership, holder
from celreplay.store.sqlite import SqliteStore
from celreplay.systemd import notify, watchdog_seconds
from celreplay.tail import Tail, TailOptions
from celreplay.zone import zone_named

_WATCH_EVERY = 0.2

_log = structlog.get_logger(__name__)


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What a running celreplay is made of."""

    config: Config
    clock: Clock
    health: Health
    source: CelSource
    store: SqliteStore
    connectors: Mapping[str, Connector]
    tail: Tail
    replayer: Replayer
    deliverer: Deliverer
    services: Services


def open_source(config: Config) -> CelSource:
    """The CEL table that the config names; the first use opens it."""
    cel = config.cel
    return source_of(cel.url.reveal(), table=cel.table, columns=cel.columns, timezone=config.pbx.timezone)


def pbx_rules(config: Config) -> PbxRules:
    """What the interpreter needs to know of the PBX."""
    pbx = config.pbx
    return PbxRules(system=pbx.name, trunks=pbx.trunks, extensions=pbx.extensions)


def settled(config: Config) -> Settled:
    """When a call counts as finished."""
    return Settled(grace=config.cel.grace, stale_after=config.cel.stale_after)


@contextlib.asynccontextmanager
async def parts_of(config: Config, *, rename: bool = False) -> AsyncIterator[Parts]:
    """Build everything and give it back at the end, in the opposite order. Raises CelreplayError."""
    async with AsyncExitStack() as stack:
        clock = SystemClock()
        store = SqliteStore.open(
            store_path(config), system=config.pbx.name, interpreter=str(INTERPRETER_VERSION)
        )
        stack.push_async_callback(store.aclose)
        await _check_name(store, config.pbx.name, rename=rename)
        source = open_source(config)
        stack.push_async_callback(source.aclose)
        driver = await stack.enter_async_context(HttpDriver())
        options: dict[str, DeliveryOptions] = dict(config.connectors)  # type: ignore[arg-type]
        connectors = {name: build(name, config.pbx.name, of) for name, of in options.items()}
        health = Health()
        intake = Intake(pbx_rules(config), connectors)
        replayer = Replayer(source, store, intake, clock, settled(config))
        services = Services(
            source=source, store=store, replayer=replayer, connectors=connectors, health=health, clock=clock
        )
        stack.push_async_callback(services.aclose)
        yield Parts(
            config=config,
            clock=clock,
            health=health,
            source=source,
            store=store,
            connectors=connectors,
            tail=Tail(source, store, intake, clock, health, _tail_options(config, clock)),
            replayer=replayer,
            deliverer=Deliverer(store, connectors, driver, clock, options, config.delivery),
            services=services,
        )


def _tail_options(config: Config, clock: Clock) -> TailOptions:
    cel = config.cel
    start = None
    if cel.start != "now":
        start = parse_period(cel.start, None, zone=zone_named(config.pbx.timezone), now=clock.now()).start
    return TailOptions(
        poll_interval=cel.poll_interval, grace=cel.grace, stale_after=cel.stale_after, start=start
    )


async def _check_name(store: SqliteStore, name: str, *, rename: bool) -> None:
    """The name is a part of every delivery's identity: under another one all calls would be new."""
    known = await store.pbx_name()
    if known is not None and known != name and not rename:
        raise StoreError(
            f"this store belongs to the PBX {known!r}, the config names {name!r}: under a new name every"
            " replayed call would be sent again",
            hint=f"set pbx.name back to {known!r}, or start once with --rename",
        )
    if known != name:
        await store.set_pbx_name(name)


def store_path(config: Config) -> Path:
    """The file of the store."""
    url = config.store.url
    if url.scheme != "sqlite":
        raise StoreError(
            f"a store in {url.scheme} is not there yet",
            hint="set store.url to sqlite:////PATH/celreplay.sqlite",
        )
    return Path(url.sqlite_path)


def own(config: Config) -> Ownership:
    """Become the one process that reads and delivers for this store. Raises StoreError."""
    path = store_path(config)
    ownership = Ownership.acquire(path)
    if ownership is None:
        pid = holder(path)
        raise StoreError(
            f"another celreplay{f' (pid {pid})' if pid else ''} works on {path}",
            hint="stop it first: systemctl stop celreplay",
        )
    return ownership


async def serve(config: Config, stop: asyncio.Event, *, rename: bool = False) -> None:
    """Run until `stop`: stop reading first, then claiming, then let what is in flight finish."""
    with own(config):
        async with parts_of(config, rename=rename) as parts:
            uncertain = await parts.store.recover(now=parts.clock.now())
            await parts.replayer.take_up({ReplayState.LOOKING_UP})
            async with _api(parts) as address:
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
async def _api(parts: Parts) -> AsyncIterator[str]:
    config = parts.config.api
    auth = DigestAuth(
        {user: password.reveal() for user, password in config.users.items()},
        algorithms=config.digest_algorithms,
    )
    app = make_app(
        parts.services,
        auth,
        zone=zone_named(parts.config.pbx.timezone),
        clock=parts.clock,
        version=__version__,
    )
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    listener = listen(config.host, config.port)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        host, port = listener.getsockname()[:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
