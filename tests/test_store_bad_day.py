"""The store on a bad day, under a real daemon: a full disk, a broken file. Nothing is acknowledged that is not kept."""

import asyncio
import contextlib
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from crm_server import CrmServer
from factories import START, make_finished
from running import Daemon, Pbx, run, until

from celreplay.config import load
from celreplay.connectors.table import OPTIONS
from celreplay.errors import StoreError
from celreplay.parts import parts_of
from celreplay.store.sqlite import SqliteStore

CURL = ("curl", "-s", "--digest", "-u", "admin:night", "-w", " %{http_code}")
UNLIMITED = resource.RLIM_INFINITY


@pytest.fixture
async def crm() -> AsyncIterator[CrmServer]:
    async with CrmServer() as crm:
        yield crm


class Limit:
    """The kernel refuses every write of the daemon to a file (RLIMIT_FSIZE), as at the end of a quota."""

    said = "reading or writing it failed"

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store.sqlite"

    def fill(self, daemon: Daemon) -> None:
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (1, UNLIMITED))

    def make_room(self, daemon: Daemon) -> None:
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))

    def end(self) -> None:
        """Nothing to take back."""


class SmallDisk:
    """A file system of 3 MB with the store on it, full to its last block."""

    said = "the disk is full"

    def __init__(self, folder: Path) -> None:
        self.room = folder / "room"
        self.room.mkdir()
        self.store = self.room / "store.sqlite"
        command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(self.room)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = f"no file system can be mounted here: {done.stderr.strip()}"
            print(reason)
            pytest.skip(reason)

    def fill(self, daemon: Daemon) -> None:  # noqa: ARG002 - as the other way has it
        with (self.room / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(4096))

    def make_room(self, daemon: Daemon) -> None:  # noqa: ARG002 - as the other way has it
        (self.room / "ballast").unlink()

    def end(self) -> None:
        subprocess.run(["umount", "-l", str(self.room)], check=True)


@pytest.fixture(params=[Limit, SmallDisk])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Limit | SmallDisk]:
    disk = request.param(tmp_path)
    yield disk
    disk.end()


def ask(store: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        return [tuple(row) for row in connection.execute(sql).fetchall()]


async def healthy(daemon: Daemon) -> tuple[bool, str]:
    _, out, _ = await run("curl", "-s", "-w", " %{http_code}", f"{daemon.api}/healthz")
    return out.endswith(" 200"), out


async def until_health(daemon: Daemon, *, good: bool) -> str:
    while True:
        well, out = await healthy(daemon)
        if well is good:
            return out
        await asyncio.sleep(0.1)


@pytest.mark.timeout(120)
async def test_a_full_disk_loses_and_doubles_nothing(
    tmp_path: Path, crm: CrmServer, disk: Limit | SmallDisk
) -> None:
    """Full: the position stays, nothing is sent, no 202 is given, what the CRM took is not settled, health is
    red. With room again the same process goes on by itself: every call has arrived exactly once."""
    pbx = Pbx(tmp_path, crm.url)
    pbx.options["store"]["url"] = f"sqlite:///{disk.store}"
    pbx.options["cel"]["start"] = "-2"
    async with pbx.daemon() as daemon:
        expected = pbx.happens(3)
        await until(lambda: len(crm.taken) >= 3)
        crm.pause = 1.0
        expected += pbx.happens(1)
        await until(lambda: crm.at_once > 0)
        disk.fill(daemon)  # while an attempt is under way
        place = ask(disk.store, "SELECT value FROM meta WHERE key = 'reading'")
        await until(lambda: len(crm.taken) >= 4)
        crm.pause = 0.0
        expected += pbx.happens(5)
        assert disk.said in await until_health(daemon, good=False)
        assert ask(disk.store, "SELECT value FROM meta WHERE key = 'reading'") == place
        sending = "SELECT count(*) FROM deliveries WHERE state = 'sending'"
        assert ask(disk.store, sending) == [(1,)], "the answer is not on disk"
        code, out, _ = await run(*CURL, f"{daemon.api}/pbx/read_call?start_date=-0")
        assert (code, out[-4:]) == (0, " 503"), out
        assert disk.said in out
        assert ask(disk.store, "SELECT count(*) FROM replays") == [(0,)]
        assert len(crm.received) == 4
        disk.make_room(daemon)
        await until(lambda: len(crm.taken) >= len(expected))
        await until(lambda: ask(disk.store, sending) == [(0,)])
        await until_health(daemon, good=True)
        assert await daemon.stop() == 0
    assert sorted(crm.linkedids()) == sorted(expected)
    assert len(crm.received) == len(expected)
    assert not [entry for entry in daemon.log if "Traceback" in str(entry)]


@pytest.mark.timeout(120)
async def test_a_replay_that_meets_a_full_disk_goes_on_when_there_is_room(
    tmp_path: Path, crm: CrmServer
) -> None:
    """It is neither failed nor forgotten, and needs no restart."""
    pbx = Pbx(tmp_path, crm.url)
    limit = Limit(tmp_path)
    expected = pbx.happens(20)
    async with pbx.daemon() as daemon:
        curl = ("curl", "-s", "--digest", "-u", "admin:night")
        address = f"{daemon.api}/pbx/read_call?start_date=-1"
        await run(*curl, address)  # refused once: it reaches back before live reading
        code, out, _ = await run(*curl, address)
        limit.fill(daemon)
        assert (code, '"replay":1' in out) == (0, True), out
        await until(lambda: bool(daemon.events("replay.waits_for_store")) or len(crm.taken) >= 20)
        limit.make_room(daemon)
        await until(lambda: len(crm.taken) >= 20)
        await until(lambda: ask(limit.store, "SELECT state FROM replays") == [("done",)])
        assert await daemon.stop() == 0
    assert sorted(crm.linkedids()) == sorted(expected)


# damage


def scramble(store: Path, table: str) -> None:
    """Random bytes over every page of a table but its first, which finds the others."""
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        pages = [row[0] for row in connection.execute("SELECT pageno FROM dbstat WHERE name = ?", (table,))]
    with store.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * size)
            file.write(os.urandom(size))


def serve(pbx: Pbx) -> list[str]:
    return [sys.executable, "-m", "celreplay", "serve", "-c", str(pbx.config)]


async def test_a_store_that_is_broken_at_the_start_is_told_in_one_line(
    tmp_path: Path, crm: CrmServer
) -> None:
    """What is broken, where, what to do; exit code 2, no traceback, and nothing is sent."""
    pbx = Pbx(tmp_path, crm.url)
    async with pbx.daemon() as daemon:
        pbx.happens(2)
        await until(lambda: len(crm.taken) >= 2)
        await daemon.stop()
    store = tmp_path / "store.sqlite"
    scramble(store, "meta")
    code, _, err = await run(*serve(pbx))
    (line,) = [line for line in err.splitlines() if not line.startswith("{")]
    assert code == 2
    assert f"store {store}: it is damaged" in line
    assert "meta: " in line
    assert "celreplay store check" in line
    assert "backup" in line
    assert len(crm.received) == 2


async def test_a_store_that_breaks_under_the_daemon_turns_health_red(tmp_path: Path, crm: CrmServer) -> None:
    """Found while it runs: one message in the log, health says what and where, nothing more is written or sent."""
    pbx = Pbx(tmp_path, crm.url)
    store = tmp_path / "store.sqlite"
    async with pbx.daemon() as daemon:
        pbx.happens(3)
        await until(lambda: len(crm.taken) >= 3)
        await until(lambda: ask(store, "SELECT count(*) FROM deliveries WHERE state = 'delivered'") == [(3,)])
        scramble(store, "deliveries")
        pbx.happens(3)
        health = await until_health(daemon, good=False)
        assert "it is damaged" in health
        assert "celreplay store check" in health
        await until(lambda: bool(daemon.events("tail.paused")))
        assert len(daemon.events("store.damaged")) == 1
        code, out, _ = await run(*CURL, f"{daemon.api}/pbx/read_call?start_date=-0")
        assert (code, out[-4:]) == (0, " 503"), out
        assert len(crm.received) == 3
        assert daemon.process.returncode is None
        assert await daemon.stop() == 0
    assert not [entry for entry in daemon.log if "Traceback" in str(entry)]


async def test_a_damaged_store_is_not_written_to_any_more(tmp_path: Path) -> None:
    """Pages that are still sound would only get further from those that are not."""
    store = SqliteStore.open(tmp_path / "store.db", system="pbx")
    for number in range(200):
        await store.save_calls([make_finished(f"{number}")], now=START)
    assert store.damage is None
    scramble(store.path, "deliveries_ready")
    with pytest.raises(StoreError, match="it is damaged"):
        await store.save_calls([make_finished("new")], now=START)
    with pytest.raises(StoreError, match="it is damaged"):
        await store.set_pbx_name("sound page")
    assert "damaged: deliveries: " in str(store.damage)
    assert await store.pbx_name() is None
    await store.aclose()


async def test_damage_makes_health_red_whoever_found_it(tmp_path: Path) -> None:
    """A worker's claim, not the reading of CEL, met the broken page."""
    config = load(Pbx(tmp_path, "http://127.0.0.1:9/").write_config(), OPTIONS)
    async with parts_of(config) as parts:
        for number in range(200):
            await parts.store.save_calls([make_finished(f"{number}")], now=START)
        assert (await parts.services.health()).ok
        scramble(parts.store.path, "deliveries")
        with pytest.raises(StoreError, match="it is damaged"):
            await parts.store.claim("crm", 5, now=START, order_patience=900)
        health = await parts.services.health()
        assert not health.ok
        assert "it is damaged" in health.problems[0]
