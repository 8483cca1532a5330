"""A scripted receiver of Standard Webhooks 1.0.0, over real sockets, for the tests of the sending side.

Written from the specification alone: it verifies every request with the PyPI package `standardwebhooks`, keeps a
ledger per webhook-id (how often it was asked, how often it took the call), and plays whatever a receiver can do to
a sender: statuses, Retry-After, hanging, dripping, resets before and after the call was taken, rubbish.
"""

import asyncio
import contextlib
import json
import ssl
import subprocess
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
TOLERANCE = timedelta(minutes=5)


class How(Enum):
    """What the receiver does on the wire."""

    ANSWER = "a complete answer"
    HANG = "no answer at all"
    DRIP = "headers at once, then a byte now and then, without end"
    RESET = "the connection is reset before any answer"
    RESET_IN_BODY = "headers and half a body, then a reset"
    RUBBISH = "something that is not HTTP"


@dataclass(frozen=True)
class Play:
    """One turn of the script. `takes`: the call is recorded as taken; by default with a 2xx."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    how: How = How.ANSWER
    takes: bool | None = None

    @property
    def commits(self) -> bool:
        if self.takes is not None:
            return self.takes
        return self.how is How.ANSWER and 200 <= self.status < 300


OK = Play()


@dataclass(frozen=True)
class Received:
    """One request as it arrived, signature and clock already verified (or not: `refusal`)."""

    id: str
    timestamp: int
    headers: Mapping[str, str]
    body: bytes
    path: str
    refusal: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def linkedid(self) -> str:
        return str(self.json["data"]["linkedid"])


@dataclass
class Entry:
    """The ledger's line for one webhook-id."""

    requests: int = 0
    taken: int = 0
    bodies: set[bytes] = field(default_factory=set)

    @property
    def duplicates(self) -> int:
        """Times it was taken after the first: what an idempotent receiver throws away."""
        return max(0, self.taken - 1)


class Verifier(Webhook):
    """The package's verifier under a clock of our own: it compares with the host's clock only."""

    def __init__(self, secret: str, clock: Callable[[], float]) -> None:
        super().__init__(secret)
        self._clock = clock

    def _Webhook__verify_timestamp(self, timestamp_header: str) -> datetime:  # noqa: N802 - the package's name
        now = datetime.fromtimestamp(self._clock(), UTC)
        moment = datetime.fromtimestamp(int(timestamp_header), UTC)
        if abs(moment - now) > TOLERANCE:
            raise WebhookVerificationError(f"timestamp {moment} is off by {moment - now}")
        return moment


class CrmServer:
    """`async with CrmServer() as crm:`; `crm.url` is the endpoint, `crm.play(...)` sets the next answers."""

    def __init__(
        self,
        *,
        secret: str = SECRET,
        clock: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._verifier = Verifier(secret, clock)
        self._tls = tls
        self._script: deque[Play] = deque()
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.default = OK
        self.rule: Callable[[Received], Play | None] = lambda _: None
        """Asked first, for answers that depend on the call."""
        self.received: list[Received] = []
        self.ledger: dict[str, Entry] = {}
        self.asked: list[Received] = []
        """Look-ups: GET /calls/{webhook-id}, 200 where the ledger has it, else 404."""
        self.at_once = 0
        self.most_at_once = 0
        self.pause = 0.0
        """Seconds each answer takes."""

    @property
    def url(self) -> str:
        return f"http{'s' * bool(self._tls)}://127.0.0.1:{self.port}/calls"

    def play(self, *plays: Play) -> None:
        """The answers to the next requests, one each; afterwards `default`."""
        self._script.extend(plays)

    @property
    def lookup_url(self) -> str:
        return self.url + "/{webhook_id}"

    @property
    def taken(self) -> list[str]:
        """webhook-ids in the order in which they were first taken."""
        return [id_ for id_, entry in self.ledger.items() if entry.taken]

    def linkedids(self) -> list[str]:
        """linkedid of each verified request, in the order of arrival."""
        return [request.linkedid for request in self.received if not request.refusal]

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=10_000_000)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def listen(self) -> None:
        """Open the port (again: the same one)."""
        assert self._runner is not None
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def shut(self) -> None:
        """Close the port: connections are refused until `listen`."""
        assert self._runner is not None
        for site in list(self._runner.sites):
            await site.stop()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            received = self._verify(request, await request.read())
            if request.method == "GET" and not received.refusal:
                self.asked.append(received)
                entry = self.ledger.get(request.path.rsplit("/", 1)[-1], Entry())
                return web.Response(status=200 if entry.taken else 404)
            self.received.append(received)
            if self.pause:
                await asyncio.sleep(self.pause)
            if received.refusal:
                return web.Response(status=401, text=received.refusal)
            return await self._perform(request, received, self._next(received))
        finally:
            self.at_once -= 1

    def _verify(self, request: web.Request, body: bytes) -> Received:
        refusal = ""
        try:
            self._verifier.verify(body, dict(request.headers), json_parse=request.method == "POST")
        except (WebhookVerificationError, ValueError) as error:
            refusal = f"{error}"
        return Received(
            id=request.headers.get("webhook-id", ""),
            timestamp=int(request.headers.get("webhook-timestamp", "0")),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
            path=request.path_qs,
            refusal=refusal,
        )

    def _next(self, received: Received) -> Play:
        play = self.rule(received)
        if play is not None:
            return play
        return self._script.popleft() if self._script else self.default

    async def _perform(self, request: web.Request, received: Received, play: Play) -> web.StreamResponse:
        entry = self.ledger.setdefault(received.id, Entry())
        entry.requests += 1
        entry.bodies.add(received.body)
        entry.taken += play.commits
        if play.how is How.ANSWER:
            return web.Response(status=play.status, headers=play.headers, body=play.body)
        if play.how in (How.DRIP, How.RESET_IN_BODY):
            return await self._half_an_answer(request, play)
        if play.how is How.HANG:
            await self._stopping.wait()
        if request.transport is not None:
            if play.how is How.RUBBISH:
                request.transport.write(b"SSH-2.0-OpenSSH_9.2p1\r\n")
                request.transport.close()
            else:
                request.transport.abort()
        return web.Response()

    async def _half_an_answer(self, request: web.Request, play: Play) -> web.StreamResponse:
        response = web.StreamResponse(
            status=play.status, headers={**play.headers, "content-length": "100000"}
        )
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            await response.write(b"{")
            while play.how is How.DRIP and not self._stopping.is_set():
                await response.write(b" ")
                await asyncio.sleep(0.01)
        if request.transport is not None:
            request.transport.abort()
        return response


@contextlib.asynccontextmanager
async def tls_server(folder: Path, **options: Any) -> AsyncIterator[CrmServer]:
    """A receiver whose certificate is signed by itself: no client trusts it."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    program = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
    assert program.returncode == 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with CrmServer(tls=context, **options) as server:
        yield server
