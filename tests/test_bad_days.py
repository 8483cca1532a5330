"""The daemon as a process on a bad day of its table: bursts, a dead Asterisk, a rotated file, foreign time zones."""

import asyncio
import csv
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import msgspec
import pytest
from captures_io import ROOT
from cel_file import fill
from crm_server import CrmServer
from live_tables import Table
from running import Pbx, until

from celreplay.demo.data import COLUMNS, CapturedCall, captured_calls, create_table, write_rows

BURST = 60_000
"""Rows."""


@pytest.fixture
async def crm() -> AsyncIterator[CrmServer]:
    async with CrmServer() as crm:
        yield crm


def many_calls(rows: int, moment: float) -> list[CapturedCall]:
    """Calls of so many rows in all, some seconds apart, each with ids of its own."""
    calls: list[CapturedCall] = []
    captured, written = captured_calls(), 0
    while written < rows:
        call = captured[len(calls) % len(captured)].beginning_at(moment + 3 * len(calls))
        prefix = f"s{len(calls)}-"
        places = [COLUMNS.index("uniqueid"), COLUMNS.index("linkedid")]
        named = [
            [prefix + cell if place in places else cell for place, cell in enumerate(row)]
            for row in call.rows
        ]
        calls.append(msgspec.structs.replace(call, rows=named))
        written += len(named)
    return calls


def deliveries(pbx: Pbx) -> int:
    """In the store's file."""
    with closing(sqlite3.connect(pbx.folder / "store.sqlite")) as store:
        count: int = store.execute("SELECT count(*) FROM deliveries").fetchone()[0]
        return count


def most_memory(pid: int) -> float:
    """The highest resident memory of a process so far, MB; proc(5)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


async def test_a_burst_is_read_in_bounded_memory_while_the_daemon_answers(
    tmp_path: Path, crm: CrmServer
) -> None:
    """A database that had stood still brings very many rows at once: all calls are queued, `/healthz` answers
    meanwhile, and the memory is that of a page and the open calls, not of the burst."""
    await crm.shut()
    pbx = Pbx(tmp_path, crm.url)
    calls = many_calls(BURST, pbx.moment - 3 * BURST)
    answers = 0
    async with pbx.daemon() as daemon, aiohttp.ClientSession() as session:
        before = most_memory(daemon.process.pid)
        await asyncio.to_thread(fill, pbx.cel, calls)
        while deliveries(pbx) < len(calls):
            async with session.get(f"{daemon.api}/healthz", timeout=aiohttp.ClientTimeout(20)) as answer:
                answers += answer.status in {200, 503}
            await asyncio.sleep(0.05)
        assert most_memory(daemon.process.pid) < before + 50
    assert answers >= 5
    assert deliveries(pbx) == len(calls)


async def test_a_call_of_a_dead_asterisk_is_closed_and_told_when_it_goes_on(
    tmp_path: Path, crm: CrmServer
) -> None:
    """Its rows stop; after `stale_after` it is sent as incomplete. Rows that come later all the same are told."""
    pbx = Pbx(tmp_path, crm.url)
    pbx.options["cel"]["stale_after"] = "1s"
    async with pbx.daemon() as daemon:
        call = pbx.call()
        write_rows(pbx.cel, call.rows[:6])
        await until(lambda: len(crm.received) == 1)
        assert crm.received[0].json["data"]["complete"] is False
        write_rows(pbx.cel, call.rows[6:])
        await until(lambda: bool(daemon.events("tail.call_changed")))
        assert daemon.events("tail.call_changed")[0]["linkedid"] == call.linkedid
        await daemon.stop()
    assert crm.linkedids() == [call.linkedid]


async def test_a_file_rotated_under_the_daemon_costs_no_call(tmp_path: Path, crm: CrmServer) -> None:
    """logrotate moves the file in mid-call, and Asterisk goes on in a new one; a kill -9 later too."""
    pbx = Pbx(tmp_path, crm.url)
    async with pbx.daemon() as daemon:
        first = pbx.happens(2)
        await until(lambda: len(crm.received) == 2)
        up = pbx.call()
        write_rows(pbx.cel, up.rows[:6])
        await asyncio.sleep(1)
        pbx.cel.rename(tmp_path / "cel.sqlite.1")
        await until(lambda: bool(daemon.events("tail.paused")))
        create_table(pbx.cel)
        write_rows(pbx.cel, up.rows[6:])
        await until(lambda: len(crm.received) == 3)
        await daemon.kill()
    pbx.cel.rename(tmp_path / "cel.sqlite.2")
    last = pbx.happens(3)
    async with pbx.daemon() as daemon:
        await until(lambda: len(crm.received) == 6)
        await daemon.stop()
    assert sorted(crm.linkedids()) == sorted([*first, up.linkedid, *last])
    [whole] = [one.json["data"] for one in crm.received if one.linkedid == up.linkedid]
    assert whole["complete"]
    assert [entry["event"] for entry in daemon.log if entry["event"].startswith("tail.ids")] == [
        "tail.ids_started_anew"
    ]


def night_of_the_clock_change() -> list[list[str]]:
    """The rows of four calls around it, in the order of writing."""
    rows: dict[int, list[str]] = {}
    for case in sorted((ROOT / "variants" / "dst-fallback").iterdir()):
        with (case / "cel.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                rows[int(row["AcctId"])] = [row[name] for name in COLUMNS]
    return [row for _, row in sorted(rows.items())]


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
async def test_the_hosts_time_zone_changes_no_call(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The table holds local times of Berlin in the night when the clock goes back; the daemon runs elsewhere."""
    table = await Table.made(kind, request, tmp_path)
    table.zone = ZoneInfo("Europe/Berlin")
    rows = night_of_the_clock_change()
    await table.write(rows)
    told: list[dict[str, Any]] = []
    zones = [
        ("Europe/Berlin", "America/New_York"),
        ("Europe/Berlin", "Asia/Kathmandu"),
        ("", "Europe/Berlin"),
    ]
    for named, host in zones:
        folder = tmp_path / host.replace("/", "-")
        folder.mkdir()
        async with CrmServer() as crm:
            pbx = Pbx(folder, crm.url)
            pbx.options["pbx"]["timezone"] = named
            pbx.options["cel"] |= {"url": table.url, "start": "2026-10-24"}
            async with pbx.daemon(environ={"TZ": host}) as daemon:
                await until(lambda: len(crm.received) >= 4)
                await daemon.stop()
            told.append({one.linkedid: one.json["data"] for one in crm.received})
    assert len(told[0]) == 4
    assert told[0] == told[1] == told[2]
    linkedid, began = COLUMNS.index("linkedid"), COLUMNS.index("eventtime")
    first = {row[linkedid]: float(row[began]) for row in reversed(rows)}
    for call in told[0].values():
        started_at = next(moment for key, moment in first.items() if key == call["linkedid"])
        assert abs(datetime.fromisoformat(call["started_at"]).timestamp() - started_at) < 1
