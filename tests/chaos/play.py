"""One scenario from beginning to end: bring everything up, break it, make it well, wait, and judge."""

import asyncio
import contextlib
import random
import shutil
import signal
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

from servers import Server, running_mariadb, running_postgresql

from chaos import storms
from chaos.evidence import final_status, gather, settled
from chaos.judge import Verdict, judge
from chaos.ledger import Ledger
from chaos.processes import SECRET, Crm, Daemon
from chaos.replays import Replays
from chaos.scenarios import Scenario
from chaos.stores import small_disk
from chaos.tables import ZONE, MariadbTable, PostgresqlTable, SqliteTable, Table
from chaos.traffic import Pbx
from chaos.world import World

POLL = 0.2
DRAIN = 240.0
"""Seconds of good weather after which everything must have arrived."""


class Play:
    """The parts of one run of one scenario. Everything it leaves lies in `folder`."""

    def __init__(
        self, scenario: Scenario, seed: str, folder: Path, table: Table, server: Server | None
    ) -> None:
        self.scenario = scenario
        self.folder = folder
        self.table = table
        self.server = server
        self.chance = random.Random(f"{seed} {scenario.name}")
        self.events = Ledger(folder / "events.jsonl")
        self.pbx = Pbx(
            table, Ledger(folder / "pbx.jsonl"), f"{seed} {scenario.name} calls", scenario.late_rows
        )
        self.crm = Crm(folder, f"{seed} {scenario.name}", scenario.timeout, scenario.late, self.events)
        self.store = folder / "store"
        self.daemon = Daemon(folder, self._options(), self.events)
        self.daemon.after_kill = self._forget

    def _forget(self) -> None:
        """The sabotage of a kill: the disk has lost what it had said to be written."""
        gone = {"lost-store": "store.sqlite*", "lost-wal": "store.sqlite-*"}.get(self.scenario.sabotage)
        for file in self.store.glob(gone) if gone else ():
            file.unlink()

    def _options(self) -> dict[str, Any]:
        scenario = self.scenario
        connector = {
            "type": "webhook",
            "url": self.crm.url,
            "secret": SECRET,
            "timeout": f"{scenario.timeout}s",
            "probe_after": f"{scenario.probe_after}s",
            "workers": scenario.workers,
            "schedule": list(scenario.schedule),
        }
        if scenario.probeable and scenario.sabotage != "unasked":
            connector["lookup_url"] = f"{self.crm.url}/{{webhook_id}}"
        pbx: dict[str, Any] = {"name": "chaos", "timezone": ZONE}
        if scenario.sabotage == "unordered":
            pbx["numbers"] = {"outside": [{"match": ".*", "replace": ""}]}
        return {
            "pbx": pbx,
            "cel": {"url": self.table.url, "poll_interval": f"{POLL}s", "grace": f"{scenario.grace}s"},
            "store": {"url": f"sqlite:///{self.store / 'store.sqlite'}"},
            "connectors": {"crm": connector},
        }

    async def run(self) -> None:
        """Bring up, break, mend, and wait until nothing moves any more."""
        self.store.mkdir(exist_ok=True)
        await self.table.create()
        past = await self.pbx.past(self.scenario.past, 3600.0) if self.scenario.past else None
        await self.crm.start()
        try:
            await self.daemon.up()  # the first start begins now: it must have begun before the first call
            await asyncio.sleep(2 * POLL)
            await self._break(past)
            await self._mend()
        finally:
            await self.daemon.end(signal.SIGTERM, "term")
            await self.crm.kill()

    async def _break(self, past: tuple[int, int] | None) -> None:
        """All storms at once, until the last row is written and each has had its turns."""
        scenario = self.scenario
        todo = [asyncio.create_task(each) for each in self._storms(past)]
        around: list[asyncio.Task[None]] = []
        if scenario.crm_outages:
            storm = storms.crm_outages(self.crm, self.chance, scenario.crm_outages, scenario.longest_outage)
            around.append(asyncio.create_task(storm))
        if scenario.kills:
            await self.daemon.end(signal.SIGKILL, "kill")
            await storms.kills(
                self.daemon, self.chance, scenario.kills, scenario.seconds,
                lambda: not all(task.done() for task in todo),
            )  # fmt: skip
        else:
            around.append(asyncio.create_task(storms.keep_running(self.daemon)))
        await asyncio.gather(*todo)
        for task in around:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _storms(self, past: tuple[int, int] | None) -> Iterator[Coroutine[Any, Any, None]]:
        """The traffic, and what comes to an end by itself."""
        scenario = self.scenario
        yield self.pbx.live(scenario.calls, scenario.seconds)
        if self.server is not None and scenario.cel_restarts:
            yield storms.cel_restarts(
                self.server, self.events, self.chance, scenario.cel_restarts, scenario.seconds
            )
        if scenario.full_disks:
            yield storms.full_disks(
                self.store, self.events, self.chance, scenario.full_disks, scenario.seconds
            )
        if scenario.long_outage:
            yield self._long_outage()
        if past is not None:
            yield Replays(self.daemon, self.events, self.pbx, self.chance).ask(past)

    async def _long_outage(self) -> None:
        await asyncio.sleep(self.chance.uniform(1.0, 5.0))
        await self.crm.kill()
        await asyncio.sleep(self.scenario.long_outage)
        await self.crm.start()

    async def _mend(self) -> None:
        """All is well again; a start sends a held connector one delivery at once (docs/delivery.md, decisions)."""
        await self.crm.kill()
        await self.crm.start()
        await self.crm.be_well()
        await self.daemon.end(signal.SIGTERM, "term")
        await self.daemon.up()
        self.events.write("mended")
        begin = time.monotonic()
        while time.monotonic() - begin < DRAIN:
            await asyncio.sleep(2.0)
            if await settled(self.daemon):
                break
        self.events.write("drained", seconds=round(time.monotonic() - begin, 1))
        self.events.write("status", **await final_status(self.daemon))


@contextlib.contextmanager
def _table(scenario: Scenario, folder: Path) -> Iterator[tuple[Table, Server | None]]:
    if scenario.cel == "postgresql":
        with running_postgresql() as postgresql:
            yield PostgresqlTable(postgresql, "asterisk"), postgresql
    elif scenario.cel == "mariadb":
        with running_mariadb() as mariadb:
            yield MariadbTable(mariadb, "asteriskcdrdb"), mariadb
    else:
        yield SqliteTable(folder / "cel.db"), None


def play(scenario: Scenario, seed: str, folder: Path) -> tuple[World, Verdict]:
    """Run one scenario in the folder, and judge it."""
    with contextlib.ExitStack() as stack:
        if scenario.full_disks:
            disk = stack.enter_context(small_disk(folder / "store"))
            stack.callback(lambda: shutil.copytree(disk, folder / "store-at-the-end", dirs_exist_ok=True))
        table, server = stack.enter_context(_table(scenario, folder))

        async def whole() -> tuple[World, Verdict]:
            run = Play(scenario, seed, folder, table, server)
            await run.run()
            world = await gather(run.daemon, folder, scenario, POLL + scenario.grace)
            return world, judge(world)

        return asyncio.run(whole())
