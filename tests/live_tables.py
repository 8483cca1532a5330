"""CEL tables that live: rows are written, lost, moved and purged while a tail follows them, in real databases."""

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pymysql
import pytest
from cel_tables import TABLES
from fakes import FakeClock, FakeConnector
from servers import Mariadb, Postgresql

from celreplay.calls.interpret import PbxRules
from celreplay.calls.model import Call, decode_call, encode
from celreplay.cel.grouping import groups_of
from celreplay.demo.data import COLUMNS, CapturedCall, captured_calls
from celreplay.health import Health
from celreplay.intake import Intake
from celreplay.sources.base import CelSource
from celreplay.sources.opening import source_of
from celreplay.store.sqlite import SqliteStore
from celreplay.tail import Tail, TailOptions
from celreplay.times import SECOND, Instant

NOW = 1_795_400_000
"""UNIX seconds at which a test begins, some hours after the captures."""
GRACE = 3.0
STALE = 3600.0
ALL = ("sqlite", "postgresql", "mariadb")
WITHOUT_ID = ("postgresql-no-id", "mariadb-no-id")
ANSWERED, *OTHERS = captured_calls()
RULES = PbxRules(system="pbx1")

Row = Sequence[str]
_TIME, _AMAFLAGS = COLUMNS.index("eventtime"), COLUMNS.index("amaflags")
_NAMES = {
    "cidname": "cid_name", "cidnum": "cid_num", "cidani": "cid_ani", "cidrdnis": "cid_rdnis",
    "ciddnid": "cid_dnid", "eventextra": "extra",
}  # fmt: skip
_numbers = itertools.count(1)


class Table:
    """A CEL table in one of the databases, written as Asterisk writes it."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind, self.url = kind, url
        self.server = kind.partition("-")[0]
        self.zone = ZoneInfo("UTC")
        """Of the local times that are written."""

    @classmethod
    async def made(cls, kind: str, request: pytest.FixtureRequest, folder: Path) -> "Table":
        """A new, empty table."""
        name = f"live{next(_numbers)}"
        server = kind.partition("-")[0]
        if server == "sqlite":
            table = cls(kind, f"sqlite://{folder / name}.db")
        else:
            database: Postgresql | Mariadb = request.getfixturevalue(server)
            start = cls(kind, database.url("postgres" if server == "postgresql" else "mysql"))
            await start.execute(f"CREATE DATABASE {name}")
            table = cls(kind, database.url(name))
        await table.create()
        return table

    @property
    def path(self) -> Path:
        """The file of an SQLite table."""
        return Path(self.url.removeprefix("sqlite://"))

    @property
    def id_column(self) -> str:
        return "AcctId" if self.server == "sqlite" else "id"

    async def create(self) -> None:
        """The table and its indexes."""
        if self.server == "sqlite":
            await self.execute(f"CREATE TABLE cel (AcctId INTEGER PRIMARY KEY, {','.join(COLUMNS)})")
            await self.execute("CREATE INDEX by_linkedid ON cel (linkedid)")
            await self.execute("CREATE INDEX by_uniqueid ON cel (uniqueid)")
            return
        files = ("postgresql", "postgresql-indexes") if self.server == "postgresql" else ("freepbx",)
        for name in files:
            for statement in (TABLES / f"{name}.sql").read_text().split(";"):
                if statement.strip():
                    await self.execute(statement)
        if self.kind in WITHOUT_ID:
            await self.execute("ALTER TABLE cel DROP COLUMN id")

    async def execute(self, sql: str, rows: Sequence[Sequence[object]] | None = None) -> Any:
        """One statement as the owner, once or for each of `rows`, in a transaction of its own."""
        if self.server == "sqlite":
            return await asyncio.to_thread(self._sqlite, sql, rows)
        if self.server == "mariadb":
            return await asyncio.to_thread(self._mariadb, sql, rows)
        connection = await asyncpg.connect(self.url)
        try:
            if rows is None:
                return [tuple(row) for row in await connection.fetch(sql)]
            return await connection.executemany(sql, rows)
        finally:
            await connection.close()

    def _sqlite(self, sql: str, rows: Sequence[Sequence[object]] | None) -> Any:
        with closing(sqlite3.connect(self.path, timeout=1)) as file, file:
            return file.execute(sql).fetchall() if rows is None else file.executemany(sql, rows)

    def _mariadb(self, sql: str, rows: Sequence[Sequence[object]] | None) -> Any:
        with closing(self.connection()) as connection, connection.cursor() as cursor:
            if rows is None:
                cursor.execute(sql)
            else:
                connection.begin()
                cursor.executemany(sql, rows)
                connection.commit()
            return cursor.fetchall()

    def connection(self) -> "pymysql.Connection[Any]":
        """A connection to MariaDB, autocommit."""
        address, _, name = self.url.rpartition("@")[2].partition("/")
        return pymysql.connect(
            host="127.0.0.1", port=int(address.rpartition(":")[2]), user="root", database=name,
            charset="utf8mb4", autocommit=True,
        )  # fmt: skip

    def insert(self, rows: Sequence[Row], ids: Sequence[int] = (), table: str = "cel") -> Any:
        """The statement that writes these rows, and its values."""
        names = [name if self.server == "sqlite" else _NAMES.get(name, name) for name in COLUMNS]
        absent = {"peeraccount", "userfield"} if self.server == "mariadb" else set()
        places = [place for place, name in enumerate(names) if name not in absent]
        values = [tuple(self._value(row, place) for place in places) for row in rows]
        columns = [names[place] for place in places]
        if ids:
            columns = [self.id_column, *columns]
            values = [(id_, *row) for id_, row in zip(ids, values, strict=True)]
        mark = {"sqlite": "?", "mariadb": "%s"}.get(self.server, "")
        marks = [mark or f"${number}" for number in range(1, len(columns) + 1)]
        return f"INSERT INTO {table} ({','.join(columns)}) VALUES ({','.join(marks)})", values  # noqa: S608

    def _value(self, row: Row, place: int) -> object:
        if self.server == "sqlite":
            return row[place]
        if place == _TIME:
            return datetime.fromtimestamp(float(row[place]), self.zone).replace(tzinfo=None)
        return int(row[place] or 3) if place == _AMAFLAGS else row[place]

    async def write(self, rows: Sequence[Row], ids: Sequence[int] = (), table: str = "cel") -> None:
        """Append rows, in one transaction."""
        await self.execute(*self.insert(rows, ids, table))

    @asynccontextmanager
    async def open_transaction(self) -> AsyncIterator[Callable[[Row], Awaitable[None]]]:
        """Writes rows on a connection that commits at the end of the block."""
        if self.server == "mariadb":
            with closing(self.connection()) as connection, connection.cursor() as cursor:
                connection.begin()

                async def write(row: Row) -> None:
                    sql, values = self.insert([row])
                    cursor.execute(sql, values[0])

                yield write
                connection.commit()
            return
        postgresql = await asyncpg.connect(self.url)
        async with postgresql.transaction():

            async def insert(row: Row) -> None:
                await postgresql.executemany(*self.insert([row]))

            yield insert
        await postgresql.close()

    async def ids(self) -> list[int]:
        """Of all rows."""
        rows = await self.execute(f"SELECT {self.id_column} FROM cel ORDER BY 1")  # noqa: S608
        return [int(row[0]) for row in rows]


class Watch:
    """A tail over a table, with a store and a connector; started anew at will."""

    def __init__(self, table: Table, folder: Path, *, now: float = NOW) -> None:
        self.table = table
        self.store_file = folder / "store.sqlite"
        self.clock = FakeClock(Instant(round(now * SECOND)))
        self.store: SqliteStore
        self.tail: Tail
        self._open = False

    async def start(
        self,
        *,
        page: int = 2000,
        start: int | None = None,
        source: CelSource | None = None,
        busy_timeout: float = 5.0,
    ) -> Tail:
        """As the daemon does."""
        self.store = SqliteStore.open(self.store_file, system="pbx1", busy_timeout=busy_timeout)
        self.source = source or source_of(self.table.url, timezone=self.table.zone.key)
        options = TailOptions(grace=GRACE, stale_after=STALE, page=page, start=start)
        intake = Intake(RULES, {"crm": FakeConnector()})
        self.tail = Tail(self.source, self.store, intake, self.clock, Health(), options)
        self._open = True
        await self.tail.begin()
        return self.tail

    async def stop(self) -> None:
        """As a kill does: nothing more is stored."""
        if self._open:
            self._open = False
            await self.source.aclose()
            await self.store.aclose()

    async def read(self) -> None:
        """All that is there now."""
        while await self.tail.step():
            pass

    async def settle(self) -> None:
        """Read, let the grace pass, and read again."""
        await self.read()
        await self.clock.sleep(GRACE + 1)
        await self.read()

    def begins(self, call: CapturedCall) -> CapturedCall:
        """The call as it happens now; its rows are yet to be written."""
        return call.beginning_at(self.clock.now() / SECOND)

    async def happens(self, call: CapturedCall) -> CapturedCall:
        """A whole call is written."""
        moved = self.begins(call)
        await self.table.write(moved.rows)
        return moved

    async def expected(self, *calls: CapturedCall) -> list[Call]:
        """The calls as they are read from a table to which nothing happens."""
        quiet = f"quiet{next(_numbers)}"
        if self.table.server == "sqlite":
            columns = f"AcctId INTEGER PRIMARY KEY, {','.join(COLUMNS)}"
            await self.table.execute(f"CREATE TABLE {quiet} ({columns})")
        elif self.table.server == "postgresql":
            await self.table.execute(f"CREATE TABLE {quiet} (LIKE cel INCLUDING ALL)")
        else:
            await self.table.execute(f"CREATE TABLE {quiet} LIKE cel")
        ids = () if self.table.kind in WITHOUT_ID else range(1, 1 + sum(len(call.rows) for call in calls))
        await self.table.write([row for call in calls for row in call.rows], ids, quiet)
        source = source_of(self.table.url, table=quiet, timezone=self.table.zone.key)
        rows = await source.rows_of([call.linkedid for call in calls])
        await source.aclose()
        found = Intake(RULES, {}).calls(groups_of(rows))
        by_linkedid = {call.linkedid: decode_call(encode(call)) for call in found}  # as a store keeps it
        return [by_linkedid[call.linkedid] for call in calls]

    async def stored(self, calls: Iterable[CapturedCall]) -> list[Call | None]:
        """What the store has of them."""
        return [await self.store.call(call.linkedid) for call in calls]

    async def queued(self) -> list[str]:
        """The linkedids of all deliveries, sorted: each call once."""
        return sorted(record.linkedid for record in await self.store.deliveries(limit=10_000))
