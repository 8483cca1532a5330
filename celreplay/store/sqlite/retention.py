"""Removing what is older than it is kept, a page at a time. The key of a delivery stays for ever."""

import sqlite3

from celreplay.retention import RetentionConfig
from celreplay.store.base import State
from celreplay.store.retention import Forgotten
from celreplay.store.sqlite.statements import SQL
from celreplay.times import SECOND

_ENDED = frozenset({State.DELIVERED, State.SKIPPED, State.SUPERSEDED, State.DEAD})


def forget(
    connection: sqlite3.Connection, ages: RetentionConfig, now: int, after: Forgotten, limit: int
) -> Forgotten:
    """The job behind `Store.forget`: deliveries first, since a call waits for its deliveries."""
    if deliveries := _deliveries(connection, ages, now, limit):
        return Forgotten(deliveries=deliveries, place=after.place)
    if page := _replay(connection, _before(ages.replays, now), limit, after.place):
        return page
    return _calls(connection, _before(ages.calls, now), limit, after.place)


def _before(age: float, now: int) -> int:
    return now - round(age * SECOND)


def _deliveries(connection: sqlite3.Connection, ages: RetentionConfig, now: int, limit: int) -> int:
    rows: list[sqlite3.Row] = []
    for count in connection.execute(SQL["counts"]).fetchall():
        if count["state"] not in _ENDED:
            continue
        before = _before(ages.dead if count["state"] == State.DEAD else ages.payloads, now)
        values = {"connector": count["connector"], "state": count["state"], "before": before}
        rows += connection.execute(SQL["old_deliveries"], {**values, "limit": limit - len(rows)}).fetchall()
    names = {(row["system"], row["connector"]) for row in rows}
    connection.executemany(
        SQL["name_keys"], [{"system": system, "connector": connector} for system, connector in names]
    )
    # in the order of the keys, so that they fill their pages
    ids = [{"id": row["id"]} for row in sorted(rows, key=lambda row: row["linkedid"])]
    for name in ("keep_key", "drop_payload", "drop_attempts", "drop_delivery"):
        connection.executemany(SQL[name], ids)
    return len(rows)


def _replay(
    connection: sqlite3.Connection, before: int, limit: int, place: tuple[int, int]
) -> Forgotten | None:
    row = connection.execute(SQL["old_replay"], {"before": before}).fetchone()
    if row is None:
        return None
    items = connection.execute(SQL["drop_items"], {"id": row["id"], "limit": limit}).rowcount
    if items < limit:
        connection.execute(SQL["drop_replay"], {"id": row["id"]})
    return Forgotten(items=items, replays=int(items < limit), place=place)


def _calls(connection: sqlite3.Connection, before: int, limit: int, place: tuple[int, int]) -> Forgotten:
    values = {"before": before, "limit": limit, "started_at": place[0], "seq": place[1]}
    rows = connection.execute(SQL["old_calls"], values).fetchall()
    if not rows:
        return Forgotten(place=place, done=True)
    old = [{"seq": row["seq"]} for row in rows if not row["in_use"]]
    connection.executemany(SQL["drop_aliases"], old)
    connection.executemany(SQL["forget_call"], old)
    return Forgotten(calls=len(old), place=(rows[-1]["started_at"], rows[-1]["seq"]))
