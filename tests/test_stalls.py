"""Databases that stall, are cut or cannot store: what was read stays, what was not is read, nothing twice."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from live_tables import ALL, ANSWERED, OTHERS, Table, Watch
from stalling import Relay

from celreplay.demo.data import CapturedCall
from celreplay.errors import StoreError
from celreplay.sources.base import CelSource
from celreplay.sources.mysql import MysqlDatabase
from celreplay.sources.postgresql import PostgresqlDatabase
from celreplay.sources.table import TableSource


@pytest.fixture(params=ALL)
async def watch(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Watch]:
    watch = Watch(await Table.made(request.param, request, tmp_path), tmp_path)
    yield watch
    await watch.stop()


def through(relay: Relay, table: Table, seconds: float) -> CelSource:
    """The table read through the relay, with so much patience for a statement."""
    name = table.url.rpartition("/")[2]
    place = {"host": "127.0.0.1", "port": relay.port, "database": name, "password": ""}
    database: PostgresqlDatabase | MysqlDatabase
    if table.server == "postgresql":
        database = PostgresqlDatabase(user="postgres", statement_seconds=seconds, **place)  # type: ignore[arg-type]
    else:
        database = MysqlDatabase(user="root", statement_seconds=seconds, **place)  # type: ignore[arg-type]
    return TableSource(database, table="cel", columns={}, zone=ZoneInfo("UTC"), zone_name="UTC")


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
@pytest.mark.parametrize("cut", [True, False])
async def test_a_database_that_stalls_in_an_answer_costs_nothing(
    kind: str, cut: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The statement times out, or the connection breaks, in the middle of the rows; they are asked for again."""
    table = await Table.made(kind, request, tmp_path)
    watch = Watch(table, tmp_path)
    calls: list[CapturedCall] = []
    async with Relay(int(table.url.rpartition(":")[2].partition("/")[0])) as relay:
        source = through(relay, table, 30 if cut else 0.5)
        await watch.start(page=20, source=source)
        for answered in (1_000, 3_000, 7_000, 9_000):
            for other in OTHERS[:4]:
                calls.append(await watch.happens(other))
                await watch.clock.sleep(5)
            relay.hold_after(answered)
            reading = asyncio.create_task(watch.read())
            await asyncio.wait_for(relay.held.wait(), 20)
            relay.flow()  # for new connections; the one that was held stays silent
            if cut:
                relay.cut()
            await reading
            await watch.settle()
        assert await watch.stored(calls) == await watch.expected(*calls)
        assert await watch.queued() == sorted(call.linkedid for call in calls)
        await watch.stop()


async def test_calls_that_could_not_be_stored_are_kept(watch: Watch) -> None:
    """The store is away as a call ends, and the table is emptied before it is back: the call is whole."""
    await watch.start(busy_timeout=0.2)
    call, up = watch.begins(ANSWERED), watch.begins(OTHERS[1])
    await watch.table.write([*up.rows[:4], *call.rows])
    with closing(sqlite3.connect(watch.store_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            with pytest.raises(StoreError):
                await watch.settle()
        await watch.table.execute("DELETE FROM cel")
        other.execute("ROLLBACK")
    await watch.read()
    await watch.table.write(up.rows[4:])
    await watch.settle()
    assert await watch.stored([call, up]) == await watch.expected(call, up)
    assert await watch.queued() == sorted([call.linkedid, up.linkedid])


async def test_a_table_that_is_away_as_a_call_ends_costs_nothing(watch: Watch) -> None:
    """The call began before the first start, and its head has not been looked up yet."""
    call = watch.begins(ANSWERED)
    await watch.table.write(call.rows[:6])
    await watch.start()
    await watch.table.write(call.rows[6:])
    await watch.read()
    await watch.table.execute("ALTER TABLE cel RENAME TO away")
    await watch.clock.sleep(10)
    for _ in range(2):
        with pytest.raises(Exception, match="cel"):
            await watch.tail.step()
    await watch.table.execute("ALTER TABLE away RENAME TO cel")
    await watch.settle()
    assert await watch.stored([call]) == await watch.expected(call)
