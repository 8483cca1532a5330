"""The PostgreSQL table of cel_pgsql (or cel_odbc), read with asyncpg."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

import asyncpg

from celreplay.errors import SourceError, SourceUnavailableError
from celreplay.sources.database import Found, Row
from celreplay.sources.pool import Pool
from celreplay.sources.statements import Bound, Dialect, load

_SQL = load("postgresql")
_CONNECT_SECONDS = 10.0
_STATEMENT_SECONDS = 120.0
_LATER = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
)
_SETTINGS = {
    "application_name": "celreplay",
    "default_transaction_read_only": "on",
    "lock_timeout": "5s",
}
_Pool = Pool["asyncpg.Connection[asyncpg.Record]"]


class PostgresqlDatabase:
    """See Database."""

    dialect = Dialect('"', "$")
    short = False

    def __init__(
        self,
        *,
        host: str,
        port: int | None,
        user: str,
        password: str,
        database: str,
        statement_seconds: float = _STATEMENT_SECONDS,
    ) -> None:
        self._host, self._port, self._user, self._database = host, port, user, database
        self._password = password
        self._seconds = statement_seconds
        self._times_as_text = False
        self._table = "cel"
        self._pool: _Pool = Pool(self._connect, lambda connection: connection.terminate(), self._said)

    def __repr__(self) -> str:
        return f"PostgresqlDatabase({self._place})"

    @property
    def _place(self) -> str:
        return f"PostgreSQL {self._database} at {self._host or 'localhost'}:{self._port or 5432}"

    async def look(self, table: str) -> Found:
        """See Database."""
        self._table = table  # for the GRANT in messages
        quoted = self.dialect.table(table)
        columns = await self.fetch(Bound(_SQL["columns"], (quoted,)))
        if not columns:
            alike = [_str(row[0]) for row in await self.fetch(Bound(_SQL["alike"], ()))]
            hint = f"tables that look like CEL: {', '.join(alike)}" if alike else "no table looks like CEL"
            raise SourceError(f"{self._place}: no table {table}", hint=hint)
        indexed = await self.fetch(Bound(_SQL["indexes"], (quoted,)))
        types = {_str(name): _str(declared) for name, declared in columns}
        return Found(types, frozenset(_str(row[0]) for row in indexed))

    async def fetch(self, statement: Bound) -> Sequence[Row]:
        """See Database."""

        async def job(connection: "asyncpg.Connection[asyncpg.Record]") -> list[Row]:
            return [tuple(row) for row in await connection.fetch(statement.sql, *statement.arguments)]

        try:
            return await self._pool.run(job, self._seconds)
        except SourceError as error:
            if not isinstance(error.__cause__, OverflowError) or self._times_as_text:
                raise
        self._times_as_text = True  # a time that Python cannot hold: from now on we read them ourselves
        self._pool.discard_idle()
        return await self._pool.run(job, self._seconds)

    async def aclose(self) -> None:
        """See Database."""
        self._pool.discard_idle()

    async def _connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        async with asyncio.timeout(_CONNECT_SECONDS):
            connection = await asyncpg.connect(
                host=self._host or None,
                port=self._port or 5432,
                user=self._user or None,
                password=self._password or None,
                database=self._database,
                server_settings=_SETTINGS,
            )
        if connection.get_settings().server_encoding == "SQL_ASCII":
            for name in ("text", "varchar", "bpchar"):  # it keeps whatever bytes it was given
                await connection.set_type_codec(
                    name, schema="pg_catalog", format="binary", encoder=str.encode, decoder=bytes
                )
            await connection.execute("SET client_encoding TO 'SQL_ASCII'")
        if self._times_as_text:
            for name in ("timestamp", "timestamptz"):
                await connection.set_type_codec(
                    name, schema="pg_catalog", format="text", encoder=str, decoder=_time_or_text
                )
        return connection

    def _said(self, error: Exception) -> SourceError:
        if isinstance(error, asyncpg.InsufficientPrivilegeError):
            hint = f"as its owner: GRANT SELECT ON {self._table} TO {self.dialect.name(self._user)}"
            return SourceError(f"{self._place}: {error}", hint=hint)
        if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
            return SourceError(f"{self._place}: {error}", hint="check user and password, and pg_hba.conf")
        if isinstance(error, asyncpg.InvalidCatalogNameError):
            return SourceError(f"{self._place}: {error}", hint="check the database's name in the URL")
        if isinstance(error, _LATER):
            what = str(error) or type(error).__name__
            return SourceUnavailableError(f"{self._place} does not answer: {what}")
        return SourceError(f"{self._place}: {error}")


def _time_or_text(text: str) -> datetime | str:
    """The datetime, or what stands there: a year before Christ, `infinity`."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text


def _str(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
