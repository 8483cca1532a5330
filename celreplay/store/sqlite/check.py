"""Looking at everything in the store: is it sound, and is what is kept beside the deliveries true of them?"""

import sqlite3
import time
from contextlib import closing
from itertools import groupby

from celreplay.store.base import Lane
from celreplay.store.sqlite.errors import is_damage
from celreplay.store.sqlite.schema import SCRIPTS, version_of
from celreplay.store.sqlite.statements import SQL
from celreplay.store.sqlite.strands import BLOCKED, HELD_BACK, SENDING

_MOST = 20
"""Findings of one kind: a damaged file has thousands, and the first ones tell enough."""
_LONGEST_LOOK = 2.0


def findings(connection: sqlite3.Connection) -> list[str]:
    """What is wrong, for people; empty when all is well. Inside a transaction: one view of everything. A
    damaged file is not looked into any further."""
    if damaged := damage(connection):
        return damaged
    if version_of(connection) < len(SCRIPTS):
        return []  # of an older celreplay: the rest can be looked at when it has been upgraded
    return mistakes(connection)


def damage(connection: sqlite3.Connection, most: int = _MOST) -> list[str]:
    """What SQLite's own check finds, with the names of the tables; empty when the file is sound."""
    lines = _lines(connection, f"PRAGMA integrity_check({most})")
    named = _by_table(connection) if lines else []
    return [f"damaged: {line}" for line in named or lines][:most]


def _by_table(connection: sqlite3.Connection) -> list[str]:
    """The check of the whole file names pages only; that of one table and its indexes tells which it is."""
    found: list[str] = []
    try:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    except sqlite3.DatabaseError:
        return []  # broken where the tables are listed
    for (table,) in tables:
        found += [f"{table}: {line}" for line in _lines(connection, f"PRAGMA integrity_check({table})")]
    return found


def _lines(connection: sqlite3.Connection, statement: str) -> list[str]:
    try:
        texts = [row[0] for row in connection.execute(statement).fetchall()]
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        texts = [str(error)]
    return [line for text in texts for line in text.splitlines() if line != "ok" and line[:3] != "***"]


def first_damage(path: str) -> str:
    """The first thing that is found broken, for a message; empty where a quick look finds nothing."""
    until = time.monotonic() + _LONGEST_LOOK
    try:
        with closing(sqlite3.connect(path, timeout=_LONGEST_LOOK)) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > until, 10_000)
            return next(iter(damage(connection, 1)), "")
    except sqlite3.Error:
        return ""


def mistakes(connection: sqlite3.Connection) -> list[str]:
    """What is kept beside the deliveries and is not true of them."""
    counted = {(row[0], row[1]): row[2] for row in connection.execute(SQL["recount"]).fetchall()}
    kept = {(row[0], row[1]): row[2] for row in connection.execute(SQL["counts"]).fetchall()}
    found = [
        f"connector {connector}: {there} deliveries are {state}, its counter says {said}"
        for connector, state in sorted(counted.keys() | kept.keys())
        if (there := counted.get((connector, state), 0)) != (said := kept.get((connector, state), 0))
    ]
    for name, what in _RULES.items():
        found += [what.format(row[0]) for row in connection.execute(SQL[name]).fetchmany(_MOST)]
    return found + _strands(connection)


_RULES = {
    "recount_replays": "replay {}: it does not say right how many of its deliveries wait",
    "kept_twice": "delivery {}: it is kept both whole and as a key",
    "without_bytes": "delivery {}: it waits and has no bytes to send",
    "lost_payloads": "payload of delivery {}: there is no such delivery",
    "lost_attempts": "attempts of delivery {}: there is no such delivery",
    "lost_aliases": "linkedid {}: it is said to be a part of a call that is not there",
}
"""Statement → what each of its rows means."""


def _strands(connection: sqlite3.Connection) -> list[str]:
    found = []
    waiting = connection.execute(SQL["strands"]).fetchall()
    for _, rows in groupby(waiting, key=lambda row: (row["connector"], row["strand"], row["lane"])):
        blocked = False
        for row in rows:
            if row["turn"] == HELD_BACK and (row["lane"] != Lane.LIVE or row["attempts"] or row["impatient"]):
                found.append(f"delivery {row['id']}: it is held back for others and should not be")
            if row["turn"] != SENDING and blocked != (row["turn"] == BLOCKED):
                found.append(f"delivery {row['id']}: its place in its strand is wrong (turn {row['turn']})")
            blocked = blocked or not row["yields"]
    return found[:_MOST]
