"""The three places Asterisk keeps CEL, as somebody sees them who writes there."""

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import asyncpg
import pymysql
from servers import Mariadb, Postgresql

ZONE = "Europe/Moscow"
_DDL = Path(__file__).parents[1] / "tables"
_AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
_SQL_NAMES = {
    "cidname": "cid_name", "cidnum": "cid_num", "cidani": "cid_ani", "cidrdnis": "cid_rdnis",
    "ciddnid": "cid_dnid", "eventextra": "extra",
}  # fmt: skip


class Table(Protocol):
    """A CEL table that is written as Asterisk does: one INSERT per row, each committed at once."""

    url: str

    async def create(self) -> None:
        """Make it, empty."""

    async def insert(self, rows: Iterable[Mapping[str, str]]) -> None:
        """Append; raises while the database is away. Several rows are one transaction (history only)."""


def _local(row: Mapping[str, str]) -> datetime:
    """As cel_pgsql and cel_odbc write it: local time without an offset."""
    moment = datetime.fromtimestamp(float(row["eventtime"]), UTC)
    return moment.astimezone(ZoneInfo(ZONE)).replace(tzinfo=None)


def _sql_values(row: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {_SQL_NAMES.get(name, name): cell for name, cell in row.items()}
    return values | {"eventtime": _local(row), "amaflags": int(row["amaflags"] or 0)}


def _statements(name: str) -> list[str]:
    return [text.strip() for text in (_DDL / name).read_text("utf-8").split(";") if text.strip()]


class PostgresqlTable:
    """cel_pgsql with local times and microseconds."""

    def __init__(self, server: Postgresql, name: str) -> None:
        self.server = server
        self.url = server.url(name)
        self._name = name
        self._connection: asyncpg.Connection[Any] | None = None
        self._spare: list[asyncpg.Connection[Any]] = []

    async def create(self) -> None:
        owner = await asyncpg.connect(self.server.url("postgres"))
        await owner.execute(f"CREATE DATABASE {self._name}")
        await owner.close()
        connection = await asyncpg.connect(self.url)
        for statement in _statements("postgresql.sql") + _statements("postgresql-indexes.sql"):
            await connection.execute(statement)
        await connection.close()

    async def insert(self, rows: Iterable[Mapping[str, str]]) -> None:
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await asyncpg.connect(self.url, timeout=5)
            await self._insert(self._connection, rows)
        except _AWAY as error:
            self._connection = None
            raise ConnectionError(f"{error}") from error

    async def _insert(self, connection: "asyncpg.Connection[Any]", rows: Iterable[Mapping[str, str]]) -> None:
        values = [_sql_values(row) for row in rows]
        marks = ", ".join(f"${place + 1}" for place in range(len(values[0])))
        statement = f"INSERT INTO cel ({', '.join(values[0])}) VALUES ({marks})"  # noqa: S608  names of ours
        await connection.executemany(statement, [list(row.values()) for row in values])

    async def insert_late(self, row: Mapping[str, str]) -> Callable[[], Awaitable[None]]:
        """Of another writer: the row has its id when this returns, and is seen when what it returns is called."""
        try:
            connection = self._spare.pop() if self._spare else await asyncpg.connect(self.url, timeout=5)
            transaction = connection.transaction()
            await transaction.start()
            await self._insert(connection, [row])
        except _AWAY as error:
            raise ConnectionError(f"{error}") from error

        async def commit() -> None:
            try:
                await transaction.commit()
            except _AWAY as error:
                raise ConnectionError(f"{error}") from error
            self._spare.append(connection)

        return commit


class MariadbTable:
    """FreePBX's table: whole seconds of local time, no peeraccount, no userfield."""

    def __init__(self, server: Mariadb, name: str) -> None:
        self.server = server
        self.url = server.url(name)
        self._name = name
        self._connection: Any = None

    async def create(self) -> None:
        with closing(self._connect(None)) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {self._name} DEFAULT CHARSET utf8mb4")
        with closing(self._connect(self._name)) as connection, connection.cursor() as cursor:
            for statement in _statements("freepbx.sql"):
                cursor.execute(statement)

    def _connect(self, database: str | None) -> Any:
        return pymysql.connect(
            unix_socket=str(self.server.socket), user="root", database=database, charset="utf8mb4",
            autocommit=True, connect_timeout=5,
        )  # fmt: skip

    async def insert(self, rows: Iterable[Mapping[str, str]]) -> None:
        try:
            if self._connection is None:
                self._connection = self._connect(self._name)
            with self._connection.cursor() as cursor:
                for row in rows:
                    values = _sql_values(row)
                    values["eventtime"] = values["eventtime"].replace(microsecond=0)  # DATETIME cuts it off
                    del values["peeraccount"], values["userfield"]
                    marks = ", ".join(["%s"] * len(values))
                    statement = f"INSERT INTO cel ({', '.join(values)}) VALUES ({marks})"  # noqa: S608
                    cursor.execute(statement, list(values.values()))
        except (OSError, pymysql.MySQLError) as error:
            self._connection = None
            raise ConnectionError(f"{error}") from error


class SqliteTable:
    """cel_sqlite3_custom: epoch seconds as text; a second's patience with readers."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self._path = path

    async def create(self) -> None:
        with closing(sqlite3.connect(self._path)) as file, file:
            for statement in _statements("sqlite.sql"):
                file.execute(statement)

    async def insert(self, rows: Iterable[Mapping[str, str]]) -> None:
        try:
            with closing(sqlite3.connect(self._path, timeout=1.0)) as file, file:
                for row in rows:
                    marks = ", ".join("?" * len(row))
                    statement = f"INSERT INTO cel ({', '.join(row)}) VALUES ({marks})"  # noqa: S608
                    file.execute(statement, list(row.values()))
        except sqlite3.OperationalError as error:
            raise ConnectionError(f"{error}") from error
