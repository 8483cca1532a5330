"""What connectors share in reading answers. Pure."""

import email.utils
from collections.abc import Generator
from datetime import UTC
from http import HTTPStatus

from celreplay.connectors.base import Request, Response
from celreplay.times import SECOND, Instant

ANSWER_KEPT = 1024
"""Bytes of an answer's body that stay in the attempt's journal."""
RETRY_AFTER_CAP = 24 * 3600.0
"""Seconds; a CRM that asks for more is asked again after a day."""


def ask(request: Request) -> Generator[Request, Response | None, Response]:
    """`response = yield from ask(request)`: the driver answers a request with a response, always."""
    response = yield request
    if response is None:
        raise TypeError("the driver sent no response to a request")
    return response


def describe(response: Response) -> str:
    """`answered 503 Service Unavailable`: our words for the status, not the server's."""
    try:
        phrase = f" {HTTPStatus(response.status).phrase}"
    except ValueError:
        phrase = ""
    return f"answered {response.status}{phrase}"


def retry_after(response: Response, now: Instant) -> float | None:
    """Seconds to wait by `Retry-After`, a number or an HTTP date (RFC 9110 section 10.2.3), at most a day.

    None where the header is missing or says nothing; 0 for a date that has passed.
    """
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), RETRY_AFTER_CAP)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = (Instant.of(moment) - now) / SECOND
    return min(max(0.0, seconds), RETRY_AFTER_CAP)
