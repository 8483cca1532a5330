"""The SQLite file of cel_sqlite3_custom.

Asterisk's busy time-out is one second; then it drops the row (observed with 22.10). So the file is opened
for each statement, read-only, and the statement is read to its end at once.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from celreplay.errors import SourceError, SourceUnavailableError
from celreplay.sources.database import Found, Row
from celreplay.sources.statements import Bound, Dialect, load

_SQL = load("sqlite")
_BUSY_SECONDS = 5.0
_HOT_JOURNAL = {sqlite3.SQLITE_READONLY_ROLLBACK, sqlite3.SQLITE_READONLY_RECOVERY, sqlite3.SQLITE_READONLY}


class SqliteDatabase:
    """See Database."""

    dialect = Dialect('"', "?")
    short = True

    def __init__(self, path: Path) -> None:
        self._path = path

    def __repr__(self) -> str:
        return f"SqliteDatabase({str(self._path)!r})"

    async def look(self, table: str) -> Found:
        """See Database."""
        kind = await self.fetch(Bound(_SQL["kind"], (table,)))
        if not kind:
            alike = [str(row[0]) for row in await self.fetch(Bound(_SQL["alike"], ()))]
            hint = (
                f"tables that look like CEL: {', '.join(alike)}" if alike else "no table in it looks like CEL"
            )
            raise SourceError(f"{self._path}: no table {table}", hint=hint)
        columns = await self.fetch(Bound(_SQL["columns"], (table,)))
        indexed = {str(row[0]) for row in await self.fetch(Bound(_SQL["indexes"], (table,)))}
        rowid = "" if kind[0][0] != "table" or "without rowid" in str(kind[0][1]).lower() else "rowid"
        types = {str(name): str(declared) for name, declared, _ in columns}
        key = [name for name, declared in types.items() if rowid and declared == "integer"]
        primary = [str(name) for name, _, place in columns if place and str(name) in key]
        for name, declared in types.items():
            if name not in primary and rowid and "int" in declared:
                types[name] = ""  # the row number is the order of writing, no other column
        return Found(types, frozenset({*indexed, *primary, rowid} - {""}), rowid)

    async def fetch(self, statement: Bound) -> Sequence[Row]:
        """See Database."""
        return await asyncio.to_thread(self._fetch, statement)

    async def aclose(self) -> None:
        """See Database."""

    def _fetch(self, statement: Bound) -> Sequence[Row]:
        try:
            with closing(self._open()) as file:
                try:
                    return file.execute(*statement).fetchall()
                except sqlite3.OperationalError as error:
                    if "decode" not in str(error):
                        raise
                    file.text_factory = bytes  # Asterisk 16 stores caller names as they came
                    return file.execute(*statement).fetchall()
        except (sqlite3.Error, UnicodeError, OverflowError) as error:
            raise self._said(error) from error

    def _open(self) -> sqlite3.Connection:
        try:
            with self._path.open("rb"):
                pass
        except OSError as error:
            hint = "the user of celreplay needs read access to it (group asterisk)"
            if isinstance(error, FileNotFoundError):
                hint = "Asterisk 16 writes master.db, 22 the file that cel_sqlite3_custom.conf names"
            elif isinstance(error, IsADirectoryError):
                hint = "name the file in it, such as master.db"
            raise SourceError(f"{self._path}: {error.strerror}", hint=hint) from error
        uri = f"file:{quote(str(self._path.absolute()))}?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)

    def _said(self, error: Exception) -> SourceError:
        code = getattr(error, "sqlite_errorcode", 0)
        if code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return SourceUnavailableError(f"{self._path}: locked by its writer")
        if code in _HOT_JOURNAL or code & 0xFF == sqlite3.SQLITE_CANTOPEN:
            return SourceError(
                f"{self._path}: {error}",
                hint="a writer died in the middle of a row or uses WAL, and its folder is not writable for "
                "celreplay: let Asterisk write one row, or run once as its user: "
                f"sqlite3 {self._path} .tables",
            )
        if code & 0xFF == sqlite3.SQLITE_NOTADB:
            return SourceError(f"{self._path}: not an SQLite database")
        if code & 0xFF == sqlite3.SQLITE_IOERR:
            return SourceUnavailableError(f"{self._path}: {error}")
        return SourceError(f"{self._path}: {error}")
