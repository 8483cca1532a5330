"""A CRM's side of the webhook, written from the contract and not from the connector.

Standard Webhooks 1.0.0 (https://www.standardwebhooks.com): HMAC-SHA256 over `id.timestamp.body`, compared in
constant time, timestamps older than five minutes refused, one id taken once.
"""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping

import msgspec
from aiohttp import web

TOLERANCE = 300
"""Seconds a timestamp may be off."""


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """One request that came."""

    webhook_id: str
    forced: bool
    data: dict[str, object]
    """The Call."""

    @property
    def linkedid(self) -> str:
        return str(self.data.get("linkedid"))


class NotGenuineError(Exception):
    """The request does not prove who sent it."""


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Raise NotGenuineError unless one of the signatures is ours and the timestamp is fresh."""
    webhook_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not webhook_id or not timestamp.isdigit():
        raise NotGenuineError("webhook-id or webhook-timestamp is missing")
    if abs(now - int(timestamp)) > TOLERANCE:
        raise NotGenuineError(f"webhook-timestamp is {now - int(timestamp):.0f} s old")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = b".".join([webhook_id.encode(), timestamp.encode(), body])
    expected = b"v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest())
    given = headers.get("webhook-signature", "").encode().split()
    if not any(hmac.compare_digest(expected, signature) for signature in given):
        raise NotGenuineError("no signature of webhook-signature is right")


class Receiver:
    """A web server on 127.0.0.1 that takes calls and remembers them."""

    def __init__(self, secret: str, tell: Callable[[Arrival], None]) -> None:
        self._secret = secret
        self._tell = tell
        self._runner: web.AppRunner | None = None
        self.arrivals: list[Arrival] = []
        """What came and proved genuine, in order, repetitions included."""
        self.came = asyncio.Event()
        """Set by each."""
        self.faults: list[str] = []
        """Why requests were turned away."""

    async def start(self) -> str:
        """Listen on a free port; the address to send to."""
        app = web.Application()
        app.router.add_post("/calls", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}/calls"

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    def linkedids(self) -> set[str]:
        """The calls that have come."""
        return {arrival.linkedid for arrival in self.arrivals}

    def repeated(self) -> list[str]:
        """The ids that came more than once."""
        ids = [arrival.webhook_id for arrival in self.arrivals]
        return sorted({webhook_id for webhook_id in ids if ids.count(webhook_id) > 1})

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            verify(self._secret, request.headers, body, time.time())
            data = msgspec.json.decode(body)["data"]
        except (NotGenuineError, msgspec.DecodeError, KeyError, TypeError) as error:
            self.faults.append(f"{type(error).__name__}: {error}")
            return web.Response(status=401, text=f"not taken: {error}")
        arrival = Arrival(
            webhook_id=request.headers["webhook-id"],
            forced=request.headers.get("celreplay-attempt") == "forced",
            data=data,
        )
        self.arrivals.append(arrival)
        self.came.set()
        self._tell(arrival)
        return web.Response(status=204)
