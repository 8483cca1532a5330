"""`/metrics` for Prometheus: how reading and delivering stand. No caller, number or address is in it.

Names and units follow https://prometheus.io/docs/practices/naming/.
"""

from collections.abc import Collection, Iterable, Iterator
from http import HTTPStatus

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from celreplay import __version__
from celreplay.api.errors import refusal
from celreplay.clock import Clock
from celreplay.monitor import Monitor
from celreplay.overview import Overview
from celreplay.store.base import ReplayState, State
from celreplay.times import seconds_between
from celreplay.units import Network, is_within

_RUNNING = (ReplayState.REQUESTED, ReplayState.LOOKING_UP, ReplayState.DELIVERING)


class Metrics:
    """The route. It asks for no credentials: this host may read it, and whoever `networks` names."""

    def __init__(self, monitor: Monitor, clock: Clock, networks: Collection[Network]) -> None:
        self._monitor = monitor
        self._clock = clock
        self._networks = networks

    async def show(self, request: web.Request) -> web.Response:
        """All metrics, in the form the scraper asks for."""
        if not is_within(request.remote or "", self._networks):
            message = "metrics are for this host, and the networks in api.metrics of the config"
            return refusal(HTTPStatus.FORBIDDEN, "address", message)
        overview = await self._monitor.overview()
        registry = CollectorRegistry()
        registry.register(_Found(families(overview, self._clock.now())))
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})


class _Found(Collector):
    """What was found at this moment."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = list(found)

    def collect(self) -> Iterator[Metric]:
        return iter(self._found)


def families(overview: Overview, now: int) -> Iterator[Metric]:
    """Every metric of docs/monitoring.md; `now` is microseconds UTC."""
    version = GaugeMetricFamily("celreplay_build_info", "Which celreplay runs; always 1.", labels=["version"])
    version.add_metric([__version__], 1)
    yield version
    yield _one("celreplay_problems", "What keeps the daemon from its work.", len(overview.problems))
    yield _one("celreplay_store_bytes", "Size of the store's file.", overview.store_bytes)
    yield from _reading(overview)
    yield from _connectors(overview, now)
    waiting = [replay for replay in overview.replays if replay.state in _RUNNING]
    yield _one("celreplay_replays_running", "Replays that have not ended, of the latest five.", len(waiting))


def _reading(overview: Overview) -> Iterator[Metric]:
    yield _one("celreplay_cel_up", "1 while the CEL table can be read.", int(overview.end is not None))
    if overview.reading is not None:
        keys = len(overview.reading.open_keys)
        yield _one("celreplay_open_keys", "linkedids and uniqueids of calls that go on.", keys)
    if overview.rows_behind is not None:
        text = "Ids between the last row read and the last."
        yield _one("celreplay_cel_lag_rows", text, overview.rows_behind)
    if overview.seconds_behind is not None:
        text = "How much later the last row is than the last one read."
        yield _one("celreplay_cel_lag_seconds", text, overview.seconds_behind)


def _connectors(overview: Overview, now: int) -> Iterator[Metric]:
    deliveries = GaugeMetricFamily(
        "celreplay_deliveries", "Deliveries in the store by state.", labels=["connector", "state"]
    )
    oldest = GaugeMetricFamily(
        "celreplay_oldest_due_seconds",
        "Age of the earliest call that is due and not sent; 0: none is.",
        labels=["connector"],
    )
    held = GaugeMetricFamily(
        "celreplay_connector_held", "1 while the connector is on hold.", labels=["connector"]
    )
    for name, counts in overview.outbox.items():
        for state in State:
            deliveries.add_metric([name, state.value], counts.get(state, 0))
        due = overview.oldest_due.get(name)
        oldest.add_metric([name], 0 if due is None else max(0.0, seconds_between(due, now)))
    for name in sorted({*overview.outbox, *overview.vitals, *overview.holds}):
        held.add_metric([name], int(name in overview.holds))
    yield from (deliveries, oldest, held)
    yield from _workers(overview)


def _workers(overview: Overview) -> Iterator[Metric]:
    workers = GaugeMetricFamily("celreplay_workers", "Exchanges at once, at most.", labels=["connector"])
    flying = GaugeMetricFamily("celreplay_in_flight", "Exchanges under way.", labels=["connector"])
    attempts = CounterMetricFamily(
        "celreplay_attempts", "Attempts since the daemon's start.", labels=["connector", "outcome"]
    )
    for name, vitals in overview.vitals.items():
        workers.add_metric([name], vitals.workers)
        flying.add_metric([name], vitals.in_flight)
        for kind, count in vitals.attempts.items():
            attempts.add_metric([name, kind.value], count)
    yield from (workers, flying, attempts)


def _one(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
