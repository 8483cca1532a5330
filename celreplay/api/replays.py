"""The handlers: reading calls again, and the replays that come of it."""

import asyncio
import ipaddress
from http import HTTPStatus
from zoneinfo import ZoneInfo

from aiohttp import web

from celreplay.api.answers import not_found_body, replay_body, replay_url, view_body
from celreplay.api.asking import parameters_of
from celreplay.api.errors import answer, refusal
from celreplay.api.guard import authenticated_user
from celreplay.api.parameters import Parameters, limit_of, refuse_unknown
from celreplay.api.read_call import Asked, parse
from celreplay.clock import Clock
from celreplay.services import ReplayView, Services

BODY_TIMEOUT = 20.0
"""Seconds a client has to send its body (status 408)."""


class Replays:
    """The routes of `/pbx` and `/healthz` over the use cases."""

    def __init__(self, services: Services, *, zone: ZoneInfo, clock: Clock, body_timeout: float) -> None:
        self._services = services
        self._zone = zone
        self._clock = clock
        self._body_timeout = body_timeout
        self._stopping = asyncio.Event()

    async def stop_waiting(self, _app: web.Application) -> None:
        """At shutdown: answer who waits for the end of a replay with what there is."""
        self._stopping.set()

    async def read_call(self, request: web.Request) -> web.Response:
        """Process calls again: 202 with the replay, 404 when none of the ids is known."""
        parameters = await self._parameters(request)
        asked = parse(parameters, user=authenticated_user(), zone=self._zone, now=self._clock.now())
        view = await self._services.request_replay(asked.request)
        if view.replay.id == 0:
            return answer(not_found_body(view), HTTPStatus.NOT_FOUND)
        view = await self._waited(asked, view)
        return answer(view_body(view), HTTPStatus.ACCEPTED, Location=replay_url(view.replay.id))

    async def list(self, request: web.Request) -> web.Response:
        """The latest replays, newest first."""
        parameters = await self._parameters(request)
        refuse_unknown(parameters, ("limit",))
        replays = await self._services.replays(limit_of(parameters))
        return answer({"replays": [replay_body(replay) for replay in replays]})

    async def show(self, request: web.Request) -> web.Response:
        """The progress of a replay."""
        refuse_unknown(await self._parameters(request), ())
        view = await self._services.replay(int(request.match_info["id"]))
        return answer(view_body(view)) if view else _no_replay(request)

    async def cancel(self, request: web.Request) -> web.Response:
        """Stop a replay; what it has already sent stays sent."""
        refuse_unknown(await self._parameters(request), ())
        view = await self._services.cancel(int(request.match_info["id"]), by=f"api:{authenticated_user()}")
        return answer(view_body(view)) if view else _no_replay(request)

    async def healthz(self, request: web.Request) -> web.Response:
        """200 while calls get to the CRM, else 503; what is wrong is told on this host only."""
        report = await self._services.health()
        body: dict[str, object] = {"ok": report.ok}
        if _is_local(request.remote):
            body["problems"] = report.problems
        return answer(body, HTTPStatus.OK if report.ok else HTTPStatus.SERVICE_UNAVAILABLE)

    async def _parameters(self, request: web.Request) -> Parameters:
        return await parameters_of(request, self._body_timeout)

    async def _waited(self, asked: Asked, view: ReplayView) -> ReplayView:
        """The replay when it has ended, the client's patience is over, or the daemon stops."""
        if not asked.wait:
            return view
        ended = asyncio.create_task(self._services.wait_for(view.replay.id, asked.wait))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return (ended.result() if ended.done() else None) or view
        finally:
            ended.cancel()
            stopping.cancel()


def _is_local(address: str | None) -> bool:
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


def _no_replay(request: web.Request) -> web.Response:
    return refusal(HTTPStatus.NOT_FOUND, "not_found", f"there is no replay {request.match_info['id']}")
