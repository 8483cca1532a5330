"""What the reading of CEL tables needs of a database. One small class per back end."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from celreplay.sources.statements import Bound, Dialect

Row = tuple[object, ...]


class Found(NamedTuple):
    """A table as the database's catalogue describes it."""

    columns: dict[str, str]
    """The column's name → its declared type, lower case."""
    indexed: frozenset[str]
    """Columns that lead an index."""
    rowid: str = ""
    """A built-in row number that serves where no column is an id (SQLite)."""


class Database(Protocol):
    """Runs single read-only statements; each is finished, and its transaction over, when it returns."""

    dialect: Dialect
    short: bool
    """True where a statement must be so short that a look-up is made in small steps (SQLite)."""

    async def look(self, table: str) -> Found:
        """The table's columns and indexes. Raises SourceError naming tables that look like CEL if it is not
        there, SourceUnavailableError if the database is not."""
        ...

    async def fetch(self, statement: Bound) -> Sequence[Row]:
        """All rows of the statement; the same errors."""
        ...

    async def aclose(self) -> None:
        """Give back connections."""
        ...
