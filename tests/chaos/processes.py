"""The two processes under test: the daemon, and the CRM. Each is started, killed and started again."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from servers import free_port

from chaos.faults import QUESTIONS, USUAL
from chaos.ledger import Ledger

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
USER, PASSWORD = "admin", "night"
PATIENCE = 30.0
"""Seconds after which a start has failed."""


class Daemon:
    """`celreplay serve` over many lives; its log is one file."""

    def __init__(self, folder: Path, options: dict[str, Any], events: Ledger) -> None:
        self.config = folder / "celreplay.yaml"
        self.log = folder / "daemon.log"
        self.events = events
        self.port = free_port()
        self.process: asyncio.subprocess.Process | None = None
        self.after_kill: Callable[[], None] = lambda: None
        api = {"port": self.port, "users": {USER: PASSWORD}}
        self.config.write_text(json.dumps(options | {"api": api, "log": {"format": "json"}}))
        self.config.chmod(0o600)

    async def start(self) -> None:
        """The process, as it starts."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "celreplay", "serve", "-c", str(self.config), stderr=log
            )
        self.events.write("start", pid=self.process.pid)

    async def ready(self) -> bool:
        """Wait until it answers; False: it has ended before."""
        assert self.process is not None
        for _ in range(int(PATIENCE / 0.05)):
            if self.process.returncode is not None:
                self.events.write("exit", code=self.process.returncode, early=True)
                return False
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            self.events.write("ready")
            return True
        raise RuntimeError(f"the daemon does not get ready; see {self.log}")

    async def up(self) -> None:
        """Started and ready, however often it takes: as systemd would do it."""
        while True:
            await self.start()
            if await self.ready():
                return
            await asyncio.sleep(0.5)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def end(self, how: signal.Signals, what: str) -> None:
        """Send the signal, and wait for the end. What had ended by itself is told as that."""
        process = self.process
        if process is None:
            return
        if process.returncode is None:
            self.events.write(what)
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(how)
            try:
                await asyncio.wait_for(process.wait(), PATIENCE)
            except TimeoutError:
                self.events.write("kill", why="did not end")
                process.kill()
                await process.wait()
        else:
            self.events.write("exit", code=process.returncode, early=False)
        self.process = None
        if what == "kill":
            self.after_kill()

    async def freeze(self, seconds: float) -> None:
        """Stand still, as a virtual machine does that is moved: its clock goes on meanwhile."""
        if self.process is None or self.process.returncode is not None:
            return
        self.events.write("freeze")
        self.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)
        self.events.write("thaw")

    async def rival(self) -> None:
        """Somebody starts it a second time: that one must give up by itself."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "celreplay", "serve", "-c", str(self.config),
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            code: int | None = await asyncio.wait_for(process.wait(), PATIENCE)
        except TimeoutError:
            process.kill()
            await process.wait()
            code = None
        self.events.write("rival", code=code)

    async def command(self, *words: str, patience: float = 120.0) -> tuple[int, str]:
        """Another command of the CLI beside it: exit code and stdout."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "celreplay", words[0], "-c", str(self.config), *words[1:],
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), patience)
        return process.returncode or 0, out.decode()

    async def curl(self, path: str) -> tuple[int, Any]:
        """A request with digest login: status and JSON; status 0 while it is down."""
        process = await asyncio.create_subprocess_exec(
            "curl", "-s", "-m", "20", "--digest", "-u", f"{USER}:{PASSWORD}", "-w", "\n%{http_code}",
            f"http://127.0.0.1:{self.port}{path}", stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
        body, _, status = out.decode().rpartition("\n")
        with contextlib.suppress(ValueError):
            return int(status), json.loads(body)
        return 0, None


class Crm:
    """The receiver over many lives; its ledger is one file."""

    def __init__(self, folder: Path, seed: str, timeout: float, late: float, events: Ledger) -> None:
        self.ledger = folder / "crm.jsonl"
        self.events = events
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/calls"
        self._arguments = [str(self.port), str(self.ledger), seed, SECRET, str(timeout), str(late)]
        self._log = folder / "crm.log"
        self._process: asyncio.subprocess.Process | None = None
        self._rates: dict[str, Any] = {"calls": dict(USUAL), "questions": dict(QUESTIONS)}

    async def start(self) -> None:
        """Started, and it answers."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "chaos.receiver", *self._arguments,
                stderr=log, cwd=Path(__file__).parents[1], env={**os.environ, "PYTHONPATH": "."},
            )  # fmt: skip
        for _ in range(int(PATIENCE / 0.05)):
            with contextlib.suppress(aiohttp.ClientError):
                await self.set_rates(self._rates)
                self.events.write("crm-up")
                return
            await asyncio.sleep(0.05)
        raise RuntimeError(f"the receiver does not start; see {self._log}")

    async def set_rates(self, rates: dict[str, Any]) -> None:
        self._rates = rates
        address = f"http://127.0.0.1:{self.port}/rates"
        async with aiohttp.ClientSession() as session, session.put(address, json=rates) as answer:
            answer.raise_for_status()

    async def be_well(self) -> None:
        """From now on it takes everything."""
        await self.set_rates({"calls": {}, "questions": {}})

    async def kill(self) -> None:
        """As if its machine lost power: what is in flight is cut, and what it was to take later is gone."""
        if self._process is not None:
            self.events.write("crm-kill")
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None
