"""Opening the file: rights, pragmas, migrations."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from celreplay.errors import StoreError
from celreplay.store.ownership import give_to_owner_of


def _scripts() -> list[str]:
    folder = resources.files(__package__).joinpath("schema")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [folder.joinpath(name).read_text(encoding="utf-8") for name in names]


SCRIPTS: Sequence[str] = _scripts()
"""`schema/0001.sql`, …: script N leads from version N-1 to version N, kept in `PRAGMA user_version`."""


def create(path: Path) -> None:
    """Make the file, readable for its owner only: it holds calls and tokens. SQLite gives -wal and -shm the
    same mode. An existing file is left as it is."""
    if path.exists():
        return
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        give_to_owner_of(path.parent, descriptor)
        os.close(descriptor)
    except OSError as error:
        hint = f"{path.parent} must exist and belong to celreplay's user"
        raise StoreError(f"store {path}: it cannot be made: {error.strerror}", hint=hint) from None


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


def migrate(connection: sqlite3.Connection, path: Path, scripts: Sequence[str] = SCRIPTS) -> None:
    """Bring the schema up to date, all in one transaction; an older store is copied first, to
    `PATH.before-vN`. Raises StoreError for a store of a newer celreplay."""
    version = _version(connection)
    if version > len(scripts):
        hint = "install that version again, or put the backup made before the upgrade in its place"
        raise StoreError(f"store {path}: made by a newer celreplay (schema {version})", hint=hint)
    if version == len(scripts):
        return
    if version:
        _copy(connection, path.with_name(f"{path.name}.before-v{len(scripts)}"))
    connection.execute("BEGIN IMMEDIATE")
    try:
        for script in scripts[_version(connection) :]:  # another process may have been quicker
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(scripts)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _copy(connection: sqlite3.Connection, to: Path) -> None:
    to.unlink(missing_ok=True)
    create(to)
    copy = sqlite3.connect(to)
    try:
        connection.backup(copy)
    finally:
        copy.close()


def _statements(script: str) -> Iterator[str]:
    """A script's statements; `executescript` would commit before it begins."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
