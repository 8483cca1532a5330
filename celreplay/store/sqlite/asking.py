"""What people and loops ask; every statement goes by an index."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence

import msgspec

from celreplay.calls.model import Call, decode_call
from celreplay.store.base import Hold, Lane, Queueing, Reading, State
from celreplay.store.sqlite.statements import SQL
from celreplay.times import SECOND


def call(connection: sqlite3.Connection, linkedid: str, system: str) -> Call | None:
    """A stored call by any of its linkedids."""
    values = {"linkedid": linkedid, "system": system}
    for name in ("get_call", "get_folded_call"):
        if row := connection.execute(SQL[name], values).fetchone():
            return decode_call(row["payload"])
    return None


def meta(connection: sqlite3.Connection, key: str) -> str | None:
    """One value of the store's own settings."""
    row = connection.execute(SQL["get_meta"], {"key": key}).fetchone()
    return None if row is None else str(row["value"])


def reading(connection: sqlite3.Connection) -> Reading | None:
    """Where the tail stands."""
    text = meta(connection, "reading")
    return None if text is None else msgspec.json.decode(text, type=Reading)


class Patience(msgspec.Struct, frozen=True):
    """How long deliveries of a connector wait for others, in seconds; see `Store.claim`."""

    order: float
    live: float


def next_due(
    connection: sqlite3.Connection, connector: str, patience: Patience | None, lanes: Collection[Lane]
) -> int | None:
    """See `Store.next_due`. Never says "due now" of what cannot be claimed: what is blocked does not count
    by itself, only the moment from which its head may be passed, or from which it waits no longer."""
    moments: list[int | None] = []
    for lane in lanes:
        values = {"connector": connector, "lane": int(lane)}
        moments += [connection.execute(SQL[name], values).fetchone()["at"] for name in _NEXT]
    if patience is not None:
        moments.append(_end_of_patience(connection, "next_failing", connector, patience.order))
        moments.append(_end_of_patience(connection, "next_impatient", connector, patience.live))
    return min((one for one in moments if one is not None), default=None)


def oldest_due(connection: sqlite3.Connection, connector: str) -> int | None:
    """See `Store.oldest_due`."""
    moments = [
        connection.execute(SQL["oldest_due"], {"connector": connector, "lane": int(lane)}).fetchone()["at"]
        for lane in Lane
    ]
    return min((moment for moment in moments if moment is not None), default=None)


_NEXT = ("next_ready", "next_timed")


def _end_of_patience(
    connection: sqlite3.Connection, name: str, connector: str, patience: float
) -> int | None:
    since = connection.execute(SQL[name], {"connector": connector}).fetchone()["at"]
    row = connection.execute(SQL["get_connector"], {"connector": connector}).fetchone()
    if since is None or (row is not None and row["held_since"] is not None):
        return None
    standstill: int = row["standstill"] if row is not None else 0
    return int(since) + standstill + round(patience * SECOND)


def counts(connection: sqlite3.Connection) -> Mapping[str, Mapping[State, int]]:
    """connector → state → deliveries."""
    found: dict[str, dict[State, int]] = {}
    for row in connection.execute(SQL["counts"]).fetchall():
        found.setdefault(row["connector"], {})[State(row["state"])] = row["n"]
    return found


def connector_state(connection: sqlite3.Connection, connector: str) -> dict[str, str]:
    """The connector's durable key-value."""
    row = connection.execute(SQL["get_connector"], {"connector": connector}).fetchone()
    return {} if row is None else msgspec.json.decode(row["state"], type=dict[str, str])


def holds(connection: sqlite3.Connection, replay_id: int | None = None) -> Mapping[str, Hold]:
    """Connectors on hold; with `replay_id` those at which it has something waiting."""
    name = "holds" if replay_id is None else "holds_of_replay"
    rows = connection.execute(SQL[name], {"replay_id": replay_id}).fetchall()
    return {row["connector"]: msgspec.json.decode(row["hold"], type=Hold) for row in rows}


def replay_items(connection: sqlite3.Connection, replay_id: int, limit: int) -> Sequence[Queueing]:
    """What a replay found."""
    rows = connection.execute(SQL["replay_items"], {"replay_id": replay_id, "limit": limit}).fetchall()
    return [msgspec.convert(dict(row), Queueing) for row in rows]
