"""The handlers of `/pbx/deliveries`: what waits, what is dead, and what is to be done about it."""

from http import HTTPStatus
from zoneinfo import ZoneInfo

from aiohttp import web

from celreplay.api.asking import parameters_of
from celreplay.api.delivery_answers import changed_body, journal_body, list_body
from celreplay.api.delivery_query import parse_choice, parse_page
from celreplay.api.errors import answer, refusal
from celreplay.api.guard import authenticated_user
from celreplay.api.parameters import refuse_unknown
from celreplay.choices import Choice
from celreplay.clock import Clock
from celreplay.deliveries import Deliveries


class DeliveryRoutes:
    """The routes over the use cases."""

    def __init__(self, deliveries: Deliveries, *, zone: ZoneInfo, clock: Clock, body_timeout: float) -> None:
        self._deliveries = deliveries
        self._zone = zone
        self._clock = clock
        self._body_timeout = body_timeout

    async def list(self, request: web.Request) -> web.Response:
        """A page of them, newest change first."""
        parameters = await parameters_of(request, self._body_timeout)
        page = parse_page(parameters, zone=self._zone, now=self._clock.now())
        listed = await self._deliveries.list(page.wanted, after=page.after, limit=page.limit)
        return answer(list_body(listed))

    async def show(self, request: web.Request) -> web.Response:
        """One with its journal."""
        refuse_unknown(await parameters_of(request, self._body_timeout), ())
        view = await self._deliveries.show(int(request.match_info["id"]))
        if view is None:
            message = f"there is no delivery {request.match_info['id']}"
            return refusal(HTTPStatus.NOT_FOUND, "not_found", message)
        return answer(journal_body(view))

    async def retry(self, request: web.Request) -> web.Response:
        """Send dead ones again, or wake a held connector."""
        choice = await self._choice(request, rebuildable=True)
        return answer(changed_body(await self._deliveries.retry(choice), "retried"))

    async def discard(self, request: web.Request) -> web.Response:
        """Take dead ones off the list."""
        choice = await self._choice(request, rebuildable=False)
        return answer(changed_body(await self._deliveries.discard(choice), "discarded"))

    async def _choice(self, request: web.Request, *, rebuildable: bool) -> Choice:
        parameters = await parameters_of(request, self._body_timeout)
        user, now = authenticated_user(), self._clock.now()
        return parse_choice(parameters, user=user, zone=self._zone, now=now, rebuildable=rebuildable)
