"""Copies of a store that may be in use: whole, checked, on disk, and never in the place of another file."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from celreplay.errors import StoreError
from celreplay.store.ownership import give_to_owner_of


def create(path: Path) -> None:
    """Make the file, readable for its owner only: it holds calls and tokens. SQLite gives -wal and -shm the
    same mode. An existing file is left as it is."""
    if path.exists():
        return
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        give_to_owner_of(path.parent, descriptor)
        os.close(descriptor)
        sync_folder(path)
    except OSError as error:
        hint = f"{path.parent} must exist and belong to celreplay's user"
        raise StoreError(f"store {path}: it cannot be made: {error.strerror}", hint=hint) from None


def sync_folder(path: Path) -> None:
    """A new name, or another file under a name, is on disk only when its folder is (fsync(2))."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy(source: sqlite3.Connection, to: Path) -> None:
    """Copy the store as it is at one moment, while others write to it (https://www.sqlite.org/backup.html).

    It is made under another name beside `to` and gets its own when it is whole. Raises StoreError where `to`
    is there already or the copy is not sound, sqlite3.Error and OSError where it cannot be written."""
    if os.path.lexists(to):
        raise StoreError(f"{to} is there already", hint="choose another name; nothing was written")
    part = to.with_name(f"{to.name}.part")
    part.unlink(missing_ok=True)
    create(part)
    try:
        with closing(sqlite3.connect(part)) as target:
            source.backup(target)  # all in one step: one view of the source, which goes on being written to
            _check(target, to)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.rename(to)
        sync_folder(to)
    finally:
        for name in (part, *(part.with_name(part.name + end) for end in ("-wal", "-shm", "-journal"))):
            name.unlink(missing_ok=True)


def _check(target: sqlite3.Connection, to: Path) -> None:
    [finding] = target.execute("PRAGMA integrity_check(1)").fetchone()
    if finding != "ok":
        hint = "the store itself is damaged: `celreplay store check` says where"
        raise StoreError(f"{to}: the copy is not sound ({finding}), so it was not kept", hint=hint)
