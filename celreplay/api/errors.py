"""Every refusal as JSON: `{"error": {"code", "message", "parameter"}}`, whoever refuses."""

from http import HTTPStatus

import msgspec
from aiohttp import web

from celreplay.api.answers import error_body
from celreplay.api.parameters import UnsupportedBodyError
from celreplay.errors import BadRequestError, CelreplayError, SourceError, SourceUnavailableError, StoreError

RETRY_LATER = 30
"""Seconds after which asking again is worth it while a database is away."""
_KEPT_HEADERS = ("Allow",)


def answer(body: object, status: int = HTTPStatus.OK, **headers: str) -> web.Response:
    """A JSON answer; `Retry_After="5"` is the header Retry-After."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(
        body=msgspec.json.encode(body) + b"\n", status=status, content_type="application/json", headers=named
    )


def refusal(
    status: int, code: str, message: str, parameter: str | None = None, **headers: str
) -> web.Response:
    """An error answer."""
    return answer(error_body(code, message, parameter), status, **headers)


def refusal_of(error: CelreplayError) -> web.Response:
    """The answer to an error of ours."""
    if isinstance(error, UnsupportedBodyError):
        return refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, error.code, str(error))
    if isinstance(error, BadRequestError):
        return refusal(HTTPStatus.BAD_REQUEST, error.code, str(error), error.parameter)
    status, later = HTTPStatus.SERVICE_UNAVAILABLE, {"Retry_After": str(RETRY_LATER)}
    if isinstance(error, SourceUnavailableError):
        return refusal(status, "cel_unavailable", str(error), **later)
    if isinstance(error, SourceError):
        return refusal(status, "cel_unusable", str(error))
    if isinstance(error, StoreError):
        return refusal(status, "store_unusable", str(error), **later)
    return refusal(status, "unavailable", str(error))


def refusal_of_framework(error: web.HTTPException) -> web.Response:
    """404, 405, 413 … of aiohttp, whose bodies are plain text."""
    status = HTTPStatus(error.status)
    messages = {
        HTTPStatus.NOT_FOUND: "there is nothing at this address",
        HTTPStatus.METHOD_NOT_ALLOWED: f"this address takes {error.headers.get('Allow', 'another method')}",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the body is larger than 1 MB",
    }
    kept = {name: error.headers[name] for name in _KEPT_HEADERS if name in error.headers}
    return refusal(status, status.name.lower(), messages.get(status, status.phrase), **kept)
