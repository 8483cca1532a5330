"""CEL tables in real databases, filled with captured rows: every form that celreplay says it reads."""

import csv
import itertools
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pymysql
import pytest
from captures_io import FORMS, ROOT, events_of
from servers import Mariadb, Postgresql

from celreplay.cel.events import CelEvent
from celreplay.sources.base import CelSource
from celreplay.sources.opening import source_of

TABLES = Path(__file__).parent / "tables"
CASES = (
    "01-in-answered-1",
    "07-in-queue-answered-1",
    "17-attended-transfer-1",
    "20-parking-1",
    "23-recorded-1",
    "26-merged-1a",
)
_numbers = itertools.count(1)
Values = dict[str, Any]


def same(row: Values) -> Values:
    """The row as captured."""
    return row


def epoch(row: Values) -> Values:
    """A row with epoch text and NULL for the empty text."""
    return {name: value or None for name, value in row.items()}


@dataclass(frozen=True)
class Form:
    """One way in which an Asterisk may have written the table."""

    name: str
    server: str
    """sqlite, postgresql or mariadb"""
    ddl: tuple[str, ...]
    """Files of tests/tables, or statements."""
    rows: str
    """A key of captures_io.FORMS."""
    change: Callable[[Values], Values] = same
    drop: tuple[str, ...] = ("amaflags",)
    """CEL's names that the table does not have."""
    rename: dict[str, str] = field(default_factory=dict)
    """The capture's column → the table's."""


FORMS_READ = (
    Form("sqlite", "sqlite", ("sqlite",), "sqlite"),
    Form("sqlite-indexed", "sqlite", ("sqlite", "CREATE INDEX a ON cel (linkedid)", "CREATE INDEX b ON cel (uniqueid)"), "sqlite"),
    Form("postgresql", "postgresql", ("postgresql", "postgresql-indexes"), "pgsql"),
    Form("postgresql-bare", "postgresql", ("postgresql",), "pgsql"),
    Form("postgresql-no-id", "postgresql", ("postgresql", "ALTER TABLE cel DROP COLUMN id"), "pgsql", drop=("id",)),
    Form("postgresql-no-extra", "postgresql", ("postgresql", "ALTER TABLE cel DROP COLUMN extra"), "pgsql", drop=("extra",)),
    Form("freepbx", "mariadb", ("freepbx",), "freepbx"),
    Form("freepbx-old", "mariadb", ("freepbx", "ALTER TABLE cel CHANGE extra eventextra varchar(512) NOT NULL", "ALTER TABLE cel ENGINE=MyISAM"),
         "freepbx", rename={"extra": "eventextra"}),
    Form("micro", "mariadb", ("micro",), "odbc-utc"),
    Form("micro-no-id", "mariadb", ("micro", "ALTER TABLE cel DROP COLUMN id"), "odbc-utc", drop=("id",)),
    Form("epoch-text", "mariadb", ("epoch",), "sqlite", change=epoch,
         drop=("amaflags", "cid_ani", "cid_rdnis", "cid_dnid", "accountcode", "peeraccount", "userfield"),
         rename={"AcctId": "id", "cidname": "cid_name", "cidnum": "cid_num", "eventextra": "extra"}),
)  # fmt: skip
_DROPPED = {"cid_ani": "cidani", "cid_rdnis": "cidrdnis", "cid_dnid": "ciddnid"}


@dataclass
class Table:
    """A filled table."""

    url: str
    source: CelSource
    events: list[CelEvent]
    """What must be read from it, in the order of writing."""
    form: Form
    execute: Callable[[str], Any]
    """Awaitable: runs one statement as the owner and gives its rows."""


def captured(form: Form) -> list[Values]:
    """The rows to be written."""
    rows: dict[int, Values] = {}
    for case in CASES:
        with (ROOT / case / FORMS[form.rows]).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                rows[int(row.get("id") or row["AcctId"])] = row
    dropped = {_DROPPED.get(name, name) if form.rows == "sqlite" else name for name in form.drop}
    if form.drop == ("amaflags",):
        dropped = set()
    return [
        {
            form.rename.get(name, name): value
            for name, value in form.change(rows[number]).items()
            if name not in dropped
        }
        for number in sorted(rows)
    ]


def expected(form: Form) -> list[CelEvent]:
    """The events of these rows."""
    rows = {event.id: event for case in CASES for event in events_of(case, form.rows)}
    blank: Values = {name: None if name == "id" else "" for name in form.drop if name != "amaflags"}
    return [
        CelEvent(**({name: getattr(event, name) for name in CelEvent.__struct_fields__} | blank))
        for _, event in sorted(rows.items(), key=lambda item: item[0] or 0)
    ]


def ddl_of(form: Form) -> list[str]:
    """The statements that make the table."""
    texts = [(TABLES / f"{part}.sql").read_text("utf-8") if " " not in part else part for part in form.ddl]
    return [statement.strip() for text in texts for statement in text.split(";") if statement.strip()]


@asynccontextmanager
async def filled(form: Form, request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Table]:
    """A table of this form with the captured rows, and a source that reads it."""
    name = f"cel{next(_numbers)}"
    rows = captured(form)
    if form.server == "sqlite":
        url, execute = f"sqlite://{folder / name}.db", _sqlite(folder / f"{name}.db", form, rows)
    elif form.server == "postgresql":
        server: Postgresql = request.getfixturevalue("postgresql")
        url = server.url(name)
        execute = await _postgresql(server, name, form, rows)
    else:
        mariadb: Mariadb = request.getfixturevalue("mariadb")
        url = mariadb.url(name)
        execute = _mariadb(mariadb, name, form, rows)
    source = source_of(url, timezone="Europe/Moscow")
    try:
        yield Table(url, source, expected(form), form, execute)
    finally:
        await source.aclose()


def _sqlite(path: Path, form: Form, rows: list[Values]) -> Callable[[str], Any]:
    marks = ", ".join("?" * len(rows[0]))
    with closing(sqlite3.connect(path)) as file, file:
        for statement in ddl_of(form):
            file.execute(statement)
        names = ", ".join(rows[0])
        file.executemany(f"INSERT INTO cel ({names}) VALUES ({marks})", [tuple(row.values()) for row in rows])  # noqa: S608

    async def execute(sql: str) -> Any:
        with closing(sqlite3.connect(path)) as file, file:
            return file.execute(sql).fetchall()

    return execute


async def _postgresql(server: Postgresql, name: str, form: Form, rows: list[Values]) -> Callable[[str], Any]:
    async def execute(sql: str, database: str = name) -> Any:
        connection = await asyncpg.connect(server.url(database))
        try:
            return await connection.fetch(sql)
        finally:
            await connection.close()

    await execute(f"CREATE DATABASE {name}", "postgres")
    for statement in ddl_of(form):
        await execute(statement)
    for row in rows:
        row.pop("amaflags", None)
    await execute("ALTER TABLE cel ALTER COLUMN amaflags DROP NOT NULL")
    values = ", ".join("(" + ", ".join(_quoted(value) for value in row.values()) + ")" for row in rows)
    await execute(f"INSERT INTO cel ({', '.join(rows[0])}) VALUES {values}")  # noqa: S608
    return execute


def _quoted(value: object) -> str:
    return "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"


def _mariadb(server: Mariadb, name: str, form: Form, rows: list[Values]) -> Callable[[str], Any]:
    with client(server) as cursor:
        cursor.execute(f"CREATE DATABASE {name} DEFAULT CHARSET utf8mb4")
    with client(server, name) as cursor:
        for statement in ddl_of(form):
            cursor.execute(statement)
        if form.name == "epoch-text":
            for row in rows:
                row.pop("amaflags", None)
        names, marks = ", ".join(rows[0]), ", ".join(["%s"] * len(rows[0]))
        insert = f"INSERT INTO cel ({names}) VALUES ({marks})"  # noqa: S608 - names of our own files
        cursor.executemany(insert, [tuple(row.values()) for row in rows])

    async def execute(sql: str) -> Any:
        with client(server, name) as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    return execute


@contextmanager
def client(server: Mariadb, database: str | None = None) -> Iterator[Any]:
    """A cursor of the superuser, autocommit."""
    connection = pymysql.connect(
        unix_socket=str(server.socket), user="root", database=database, charset="utf8mb4", autocommit=True
    )
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()
