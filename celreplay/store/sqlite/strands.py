"""Order within a strand: who may go, kept up to date with every change, so that claiming need not search.

Among the waiting deliveries of one connector, strand and lane, in the order of the calls' start, those up to
the first one that lets nobody pass are open (`turn` 0 or 1); all behind it are blocked (2). One lets others
pass (`yields`) after it has been failing for the patience of its strand. An open live one that was never
tried is held back (4) while an older one of its number is being replayed, as long as it has patience.
"""

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from celreplay.store.base import Lane
from celreplay.store.sqlite.statements import SQL
from celreplay.times import SECOND

READY, TIMED, BLOCKED, SENDING, HELD_BACK = range(5)
_MOST = 1000
_LAST = 2**62


class Strand(NamedTuple):
    """Deliveries of one connector with one outside number."""

    connector: str
    strand: str | None


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
        heads = {lane: _head(connection, one, lane) for lane in Lane}
        replayed = heads[Lane.REPLAY]
        for lane, head in heads.items():
            held_by = replayed if lane is Lane.LIVE else None
            values = {**one._asdict(), "lane": int(lane), "now": now}
            values |= {"started_at": head.started_at, "id": head.id}
            values |= {"replayed_at": held_by.started_at if held_by else _LAST, "replayed": replayed.linkedid}
            connection.execute(SQL["open_strand"], values)
            connection.execute(SQL["block_strand"], values)
            if held_by is not None and held_by.linkedid:
                connection.execute(SQL["hold_back"], values)


class _Head(NamedTuple):
    """The first delivery of a strand and lane that lets nobody pass."""

    started_at: int
    id: int
    linkedid: str


def _head(connection: sqlite3.Connection, strand: Strand, lane: Lane) -> _Head:
    """Without one, a place behind everything."""
    row = connection.execute(SQL["strand_head"], {**strand._asdict(), "lane": int(lane)}).fetchone()
    return _Head(row["started_at"], row["id"], row["linkedid"]) if row else _Head(_LAST, _LAST, "")


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


def let_pass(
    connection: sqlite3.Connection, connector: str, order_patience: float, live_patience: float, now: int
) -> None:
    """Open strands whose head has been failing for too long, and let go live ones that have waited enough
    for replayed ones."""
    clock = patience_clock(connection, connector, now, settle=True)
    values = {"connector": connector, "most": _MOST}
    values["failing_since"] = clock - round(order_patience * SECOND)
    values["waiting_since"] = clock - round(live_patience * SECOND)
    rows = connection.execute(SQL["let_pass"], values).fetchall()
    rows += connection.execute(SQL["lose_patience"], values).fetchall()
    refresh(connection, {Strand(connector, row["strand"]) for row in rows}, now)


def promote(connection: sqlite3.Connection, connector: str, lane: int, now: int) -> None:
    """What has become due goes to where claims look; the earliest due first, a thousand at a time."""
    values = {"connector": connector, "lane": lane, "now": now, "most": _MOST}
    connection.execute(SQL["promote"], values)
