"""The CRM of a run, in a process of its own: a webhook receiver that fails in every way it can.

It takes a call each time it is told to, like a CRM that remembers no ids: a repeat becomes a second record, and is
seen as one. `GET /calls/{webhook-id}` tells truly whether it has a call. Everything is in its ledger before it is
done, or right after it was: a kill of this process loses nothing that the judge needs.

    python -m chaos.receiver PORT LEDGER SEED SECRET TIMEOUT LATE
"""

import asyncio
import contextlib
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from chaos.faults import QUESTIONS, USUAL, Dice
from chaos.ledger import Ledger, read

_STATUS = {"500": 500, "429": 429, "503": 503}


class Receiver:
    """One life of the CRM; what it took in former lives it reads from its ledger."""

    def __init__(self, ledger: Path, seed: str, secret: str, timeout: float, late: float) -> None:
        lines = read(ledger)
        self.taken = {line["id"] for line in lines if line["kind"] == "commit"}
        self.ledger = Ledger(ledger)
        self.verifier = Webhook(secret)
        self.timeout = timeout
        self.late = late
        life = sum(line["kind"] == "up" for line in lines)
        self.dice = Dice(f"{seed} calls {life}", USUAL)
        self.questions = Dice(f"{seed} questions {life}", QUESTIONS)
        self.life = life
        self.number = 0
        self.later: set[asyncio.Task[None]] = set()
        self.ledger.write("up", life=life, pid=os.getpid())

    def app(self) -> web.Application:
        app = web.Application(client_max_size=10_000_000)
        app.router.add_post("/calls", self.call)
        app.router.add_get("/calls/{id}", self.question)
        app.router.add_put("/rates", self.set_rates)
        return app

    async def set_rates(self, request: web.Request) -> web.Response:
        """From now on other rates; the driver's request."""
        rates = await request.json()
        self.dice.rates, self.questions.rates = rates["calls"], rates["questions"]
        self.ledger.write("rates", **rates)
        return web.Response()

    async def call(self, request: web.Request) -> web.StreamResponse:
        """A delivery arrives."""
        body = await request.read()
        if not self._genuine(request, body):
            return web.Response(status=401)
        self.number += 1
        n = f"{self.life}.{self.number}"
        id_ = request.headers["webhook-id"]
        fault = self.dice.throw()
        data = json.loads(body)["data"]
        self.ledger.write(
            "arrival",
            n=n,
            id=id_,
            fault=fault,
            attempt=request.headers.get("celreplay-attempt", ""),
            body=hashlib.sha256(body).hexdigest()[:16],
            strand=data["external_number"],
            **{name: data[name] for name in ("linkedid", "linkedids", "started_at", "revision", "complete")},
        )
        return await self._play(request, fault, n, id_)

    async def _play(self, request: web.Request, fault: str, n: str, id_: str) -> web.StreamResponse:
        if fault in ("late", "slow", "drip", "cut_taken"):
            if fault == "late":
                await asyncio.sleep(self.dice.random.uniform(0.02, 0.5 * self.timeout))
            self._commit(n, id_)
        if fault in ("hang", "hang_taken_late"):
            await self._gone(request, 30.0)
        if fault == "slow":
            await self._gone(request, self.timeout + 1.0)
        if fault in ("cut_taken_late", "hang_taken_late"):
            self._commit_later(n, id_)
        if fault.startswith(("cut", "hang")):
            return self._cut(request, n)
        if fault == "drip":
            return await self._drip(request, n)
        if fault in _STATUS:
            return await self._answer(request, n, _STATUS[fault])
        if fault == "well":
            self._commit(n, id_)
        return await self._answer(request, n, 200)

    async def question(self, request: web.Request) -> web.StreamResponse:
        """Has it got this call?"""
        id_ = request.match_info["id"]
        if not self._genuine(request, b""):
            return web.Response(status=401)
        fault = self.questions.throw()
        if fault == "hang":
            await self._gone(request, 30.0)
        status = _STATUS.get(fault) or (200 if id_ in self.taken else 404)
        self.ledger.write("question", id=id_, fault=fault, status=status)
        if fault in ("hang", "cut"):
            return self._cut(request, "")
        return web.Response(status=status)

    def _genuine(self, request: web.Request, body: bytes) -> bool:
        try:
            self.verifier.verify(body.decode(), dict(request.headers), json_parse=False)
        except (WebhookVerificationError, ValueError) as error:
            self.ledger.write(
                "forged", path=request.path, why=f"{error}", id=request.headers.get("webhook-id")
            )
            return False
        return True

    def _commit(self, n: str, id_: str) -> None:
        self.taken.add(id_)
        self.ledger.write("commit", n=n, id=id_)

    def _commit_later(self, n: str, id_: str) -> None:
        delay = self.dice.random.uniform(0.0, self.late)

        async def wait() -> None:
            await asyncio.sleep(delay)
            self._commit(n, id_)

        task = asyncio.create_task(wait())
        self.later.add(task)
        task.add_done_callback(self.later.discard)

    async def _answer(self, request: web.Request, n: str, status: int) -> web.StreamResponse:
        """Answer, then write it down: an answer that is in the ledger has left."""
        response = web.Response(status=status, headers={"retry-after": "1"} if status in (429, 503) else {})
        if not _is_there(request):
            self.ledger.write("gone", n=n)
            return response
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            await response.write_eof()
            self.ledger.write("answer", n=n, status=status)
        return response

    async def _drip(self, request: web.Request, n: str) -> web.StreamResponse:
        response = web.StreamResponse(status=200, headers={"content-length": "1000"})
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            await response.write(b" ")
            self.ledger.write("answer", n=n, status=200)
            while _is_there(request):
                await response.write(b" ")
                await asyncio.sleep(0.2)
        return response

    def _cut(self, request: web.Request, n: str) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        self.ledger.write("cut", n=n)
        return web.Response()

    async def _gone(self, request: web.Request, patience: float) -> None:
        """Wait until the client has left."""
        end = asyncio.get_running_loop().time() + patience
        while _is_there(request) and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110  no event tells it
            await asyncio.sleep(0.05)


def _is_there(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


def main(arguments: list[str]) -> None:
    """Serve until the end."""
    port, ledger, seed, secret, timeout, late = arguments
    receiver = Receiver(Path(ledger), seed, secret, float(timeout), float(late))
    options: dict[str, Any] = {"print": None, "access_log": None, "shutdown_timeout": 0.1}
    web.run_app(receiver.app(), host="127.0.0.1", port=int(port), **options)


if __name__ == "__main__":
    main(sys.argv[1:])
