"""The store in one SQLite file (default)."""

from celreplay.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
