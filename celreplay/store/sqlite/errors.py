"""What SQLite's errors mean for the person who runs celreplay."""

import sqlite3

from celreplay.errors import StoreError

# First words of the error's symbolic name → what happened, what to do (https://www.sqlite.org/rescode.html).
_MEANINGS = {
    "SQLITE_FULL": ("the disk is full", "make room; celreplay goes on by itself"),
    "SQLITE_READONLY": (
        "it cannot be written to",
        "the file, its -wal and -shm, and its folder must belong to celreplay's user",
    ),
    "SQLITE_NOTADB": ("it is not a celreplay store", "look at `store.url` in the config"),
    "SQLITE_CORRUPT": (
        "it is damaged",
        "stop celreplay; `celreplay store check` tells what is broken; put the last backup in its place",
    ),
    "SQLITE_CANTOPEN": ("it cannot be opened", "its folder must exist and belong to celreplay's user"),
    "SQLITE_PERM": ("no right to open it", "the file and its folder must belong to celreplay's user"),
    "SQLITE_BUSY": (
        "another process has locked it for too long",
        "end the other program that has the file open (lsof shows it)",
    ),
    "SQLITE_IOERR": (
        "reading or writing it failed",
        "look at free space, quotas and limits, and at the kernel's log for a failing disk",
    ),
}


def is_damage(error: Exception) -> bool:
    """True for an error that says that the file itself is broken."""
    return (getattr(error, "sqlite_errorname", "") or "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def store_error(error: Exception, path: str, found: str = "") -> StoreError:
    """The StoreError that says what happened, where, and what to do. `found`: what a look at it has shown."""
    if isinstance(error, StoreError):
        return error
    name = getattr(error, "sqlite_errorname", "") or ""
    for code, (what, hint) in _MEANINGS.items():
        if name.startswith(code):
            return StoreError(f"store {path}: {what} [{name}]{f': {found}' if found else ''}", hint=hint)
    return StoreError(f"store {path}: {error}", hint="if this stays, see docs/store.md")


def ends_transaction(error: Exception) -> bool:
    """True for errors of the file rather than of one statement: everything in the transaction is in doubt
    (https://www.sqlite.org/lang_transaction.html, "Response To Errors Within A Transaction")."""
    name = getattr(error, "sqlite_errorname", "") or ""
    return isinstance(error, sqlite3.Error) and name.startswith(tuple(_MEANINGS))
