"""The composition root: everything is built here from the configuration, once, and given what it uses."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from celreplay.calls.interpret import INTERPRETER_VERSION, PbxRules
from celreplay.calls.numberplan import NumberPlan
from celreplay.calls.rules import Rule, rule_of
from celreplay.clock import Clock, SystemClock
from celreplay.config import Config
from celreplay.connectors.answers import RETRY_AFTER_CAP
from celreplay.connectors.base import Connector
from celreplay.connectors.http import HttpDriver
from celreplay.connectors.options import DeliveryOptions
from celreplay.connectors.table import build
from celreplay.deliveries import Deliveries
from celreplay.delivery.workers import Deliverer
from celreplay.errors import ConfigError, StoreError
from celreplay.health import Health
from celreplay.intake import Intake
from celreplay.keeping import Keeper
from celreplay.lookup import Settled
from celreplay.monitor import Monitor
from celreplay.period import parse_period
from celreplay.replay import Replayer
from celreplay.ruleconfig import numbers_in
from celreplay.services import Services
from celreplay.sources.base import CelSource
from celreplay.sources.opening import source_of
from celreplay.store.ownership import Ownership, holder
from celreplay.store.sqlite import SqliteStore
from celreplay.tail import Tail, TailOptions
from celreplay.zone import zone_named


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
    keeper: Keeper
    services: Services
    monitor: Monitor
    deliveries: Deliveries


def open_source(config: Config) -> CelSource:
    """The CEL table that the config names; the first use opens it."""
    cel = config.cel
    return source_of(cel.url.reveal(), table=cel.table, columns=cel.columns, timezone=config.pbx.timezone)


def pbx_rules(config: Config) -> PbxRules:
    """What the interpreter needs to know of the PBX."""
    pbx = config.pbx
    numbers = NumberPlan(
        outside=tuple((str(rewrite.match), rewrite.replace) for rewrite in pbx.numbers.outside),
        inside=tuple((str(rewrite.match), rewrite.replace) for rewrite in pbx.numbers.inside),
        e164=pbx.numbers.e164,
        region=pbx.numbers.region,
    )
    return PbxRules(
        system=pbx.name,
        trunks=pbx.trunks,
        extensions=pbx.extensions,
        numbers=numbers,
        user_events=pbx.user_events,
    )


def rules_of(config: Config) -> list[Rule]:
    """Which calls go where. Raises ConfigError where a list of numbers cannot be read."""
    rules = []
    for place, rule in enumerate(config.rules, start=1):
        try:
            numbers = set(numbers_in(rule.number_file)) if rule.number_file else set()
        except (OSError, UnicodeDecodeError) as error:
            what = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror or str(error)
            raise ConfigError([f"rules[{place - 1}].number_file: {rule.number_file}: {what}"]) from None
        rules.append(rule_of(rule, place, numbers))
    return rules


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
        options = {name: of for name, of in config.connectors.items() if isinstance(of, DeliveryOptions)}
        connectors = {name: build(name, config.pbx.name, of) for name, of in options.items()}
        health = Health()
        updated = {name for name, of in options.items() if of.on_change == "resend"}
        intake = Intake(pbx_rules(config), connectors, updated=updated, rules=rules_of(config))
        replayer = Replayer(source, store, intake, clock, settled(config))
        services = Services(
            source=source, store=store, replayer=replayer, connectors=connectors, health=health, clock=clock
        )
        stack.push_async_callback(services.aclose)
        tail = Tail(source, store, intake, clock, health, _tail_options(config, clock))
        deliverer = Deliverer(store, connectors, driver, clock, options, config.delivery)
        yield Parts(
            config=config,
            clock=clock,
            health=health,
            source=source,
            store=store,
            connectors=connectors,
            tail=tail,
            replayer=replayer,
            deliverer=deliverer,
            keeper=Keeper(store, clock, config.retention, _longest_wait(options.values())),
            services=services,
            monitor=Monitor(
                source=source,
                store=store,
                store_path=store_path(config),
                health=health,
                clock=clock,
                vitals=deliverer.vitals,
                has_begun=lambda: tail.has_begun,
            ),
            deliveries=Deliveries(
                source=source, store=store, intake=intake, connectors=connectors, clock=clock
            ),
        )


def _longest_wait(options: Iterable[DeliveryOptions]) -> float:
    """Twice the longest wait that a schedule or a CRM may ask for: jitter and probing are on top of it."""
    waits = [wait for one in options for wait in one.schedule]
    return 2 * max([RETRY_AFTER_CAP, *waits])


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
