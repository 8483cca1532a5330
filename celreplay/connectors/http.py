"""Drives connectors over HTTP: the only module of the sending side that knows aiohttp.

A connector says which request comes next; this driver sends it, and alone decides what a network failure
means.
"""

from collections.abc import Generator, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import aiohttp
import structlog
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError

from celreplay.connectors.base import (
    Checkpoint,
    Exchange,
    Outcome,
    OutcomeKind,
    Probe,
    Probing,
    Request,
    Response,
)
from celreplay.connectors.failures import PERHAPS, outcome_of
from celreplay.connectors.trip import BrokenConnectorError, Trip

if TYPE_CHECKING:
    from aiohttp.tracing import Trace

BODY_LIMIT = 64 * 1024
"""Bytes of an answer that are read; the rest is left on the wire and the connection closed."""
CONNECT_TIMEOUT = 10.0
"""Seconds for name look-up, TCP and TLS together."""
_KEEPALIVE = 4.0
"""Seconds. Below the 5 s after which common servers close an idle connection: no POST meets the closing."""
_NETWORK_ERRORS = (aiohttp.ClientError, HttpProcessingError, OSError, TimeoutError)

T = TypeVar("T")
_Steps = Generator[Request | Checkpoint, Response | None, T]
_log = structlog.get_logger()
_under_way: ContextVar[Trip] = ContextVar("trip under way")


class _NetworkError(Exception):
    """Carries the outcome out of the generator's loop."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class _Telling(aiohttp.TCPConnector):
    """Tells the trip that its request has a connection. The library's tracing tells it too, but sends five
    signals for every request."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list["Trace"],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - as the library has it
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        _under_way.get().request_leaves()
        return connection


class HttpDriver:
    """Sends what connectors ask for. `async with HttpDriver() as driver:`; one for all connectors."""

    def __init__(self, *, body_limit: int = BODY_LIMIT, connect_timeout: float = CONNECT_TIMEOUT) -> None:
        self._body_limit = body_limit
        self._connect_timeout = connect_timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=_Telling(limit=0, keepalive_timeout=_KEEPALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def exchange(self, steps: Exchange, count: int, trip: Trip) -> Sequence[Outcome]:
        """Run an exchange of `count` deliveries to its end: one outcome for each, whatever happens.

        Raises ClaimLostError, and what `trip.on_checkpoint` and the state's saving raise (StoreError).
        """
        try:
            outcomes = await self._drive(steps, trip)
        except _NetworkError as failure:
            return [failure.outcome] * count
        except BrokenConnectorError as error:
            return [_broken(error, trip)] * count
        finally:
            _close(steps)
        if len(outcomes) == count:
            return outcomes
        wrong = BrokenConnectorError(f"{len(outcomes)} outcomes for {count} deliveries")
        return [_broken(wrong, trip)] * count

    async def probe(self, steps: Probing, trip: Trip) -> Probe | Outcome:
        """Ask whether the CRM has a delivery. An Outcome (throttle, config) where it could not be asked."""
        try:
            return await self._drive(steps, trip)
        except _NetworkError as failure:
            return _unasked(failure.outcome)
        except BrokenConnectorError as error:
            _broken(error, trip)
            return Probe.UNKNOWN
        finally:
            _close(steps)

    async def _drive(self, steps: _Steps[T], trip: Trip) -> T:
        answer: Response | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                await trip.state.save()
                result: T = end.value
                return result
            except Exception as error:
                raise BrokenConnectorError(f"{type(error).__name__} in the connector") from error
            await trip.state.save()
            if isinstance(step, Request):
                if (refusal := await trip.permit()) is not None:
                    raise _NetworkError(refusal)
                answer = await self._send(step, trip)
            else:
                await trip.keep(step)
                answer = None

    async def _send(self, request: Request, trip: Trip) -> Response:
        if self._session is None:
            raise RuntimeError("HttpDriver is used outside its `async with`")
        trip.current_left = False
        _under_way.set(trip)
        timeout = aiohttp.ClientTimeout(total=request.timeout, connect=self._connect_timeout)
        try:
            async with self._session.request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body or None,
                allow_redirects=False,
                timeout=timeout,
            ) as answer:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                body = await self._body(answer, request)
                return Response(status=answer.status, headers=headers, body=body)
        except _NETWORK_ERRORS as error:
            raise _NetworkError(outcome_of(error, request, left=trip.current_left)) from error
        except Exception as error:
            raise BrokenConnectorError(f"{type(error).__name__}: the request cannot be sent") from error

    async def _body(self, answer: aiohttp.ClientResponse, request: Request) -> bytes:
        body = bytearray()
        try:
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) >= self._body_limit:
                    break
        except _NETWORK_ERRORS:
            if not request.status_suffices:
                raise
        if not answer.content.at_eof():
            answer.close()
        return bytes(body[: self._body_limit])


def _broken(error: BrokenConnectorError, trip: Trip) -> Outcome:
    _log.error("connector.broken", reason=str(error), exc_info=error.__cause__ or error)
    if trip.left:
        return Outcome(kind=OutcomeKind.UNCERTAIN, reason=f"{error}, after a request had left; see the log")
    return Outcome(kind=OutcomeKind.RETRY, reason=f"{error}; see the log")


def _unasked(outcome: Outcome) -> Outcome:
    if outcome.kind is not OutcomeKind.UNCERTAIN:
        return outcome
    reason = outcome.reason.removesuffix(PERHAPS)
    return Outcome(kind=OutcomeKind.THROTTLE, reason=f"asked for the call: {reason}")


def _close(steps: Exchange | Probing) -> None:
    try:
        steps.close()
    except Exception as error:  # noqa: BLE001 - a connector's clean-up may fail in any way; the outcome stands
        _log.error("connector.broken", reason="its clean-up failed", exc_info=error)
