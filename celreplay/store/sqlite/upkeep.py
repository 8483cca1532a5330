"""What an admin does to the file: look whether it is sound, copy it, make it smaller."""

import os
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from celreplay.errors import StoreError
from celreplay.store.ownership import Ownership, holder
from celreplay.store.sqlite import check, schema
from celreplay.store.sqlite.copying import copy
from celreplay.store.sqlite.errors import is_damage, store_error


class Vacuumed(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of the file."""

    before: int
    after: int


def inspect(path: Path) -> Sequence[str]:
    """What is wrong inside the store, for people; empty when nothing is. Changes nothing and may run beside a
    daemon. Raises StoreError where there is no store to look into."""
    _needs_file(path)
    try:
        schema.refuse_unknown(path)
        with closing(schema.connect(path, busy_timeout=10, query_only=True)) as connection:
            connection.execute("BEGIN")
            return check.findings(connection)
    except sqlite3.Error as error:
        if is_damage(error):
            return [f"damaged: {error}"]
        raise store_error(error, str(path)) from None


def back_up(path: Path, to: Path) -> int:
    """Copy the store as it is now, also beside a daemon; the copy is checked and mode 0600. Gives its size in
    bytes. Raises StoreError; nothing is left behind then."""
    _needs_file(path)
    try:
        with closing(schema.connect(path, busy_timeout=10, query_only=True)) as connection:
            copy(connection, to)
    except (sqlite3.Error, OSError) as error:
        raise store_error(error, f"{path}, or its copy {to}") from None
    return to.stat().st_size


def vacuum(path: Path, *, free: int | None = None) -> Vacuumed:
    """Give unused room in the file back to the disk. Raises StoreError while a daemon works, or where the
    disk has no room for the two copies that SQLite makes on the way (https://www.sqlite.org/lang_vacuum.html).
    `free`: bytes that are free there; None = as the disk says."""
    _needs_file(path)
    free = shutil.disk_usage(path.parent).free if free is None else free
    with _alone(path):
        try:
            with closing(schema.connect(path, busy_timeout=10)) as connection:
                return _vacuum(connection, path, free)
        except sqlite3.Error as error:
            raise store_error(error, str(path)) from None


def _vacuum(connection: sqlite3.Connection, path: Path, free: int) -> Vacuumed:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.stat().st_size
    pages, unused, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    needed = 2 * (pages - unused) * size
    if free < needed:
        raise StoreError(
            f"store {path}: {megabytes(needed)} must be free on its disk, {megabytes(free)} are",
            hint="make room; nothing was done",
        )
    os.environ["SQLITE_TMPDIR"] = str(path.parent)  # where there is room, whatever /tmp is
    connection.execute("PRAGMA temp_store = FILE")
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Vacuumed(before=before, after=path.stat().st_size)


def megabytes(size: int) -> str:
    """`12.3 MB`."""
    return f"{size / 1_000_000:.1f} MB"


def _alone(path: Path) -> Ownership:
    """While it is held no daemon can start."""
    ownership = Ownership.acquire(path)
    if ownership is None:
        pid = holder(path)
        raise StoreError(
            f"store {path}: celreplay{f' (pid {pid})' if pid else ''} works on it",
            hint="stop it first: systemctl stop celreplay",
        )
    return ownership


def _needs_file(path: Path) -> None:
    if not path.is_file():
        raise StoreError(f"store {path}: there is none", hint="look at `store.url` in the config")
