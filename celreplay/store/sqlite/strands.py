"""Order within a strand: who may go, kept up to date with every change, so that claiming need not search.

Among the waiting deliveries of one connector, strand and lane, in the order of the calls' start, those up to
the first one that lets nobody pass are open (`turn` 0 or 1); all behind it are blocked (2). One lets others
pass (`yields`) after it has been failing for the patience of its strand.
"""

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from celreplay.store.sqlite.statements import SQL

READY, TIMED, BLOCKED, SENDING = range(4)
_MOST = 1000


class Strand(NamedTuple):
    """Deliveries of one connector with one outside number in one lane."""

    connector: str
    strand: str | None
    lane: int


def first_turn(strand: str | None, next_at: int, now: int) -> int:
    """The turn of a delivery that begins to wait. `refresh` is due for its strand then."""
    if strand is not None:
        return BLOCKED
    return READY if next_at <= now else TIMED


def refresh(connection: sqlite3.Connection, strands: Iterable[Strand], now: int) -> None:
    """Open and block the deliveries of these strands as their order has it."""
    for one in strands:
        if one.strand is None:
            continue
        values: dict[str, object] = {**one._asdict(), "now": now}
        head = connection.execute(SQL["strand_head"], values).fetchone()
        last = 2**62
        values |= {"started_at": head["started_at"] if head else last, "id": head["id"] if head else last}
        connection.execute(SQL["open_strand"], values)
        connection.execute(SQL["block_strand"], values)


def patience_clock(connection: sqlite3.Connection, connector: str, now: int, *, settle: bool = False) -> int:
    """`now` on a clock that stands still while the connector is held. `settle`: a hold that has been
    released since ended now (the store hears of a release without its time, and claims come right after)."""
    row = connection.execute(SQL["get_connector"], {"connector": connector}).fetchone()
    if row is None:
        return now
    standstill: int = row["standstill"]
    held_since: int | None = row["held_since"]
    if held_since is None:
        return now - standstill
    if row["hold"] is not None or not settle:
        return min(now, held_since) - standstill
    standstill += max(0, now - held_since)
    connection.execute(SQL["add_standstill"], {"connector": connector, "standstill": standstill})
    return now - standstill


def let_pass(connection: sqlite3.Connection, connector: str, order_patience: float, now: int) -> None:
    """Open strands whose head has been failing for too long."""
    before = patience_clock(connection, connector, now, settle=True) - round(order_patience * 1_000_000)
    values = {"connector": connector, "failing_since": before, "most": _MOST}
    rows = connection.execute(SQL["let_pass"], values).fetchall()
    refresh(connection, {Strand(connector, row["strand"], row["lane"]) for row in rows}, now)


def promote(connection: sqlite3.Connection, connector: str, lane: int, now: int) -> None:
    """What has become due goes to where claims look; the earliest due first, a thousand at a time."""
    values = {"connector": connector, "lane": lane, "now": now, "most": _MOST}
    connection.execute(SQL["promote"], values)
