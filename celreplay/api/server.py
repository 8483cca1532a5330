"""The ports of the API: plain HTTP, TLS, or both."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from celreplay.api.connections import HEAD_TIMEOUT, Gate
from celreplay.api.port import listen
from celreplay.api.protocol import protocol_of
from celreplay.api.tls import LOOK_EVERY, Certificate
from celreplay.apiconfig import ApiConfig
from celreplay.clock import Clock


@contextlib.asynccontextmanager
async def served(
    app: web.Application, gate: Gate, config: ApiConfig, clock: Clock
) -> AsyncIterator[list[str]]:
    """Answer on the ports of the config; their addresses. Raises CelreplayError: what is in the way."""
    tls = config.tls
    certificate = None if tls is None else Certificate(Path(tls.certificate), Path(tls.key))
    async with contextlib.AsyncExitStack() as stack:
        listeners: list[tuple[str, socket.socket]] = []
        if config.plain:
            listeners.append(("http", listen(config.host, config.port)))
        if tls is not None:
            listeners.append(("https", listen(config.host, tls.port)))
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        assert runner.server is not None  # noqa: S101  there since setup
        for scheme, listener in listeners:
            context = certificate.context if certificate is not None and scheme == "https" else None
            handshake = HEAD_TIMEOUT if context is not None else None
            server = await asyncio.get_running_loop().create_server(
                gate.before(protocol_of(runner.server)),
                sock=listener,
                ssl=context,
                ssl_handshake_timeout=handshake,
            )
            stack.callback(server.close)
        if certificate is not None:
            renewing = asyncio.create_task(_renew(certificate, clock), name="certificate")
            stack.callback(renewing.cancel)
        yield [f"{scheme}://{_place(listener)}" for scheme, listener in listeners]


async def _renew(certificate: Certificate, clock: Clock) -> None:
    while True:
        await clock.sleep(LOOK_EVERY)
        certificate.renew()


def _place(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
