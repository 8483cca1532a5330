"""What a failure of the network means: the one place that translates the errors of the HTTP library."""

from urllib.parse import urlsplit

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from celreplay.connectors.base import Outcome, OutcomeKind, Request

PERHAPS = "; it may have been taken"


def outcome_of(error: Exception, request: Request, *, left: bool) -> Outcome:
    """The outcome of a request that failed so; `left`: it had a connection.

    Before a request can have left nothing has happened to the call, so that the connector is held; afterwards
    it may have been taken.
    """
    where = place(request.url)
    if not left:
        return _not_connected(error, where)
    why = "the connection was cut before the answer was complete"
    if isinstance(error, TimeoutError):
        why = f"no complete answer within {request.timeout:g} s"
    elif isinstance(error, aiohttp.ClientResponseError | HttpProcessingError):
        why = "the answer is not HTTP"
    return Outcome(kind=OutcomeKind.UNCERTAIN, reason=f"{where}: {why}{PERHAPS}")


def _not_connected(error: Exception, where: str) -> Outcome:
    if isinstance(error, aiohttp.InvalidURL):
        return Outcome(kind=OutcomeKind.CONFIG, reason="the URL is not usable")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "") or "not for this host"
        return Outcome(kind=OutcomeKind.CONFIG, reason=f"the certificate of {where} is not trusted: {why}")
    if isinstance(error, aiohttp.ClientSSLError):
        return Outcome(kind=OutcomeKind.CONFIG, reason=f"no TLS with {where}: {_words(error.os_error)}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        why = "the name does not resolve"
    elif isinstance(error, TimeoutError):
        why = "timed out"
    else:
        why = _words(error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error)
    return Outcome(kind=OutcomeKind.THROTTLE, reason=f"no connection with {where}: {why}")


def place(url: str) -> str:
    """`host:port` of a URL: no user, password, path or query, any of which may be a secret."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "the CRM"
    host = parts.hostname or "the CRM"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _words(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
    return f"{reason or type(error).__name__}".lower().replace("_", " ")
