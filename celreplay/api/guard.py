"""What every request passes, from the outside in: log line, refusals as JSON, foreign pages, credentials."""

import math
import re
import secrets
import time
from collections.abc import Collection
from contextvars import ContextVar
from http import HTTPStatus
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from celreplay import __version__
from celreplay.api.answers import error_body
from celreplay.api.digest import Decision, DigestAuth, Verdict
from celreplay.api.errors import answer, refusal, refusal_of, refusal_of_framework
from celreplay.clock import Clock
from celreplay.errors import CelreplayError
from celreplay.units import Network, is_within

_log = structlog.get_logger(__name__)

_user: ContextVar[str] = ContextVar("user", default="")
_claimed: ContextVar[str] = ContextVar("claimed", default="")
_request_id: ContextVar[str] = ContextVar("request_id", default="")
# Variables of the context (aiohttp runs each request in a task, so in a context, of its own): aiohttp
# before 3.14 has no typed keys for a request, and 3.14 warns of others.
_LOOKING = frozenset({"GET", "HEAD"})
READ_CALL_PATH = "/pbx/read_call"
HEALTH_PATH = "/healthz"
READY_PATH = "/readyz"
METRICS_PATH = "/metrics"
_FREE = (HEALTH_PATH, READY_PATH, METRICS_PATH)
"""Answered without credentials."""

_REQUEST_ID = "X-Request-Id"
_HARMLESS = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


def secured(response: web.StreamResponse) -> web.StreamResponse:
    """The answer with the headers that all of them have."""
    response.headers.update(_SECURITY_HEADERS)
    response.headers["Server"] = f"celreplay/{__version__}"
    return response


@web.middleware
async def headers_and_log(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost: the headers of every answer, and one log event for each request. What else is logged
    for it has its `request_id` too; a client may give one."""
    began = time.monotonic()
    asked = request.headers.get(_REQUEST_ID, "")
    request_id = asked if _HARMLESS.fullmatch(asked) else secrets.token_hex(8)
    _request_id.set(request_id)
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        response = secured(await handler(request))
    response.headers[_REQUEST_ID] = request_id
    _log.info(
        "api.request",
        request_id=request_id,
        method=request.method,
        path=request.path,
        status=response.status,
        user=_user.get(),
        claimed_user=_claimed.get(),
        address=request.remote or "",
        ms=round((time.monotonic() - began) * 1000, 1),
    )
    return response


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error becomes a JSON answer; a fault of ours is logged with its traceback, which stays here."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return refusal_of_framework(error)
    except CelreplayError as error:
        return refusal_of(error)
    except Exception:  # noqa: BLE001 - the boundary of a request: logged, and the client told
        fault = _request_id.get()
        _log.exception("api.failed", method=request.method, path=request.path, request_id=fault)
        message = f"a fault of celreplay's own; the log tells more under request_id {fault}"
        body = error_body("internal_error", message, request_id=fault)
        return answer(body, HTTPStatus.INTERNAL_SERVER_ERROR)


def allowed_only(networks: Collection[Network]) -> Middleware:
    """Let in addresses of these networks and of this host; all where none is named."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if networks and not is_within(request.remote or "", networks):
            return refusal(HTTPStatus.FORBIDDEN, "address", "this address is not in api.allow of the config")
        return await handler(request)

    return middleware


@web.middleware
async def same_site_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what a foreign page made a browser send: browsers add stored Digest credentials by themselves.

    `Sec-Fetch-Site` (W3C Fetch Metadata) is sent by browsers only; older ones send `Origin` with a POST.
    """
    site = request.headers.get("Sec-Fetch-Site", "none").strip().lower()
    origin = request.headers.get("Origin")
    if site not in {"none", "same-origin"} or (origin is not None and not _is_ours(origin, request)):
        message = "the request was started by a page of another site"
        return refusal(HTTPStatus.FORBIDDEN, "cross_site", message)
    return await handler(request)


def authenticated_user() -> str:
    """Who the request of this context is from; empty where nobody had to log in."""
    return _user.get()


def _is_ours(origin: str, request: web.Request) -> bool:
    try:
        return urlsplit(origin.strip()).netloc.lower() == request.host.lower() != ""
    except ValueError:
        return False


def authenticated(auth: DigestAuth, clock: Clock, readers: frozenset[str]) -> Middleware:
    """Let in by Digest, before the body is looked at: curl -d sends its first POST without the body.

    `readers` may look only: a GET that has calls processed is not for them."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        if resource is not None and resource.canonical in _FREE:
            return await handler(request)
        now = clock.now()
        decision = auth.judge(
            request.headers.getall("Authorization", ()),
            method=request.method,
            target=request.raw_path,
            address=request.remote or "",
            now=now,
        )
        if decision.verdict is not Verdict.GRANTED:
            _claimed.set(decision.user)
            return _denied(decision, auth, now)
        _user.set(decision.user)
        if decision.user in readers and (request.method not in _LOOKING or _acts(request)):
            message = f"the user {decision.user} may look only (role read in the config)"
            return refusal(HTTPStatus.FORBIDDEN, "role", message)
        return await handler(request)

    return middleware


def _acts(request: web.Request) -> bool:
    resource = request.match_info.route.resource
    return resource is not None and resource.canonical == READ_CALL_PATH


def _denied(decision: Decision, auth: DigestAuth, now: int) -> web.Response:
    verdict, reason = decision.verdict, decision.reason
    if verdict is Verdict.MALFORMED:
        return refusal(HTTPStatus.BAD_REQUEST, "bad_authorization", reason, "Authorization")
    if verdict is Verdict.TOO_MANY:
        seconds = str(math.ceil(decision.retry_after))
        message = f"{reason}; try again in {seconds} s"
        return refusal(HTTPStatus.TOO_MANY_REQUESTS, "too_many_failures", message, Retry_After=seconds)
    response = refusal(HTTPStatus.UNAUTHORIZED, "unauthorized", reason)
    for challenge in auth.challenges(now, stale=verdict is Verdict.STALE):
        response.headers.add("WWW-Authenticate", challenge)
    return response
