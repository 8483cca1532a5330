"""The MySQL or MariaDB table of cel_odbc (FreePBX: asteriskcdrdb.cel), read with asyncmy or aiomysql.

Plain SQL that MariaDB 5.5 understands, autocommit, no server-side cursors (leaving one early reads the rest
of the table).
"""

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

from celreplay.errors import SourceError, SourceUnavailableError
from celreplay.sources.database import Found, Row
from celreplay.sources.pool import Pool
from celreplay.sources.statements import Bound, Dialect, load

_SQL = load("mysql")
_CONNECT_SECONDS = 10
_STATEMENT_SECONDS = 120.0
_SESSION = "SET SESSION lock_wait_timeout = 10"  # metadata locks; its default is a year
_HOSTS = "'localhost' and '127.0.0.1' are two where the server has skip-name-resolve"
# https://mariadb.com/kb/en/mariadb-error-codes/
_DENIED_USER, _DENIED_DATABASE, _UNKNOWN_DATABASE = {1045, 1698}, 1044, 1049
_DENIED_TABLE = {1142, 1143}
_LATER = {
    1040,
    1053,
    1077,
    1078,
    1079,
    1080,
    1105,
    1152,
    1158,
    1159,
    1160,
    1161,
    1203,
    1205,
    1213,
    1317,
    1927,
}
_CLIENT_ERRORS = range(2000, 2100)


def driver_name() -> str:
    """The driver that is used: asyncmy where it is installed."""
    return "asyncmy" if importlib.util.find_spec("asyncmy") else "aiomysql"


class MysqlDatabase:
    """See Database. `driver` is `asyncmy` or `aiomysql`; empty takes what is installed."""

    dialect = Dialect("`", "%s")
    short = False

    def __init__(
        self,
        *,
        host: str,
        port: int | None,
        user: str,
        password: str,
        database: str,
        unix_socket: str = "",
        driver: str = "",
        statement_seconds: float = _STATEMENT_SECONDS,
    ) -> None:
        self._host, self._port, self._user, self._database = host, port, user, database
        self._password, self._socket = password, unix_socket
        self._seconds = statement_seconds
        self._driver = driver or driver_name()
        self._table = "cel"
        self._unicode = True
        self._pool: Pool[Any] = Pool(self._connect, lambda connection: connection.close(), self._said)

    def __repr__(self) -> str:
        return f"MysqlDatabase({self._place})"

    @property
    def _place(self) -> str:
        where = self._socket or f"{self._host or 'localhost'}:{self._port or 3306}"
        return f"MySQL {self._database} at {where}"

    async def look(self, table: str) -> Found:
        """See Database."""
        self._table = table  # for the GRANT in messages
        schema, _, name = table.rpartition(".")
        names = (schema or self._database, name)
        columns = await self.fetch(Bound(_SQL["columns"], names))
        if not columns:
            alike = [_str(row[0]) for row in await self.fetch(Bound(_SQL["alike"], ()))]
            hint = (
                f"tables that look like CEL: {', '.join(alike)}"
                if alike
                else (f"no table that this user may read looks like CEL; {self._grant(table)}")
            )
            raise SourceError(f"{self._place}: no table {table}", hint=hint)
        indexed = await self.fetch(Bound(_SQL["indexes"], names))
        types = {_str(column): _str(declared) for column, declared in columns}
        return Found(types, frozenset(_str(row[0]) for row in indexed))

    async def fetch(self, statement: Bound) -> Sequence[Row]:
        """See Database."""

        async def job(connection: Any) -> list[Row]:  # noqa: ANN401 - the drivers are not typed
            async with connection.cursor() as cursor:
                await cursor.execute(statement.sql, statement.arguments or None)
                return [tuple(row) for row in await cursor.fetchall()]

        try:
            return await self._pool.run(job, self._seconds)
        except SourceError as error:
            if not isinstance(error.__cause__, UnicodeError) or not self._unicode:
                raise
        self._unicode = False  # bytes that are no UTF-8 in the table: from now on we decode ourselves
        self._pool.discard_idle()
        return await self._pool.run(job, self._seconds)

    async def aclose(self) -> None:
        """See Database."""
        self._pool.discard_idle()

    async def _connect(self) -> Any:  # noqa: ANN401 - the drivers are not typed
        driver = importlib.import_module(self._driver)
        return await driver.connect(
            host=self._host or "localhost",
            port=self._port or 3306,
            user=self._user or None,
            password=self._password,
            db=self._database,
            unix_socket=self._socket or None,
            charset="utf8mb4",
            use_unicode=self._unicode,
            autocommit=True,
            connect_timeout=_CONNECT_SECONDS,
            init_command=_SESSION,
        )

    def _grant(self, table: str) -> str:
        place = table if "." in table else f"{self._database}.{table}"
        return f"as root: GRANT SELECT ON {place} TO '{self._user}'@'<host of celreplay>'"

    def _remedy(self, code: int) -> str:
        if code in _DENIED_USER:
            return (
                f"check user and password; the account must be '{self._user}'@'<host of celreplay>': {_HOSTS}"
            )
        if code == _DENIED_DATABASE:
            return f"check the database's name in the URL; {self._grant(self._table)}"
        if code in _DENIED_TABLE:
            return self._grant(self._table)
        return "check the database's name in the URL" if code == _UNKNOWN_DATABASE else ""

    def _said(self, error: Exception) -> SourceError:
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        text = str(error.args[1]) if len(error.args) > 1 else str(error) or type(error).__name__
        if remedy := self._remedy(code):
            return SourceError(f"{self._place}: {text}", hint=remedy)
        if code in _LATER or code in _CLIENT_ERRORS or isinstance(error, OSError | TimeoutError | EOFError):
            return SourceUnavailableError(f"{self._place} does not answer: {text}")
        if type(error).__name__ in {"InterfaceError", "InternalError"}:
            return SourceUnavailableError(f"{self._place}: {text}")
        return SourceError(f"{self._place}: {text}")


def _str(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
