"""A real daemon in a process of its own, beside a real CEL file and a real receiver."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from cel_file import fill
from crm_server import SECRET

from celreplay.demo.data import CapturedCall, captured_calls, create_table
from celreplay.services import BEFORE_LIVE_READING
from celreplay.store.sqlite import SqliteStore

PATIENCE = 30.0
"""Seconds after which what should happen has not happened."""


class Pbx:
    """A folder with a CEL file, a config and a store; daemons are started on it at will."""

    def __init__(self, folder: Path, crm_url: str, **connector: object) -> None:
        self.folder = folder
        self.cel = folder / "cel.sqlite"
        self.config = folder / "celreplay.yaml"
        self.notify = folder / "notify"
        create_table(self.cel)
        self.options: dict[str, Any] = {
            "pbx": {"name": "pbx1", "timezone": "Europe/Moscow"},
            "cel": {"url": f"sqlite:///{self.cel}", "poll_interval": "100ms", "grace": "100ms"},
            "store": {"url": f"sqlite:///{folder / 'store.sqlite'}"},
            "api": {"port": 0, "users": {"admin": "night"}},
            "connectors": {
                "crm": {"type": "webhook", "url": crm_url, "secret": SECRET, "probe_after": "0s", **connector}
            },
        }
        self.serial = 0
        self.moment = int(time.time()) - 60

    def write_config(self) -> Path:
        self.config.write_text(json.dumps(self.options))
        self.config.chmod(0o600)
        return self.config

    def call(self) -> CapturedCall:
        """One more call, of this minute: not written yet. No two share an id."""
        captured = captured_calls()
        call = captured[self.serial % len(captured)].beginning_at(self.moment - 20 * self.serial)
        self.serial += 1
        return call

    def happens(self, calls: int = 1) -> list[str]:
        """Whole calls are written, row by row; their linkedids."""
        written = [self.call() for _ in range(calls)]
        fill(self.cel, written)
        return [call.linkedid for call in written]

    def rows(self) -> int:
        with contextlib.closing(sqlite3.connect(self.cel)) as database:
            count: int = database.execute("SELECT count(*) FROM cel").fetchone()[0]
            return count

    @contextlib.asynccontextmanager
    async def daemon(
        self, *arguments: str, environ: Mapping[str, str] | None = None
    ) -> AsyncIterator["Daemon"]:
        """`celreplay serve`, ready; killed at the end unless it has ended."""
        self.write_config()
        daemon = await self.launch(*arguments, environ=environ)
        try:
            await daemon.ready()
            yield daemon
        finally:
            await daemon.end()

    async def launch(self, *arguments: str, environ: Mapping[str, str] | None = None) -> "Daemon":
        """The process as it starts."""
        with contextlib.suppress(FileNotFoundError):
            self.notify.unlink()
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(str(self.notify))
        manager.setblocking(False)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "celreplay", "serve", "-c", str(self.write_config()), *arguments,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "NOTIFY_SOCKET": str(self.notify), **(environ or {})},
        )  # fmt: skip
        return Daemon(process, manager)


class Daemon:
    """One process of `celreplay serve`."""

    def __init__(self, process: asyncio.subprocess.Process, manager: socket.socket) -> None:
        self.process = process
        self.log: list[dict[str, Any]] = []
        self.told = ""
        self._manager = manager
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            try:
                self.log.append(json.loads(line))
            except ValueError:
                self.log.append({"event": "", "text": line.decode().rstrip()})

    async def ready(self) -> None:
        """Wait until systemd would be told READY=1."""
        await until(lambda: self._is_ready() or self.process.returncode is not None)
        assert self.process.returncode is None, self.log

    def _is_ready(self) -> bool:
        """The log may be read a moment after the message."""
        return "READY=1" in self.heard() and bool(self.events("daemon.ready"))

    def heard(self) -> str:
        """All that the service manager has been told."""
        with contextlib.suppress(BlockingIOError, OSError):
            while True:
                self.told += self._manager.recv(4096).decode() + "\n"
        return self.told

    @property
    def api(self) -> str:
        """The address it answers on."""
        return str(next(entry["api"] for entry in self.log if entry["event"] == "daemon.ready"))

    def events(self, name: str) -> list[dict[str, Any]]:
        return [entry for entry in self.log if entry["event"] == name]

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        await self.ended()

    async def ended(self) -> int:
        code = await asyncio.wait_for(self.process.wait(), PATIENCE)
        await self._reader
        self.heard()
        return code

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.ended()
        self._manager.close()


async def told_of_the_past(store: Path, system: str) -> None:
    """A store whose admin has been told that a period reaches back before live reading."""
    opened = SqliteStore.open(store, system=system)
    await opened.set_pbx_name(system)
    await opened.once(BEFORE_LIVE_READING, now=0)
    await opened.aclose()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something outside has come true; fails after `PATIENCE` seconds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it has not come true"
        await asyncio.sleep(0.02)


async def run(*command: str) -> tuple[int, str, str]:
    """A command's exit code, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    return process.returncode or 0, out.decode(), err.decode()
