"""From the URL in the config to a source. Drivers are imported only where they are used."""

import os
from collections.abc import Mapping
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit
from zoneinfo import ZoneInfo

from celreplay.errors import SourceError
from celreplay.secret import sqlite_file
from celreplay.sources.base import CelSource
from celreplay.sources.database import Database
from celreplay.sources.table import TableSource

_FORMS = "sqlite:///PATH, postgresql://USER:PASSWORD@HOST/DATABASE or mysql://USER:PASSWORD@HOST/DATABASE"


def source_of(
    url: str, *, table: str = "cel", columns: Mapping[str, str] | None = None, timezone: str = ""
) -> CelSource:
    """The source of a CEL table; does no I/O on it yet.

    `columns` maps CEL's names to the table's where they differ, `timezone` is the PBX's IANA zone (empty:
    the zone of this host). Raises SourceError for a URL or zone that cannot be meant; never shows a password.
    """
    zone, name = _zone(timezone)
    return TableSource(_database(url), table=table, columns=dict(columns or {}), zone=zone, zone_name=name)


def _database(url: str) -> Database:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SourceError("the URL of the CEL database cannot be read", hint=_FORMS) from error
    scheme = parts.scheme.lower()
    if scheme == "sqlite":
        return _sqlite(url, parts)
    if scheme not in {"postgresql", "postgres", "mysql", "mariadb"} or not parts.path.strip("/"):
        raise SourceError("the URL of the CEL database names no known database", hint=_FORMS)
    given = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    common: dict[str, Any] = {
        "host": unquote(parts.hostname or ""),
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": unquote(parts.path.strip("/")),
    }
    if scheme in {"postgresql", "postgres"}:
        from celreplay.sources.postgresql import PostgresqlDatabase  # noqa: PLC0415 - the driver costs memory

        return PostgresqlDatabase(**(common | {"host": given.get("host") or common["host"]}), port=port)
    from celreplay.sources.mysql import MysqlDatabase  # noqa: PLC0415 - the driver costs memory

    return MysqlDatabase(**common, port=port, unix_socket=given.get("unix_socket", ""))


def _sqlite(url: str, parts: SplitResult) -> Database:
    from celreplay.sources.sqlite import SqliteDatabase  # noqa: PLC0415 - only where it is used

    if parts.netloc or not parts.path.strip("/"):
        raise SourceError(
            "the URL of the CEL database names no file", hint="sqlite:///var/log/asterisk/master.db"
        )
    return SqliteDatabase(Path(sqlite_file(url)).absolute())


def _zone(name: str) -> tuple[tzinfo, str]:
    name = name or os.environ.get("TZ", "").lstrip(":")
    try:
        if name:
            return ZoneInfo(name), name
        local = Path("/etc/localtime")
        with local.open("rb") as file:
            found = str(local.resolve()).partition("zoneinfo/")[2] or "zone of this host"
            return ZoneInfo.from_file(file, key=found), found
    except (ValueError, OSError, KeyError) as error:
        if name:
            raise SourceError(
                f"unknown time zone {name!r}", hint="an IANA name such as Europe/Berlin"
            ) from error
        return UTC, "UTC"
