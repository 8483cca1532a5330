"""A PBX gets another name: what is stored moves with it."""

import sqlite3

from celreplay.errors import StoreError
from celreplay.store.sqlite import asking
from celreplay.store.sqlite.statements import SQL


def rename(connection: sqlite3.Connection, name: str, path: str) -> None:
    """The job behind `Store.set_pbx_name`."""
    old = asking.meta(connection, "pbx_name")
    if old is not None and old != name:
        if connection.execute(SQL["in_doubt"]).fetchone()["n"]:
            hint = "let celreplay run under the old name until they are settled, then rename"
            raise StoreError(f"store {path}: deliveries are in doubt under the name {old}", hint=hint)
        for statement in ("rename_deliveries", "rename_keys", "rename_calls", "rename_aliases"):
            connection.execute(SQL[statement], {"name": name, "old": old})
    connection.execute(SQL["set_meta"], {"key": "pbx_name", "value": name})
