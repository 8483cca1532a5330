"""Opening the file: pragmas, upgrades."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import structlog

from celreplay.errors import StoreError
from celreplay.store.ownership import holder
from celreplay.store.sqlite.copying import copy

_log = structlog.get_logger(__name__)


def _scripts() -> list[str]:
    folder = resources.files(__package__).joinpath("schema")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [folder.joinpath(name).read_text(encoding="utf-8") for name in names]


SCRIPTS: Sequence[str] = _scripts()
"""`schema/0001.sql`, …: script N leads from version N-1 to version N, kept in `PRAGMA user_version`."""


def connect(path: Path, *, busy_timeout: float, query_only: bool = False) -> sqlite3.Connection:
    """One connection: WAL, and every commit on disk before it counts (synchronous=FULL)."""
    connection = sqlite3.connect(
        path, timeout=busy_timeout, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        connection.row_factory = sqlite3.Row
        _write_ahead(connection, path)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA query_only = {int(query_only)}")
    except BaseException:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection, path: Path) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        hint = "put it on a local disk: network file systems cannot share memory"
        raise StoreError(f"store {path}: no write-ahead log there (journal mode {mode})", hint=hint)


def refuse_unknown(path: Path, known: int = len(SCRIPTS)) -> None:
    """Raises StoreError for another program's database, and for a store of a newer celreplay; neither is
    changed in any way."""
    with closing(sqlite3.connect(path)) as connection:
        version = version_of(connection)
        tables = connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
    if version == 0 and tables:
        raise StoreError(
            f"store {path}: another program's database", hint="look at `store.url` in the config"
        )
    if version > known:
        kept = f"{path.name}.v{known}-DATE"
        hint = f"install that version again, or put the copy made before the upgrade, {kept}, in its place"
        raise StoreError(
            f"store {path}: made by a newer celreplay (schema {version}, this one knows {known})", hint=hint
        )


def migrate(connection: sqlite3.Connection, path: Path, scripts: Sequence[str] = SCRIPTS) -> None:
    """Bring the schema up to date, all in one transaction; an older store is copied first, to
    `PATH.vN-DATE`. Raises StoreError where an older celreplay works on it."""
    version = version_of(connection)
    if version == len(scripts):
        return
    if version and (pid := holder(path)) not in {None, os.getpid()}:
        hint = "restart it first, then its store is brought up to date: systemctl restart celreplay"
        raise StoreError(f"store {path}: the running celreplay (pid {pid}) is older than this one", hint=hint)
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = version_of(connection)  # another process may have been quicker
        if 0 < version < len(scripts):
            _keep_copy(path, version, len(scripts))
        for script in scripts[version:]:
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(scripts)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _keep_copy(path: Path, version: int, new: int) -> None:
    """A copy from before the upgrade, by a connection of its own: the upgrading one holds the write lock."""
    moment = datetime.now(UTC)
    to = path.with_name(f"{path.name}.v{version}-{moment:%Y-%m-%dT%H%M%S}.{moment.microsecond // 1000:03}Z")
    with closing(connect(path, busy_timeout=10, query_only=True)) as source:
        copy(source, to)
    _log.warning("store.upgraded", path=str(path), from_schema=version, to_schema=new, copy=str(to))


def version_of(connection: sqlite3.Connection) -> int:
    """The version of the store's schema; 0: there is nothing in it yet."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _statements(script: str) -> Iterator[str]:
    """A script's statements; `executescript` would commit before it begins."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
