"""The HTTP door: its routes and what stands before them. Every route is described in docs/api.md."""

from collections.abc import Collection
from zoneinfo import ZoneInfo

from aiohttp import web

from celreplay.api import openapi
from celreplay.api.connections import Gate
from celreplay.api.deliveries import DeliveryRoutes
from celreplay.api.digest import DigestAuth
from celreplay.api.guard import (
    HEALTH_PATH,
    METRICS_PATH,
    READ_CALL_PATH,
    READY_PATH,
    allowed_only,
    authenticated,
    headers_and_log,
    refusals,
    same_site_only,
)
from celreplay.api.metrics import Metrics
from celreplay.api.replays import BODY_TIMEOUT, Replays
from celreplay.api.status import Status
from celreplay.clock import Clock
from celreplay.deliveries import Deliveries
from celreplay.monitor import Monitor
from celreplay.services import Services
from celreplay.units import Network

BODY_LIMIT = 1_000_000
"""Bytes; 10,000 ids fit."""
_REPLAY = "/pbx/replays/{id:[0-9]{1,18}}"


def make_app(
    services: Services,
    deliveries: Deliveries,
    monitor: Monitor,
    auth: DigestAuth,
    *,
    zone: ZoneInfo,
    clock: Clock,
    readers: Collection[str] = (),
    allowed: Collection[Network] = (),
    scrapers: Collection[Network] = (),
    gate: Gate | None = None,
    body_timeout: float = BODY_TIMEOUT,
) -> web.Application:
    """The application; run it with `access_log=None`, it writes its own. `zone` is that of the dates people
    type, `readers` the users that may look only, `allowed` the networks that are let in (none: all),
    `scrapers` those that may read the metrics, `gate` what stands before the ports, `body_timeout` the
    seconds a client has to send its body."""
    replays = Replays(services, zone=zone, clock=clock, body_timeout=body_timeout)
    routes = DeliveryRoutes(deliveries, zone=zone, clock=clock, body_timeout=body_timeout)
    status = Status(monitor)
    app = web.Application(
        middlewares=[
            (gate or Gate()).timed,
            headers_and_log,
            refusals,
            allowed_only(allowed),
            same_site_only,
            authenticated(auth, clock, frozenset(readers)),
        ],
        client_max_size=BODY_LIMIT,
    )
    app.on_shutdown.append(replays.stop_waiting)
    app.add_routes(
        [
            # no HEAD: aiohttp would run the handler, and a look at the address would process calls
            web.get(READ_CALL_PATH, replays.read_call, allow_head=False),
            web.post(READ_CALL_PATH, replays.read_call),
            web.get("/pbx/replays", replays.list),
            web.get(_REPLAY, replays.show),
            web.delete(_REPLAY, replays.cancel),
            web.get("/pbx/deliveries", routes.list),
            web.get("/pbx/deliveries/{id:[0-9]{1,18}}", routes.show),
            web.post("/pbx/deliveries/retry", routes.retry),
            web.post("/pbx/deliveries/discard", routes.discard),
            web.get("/status", status.show),
            web.get(HEALTH_PATH, replays.healthz),
            web.get(READY_PATH, status.readyz),
            web.get(METRICS_PATH, Metrics(monitor, clock, scrapers).show),
            web.get(openapi.OPENAPI_PATH, openapi.show),
        ]
    )
    return app
