"""What is no HTTP, or more of it than is read, answered like everything else: as JSON, without a traceback.

aiohttp's own protocol answers it in plain text, and logs it as an error of the server.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from celreplay.api.errors import refusal
from celreplay.api.guard import secured

_log = structlog.get_logger(__name__)
_TOO_LONG = "the address or a header is longer than 8 KB: send long lists of ids in the body of a POST"
_NO_HTTP = "this is no request in HTTP/1.1"


class Protocol(RequestHandler):
    """One connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a request that the parser refuses; the connection is closed after it."""
        if status == HTTPStatus.INTERNAL_SERVER_ERROR or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        _log.warning("api.malformed", address=request.remote or "", status=status, reason=type(exc).__name__)
        reason = _TOO_LONG if isinstance(exc, LineTooLong) else _NO_HTTP
        response = secured(refusal(status, "malformed", reason))
        response.force_close()
        return response


def protocol_of(server: web.Server) -> Callable[[], Protocol]:
    """Makes the protocol of each connection."""
    loop = asyncio.get_running_loop()
    return lambda: Protocol(server, loop=loop)
