"""A request's parameters, once its body has come."""

import asyncio

from aiohttp import web

from celreplay.api.parameters import Parameters, read_parameters
from celreplay.errors import BadRequestError


async def parameters_of(request: web.Request, body_timeout: float) -> Parameters:
    """Those of the query and of the body. Raises BadRequestError, and aiohttp's refusals (408, 413)."""
    body = await _body(request, body_timeout)
    query = request.raw_path.partition("?")[2]
    return read_parameters(query, request.headers.get("Content-Type", ""), body)


async def _body(request: web.Request, timeout: float) -> bytes:  # noqa: ASYNC109 - the client's time, not the caller's
    if not request.can_read_body:
        return b""
    if request.method in {"GET", "HEAD", "DELETE"}:
        raise BadRequestError(
            f"a {request.method} has no body: use the query, or POST", code="unexpected_body"
        )
    try:
        async with asyncio.timeout(timeout):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except web.RequestPayloadError:
        raise BadRequestError("the body is broken: it is not encoded as its headers say") from None
