"""What the demo is played on: a folder, a config as an admin would write it, the daemon as a real process."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import yaml

from celreplay.errors import CelreplayError

PORT = 8077
USER = "demo"
_START_PATIENCE = 20.0
_STOP_PATIENCE = 25.0
_SOON = 0.1


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything is."""

    folder: Path
    port: int
    password: str
    secret: str
    """Of the webhook."""

    @property
    def cel(self) -> Path:
        return self.folder / "cel.sqlite"

    @property
    def config(self) -> Path:
        return self.folder / "celreplay.yaml"

    @property
    def log(self) -> Path:
        return self.folder / "celreplay.log"

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def write_config(self, receiver: str) -> None:
        """The config file; only its owner reads it."""
        config = {
            "pbx": {"name": "demo", "trunks": ["PJSIP/trunk-*"]},
            "cel": {"url": f"sqlite:///{self.cel}", "poll_interval": "200 ms", "grace": "1 s"},
            "store": {"url": f"sqlite:///{self.folder / 'celreplay.sqlite'}"},
            "api": {"port": self.port, "users": {USER: self.password}},
            "connectors": {"crm": {"type": "webhook", "url": receiver, "secret": self.secret}},
        }
        self.config.touch(mode=0o600)
        self.config.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def port_to_use(wanted: int | None) -> tuple[int, bool]:
    """The port, and whether 8077 is somebody else's. Raises CelreplayError for a `wanted` that is taken."""
    if _is_free(wanted or PORT):
        return wanted or PORT, False
    if wanted:
        raise CelreplayError(f"port {wanted} is taken", hint="name another one: --port N")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1]), True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@asynccontextmanager
async def daemon(stage: Stage) -> AsyncIterator[None]:
    """`celreplay serve` until the end of the block. Raises CelreplayError when it does not start."""
    with stage.log.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "celreplay.demo.child", str(os.getpid()), "serve", "-c", str(stage.config),
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # Ctrl-C on the terminal is for the demo, which then stops the daemon
        )  # fmt: skip
    try:
        await _answers(stage, process)
        yield
    finally:
        await _stop(process)


async def _answers(stage: Stage, process: asyncio.subprocess.Process) -> None:
    """Wait until the daemon answers."""
    async with asyncio.timeout(_START_PATIENCE), aiohttp.ClientSession() as session:
        while process.returncode is None:
            with suppress(aiohttp.ClientError):
                async with session.get(f"{stage.api}/healthz"):
                    return
            await asyncio.sleep(_SOON)
    raise CelreplayError(f"the daemon did not start: {last_lines(stage.log)}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, as systemd does; SIGKILL only where that does not help."""
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_PATIENCE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def read_call(stage: Stage, query: Mapping[str, str]) -> dict[str, Any]:
    """GET /pbx/read_call with HTTP Digest; the body of its 202. Raises CelreplayError for another answer."""
    digest = aiohttp.DigestAuthMiddleware(USER, stage.password)
    async with (
        aiohttp.ClientSession(middlewares=(digest,)) as session,
        session.get(f"{stage.api}/pbx/read_call", params=query) as response,
    ):
        text = await response.text()
        if response.status != 202:  # noqa: PLR2004  Accepted
            raise CelreplayError(f"/pbx/read_call answered {response.status}: {text}")
        body: dict[str, Any] = msgspec.json.decode(text)
        return body


def last_lines(path: Path, count: int = 5) -> str:
    """The end of a log."""
    return "\n".join(path.read_text("utf-8", errors="replace").splitlines()[-count:]) or "it said nothing"
