"""Lists of deliveries, newest change first, a page at a time; and the journal of one."""

import heapq
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import chain

import msgspec

from celreplay.connectors.base import OutcomeKind
from celreplay.store.records import AttemptRecord, DeliveryPage, DeliveryRecord, Place, State, Wanted
from celreplay.store.sqlite.statements import SQL

MOST = 20_000
"""Rows that one page looks at: the search for a rare reason goes on with the next page, and others get their
turn meanwhile."""
_WAITING = (State.PENDING, State.UNCERTAIN)
_NO_END = 2**62


def page(
    connection: sqlite3.Connection, system: str, wanted: Wanted, after: Place | None, limit: int
) -> DeliveryPage:
    """See `Store.list_deliveries`."""
    found: list[DeliveryRecord] = []
    place = after
    with ExitStack() as cursors:
        for looked, row in enumerate(_rows(connection, system, wanted, after, cursors)):
            if len(found) == limit or looked == MOST:
                return DeliveryPage(deliveries=found, after=place)
            place = Place(row["updated_at"], row["id"])
            if _is_wanted(row, wanted):
                found.append(_record(row))
    return DeliveryPage(deliveries=found, after=None)


def _rows(
    connection: sqlite3.Connection, system: str, wanted: Wanted, after: Place | None, cursors: ExitStack
) -> Iterable[sqlite3.Row]:
    """Those of a call, or those of each connector and state by their index, merged; read as they are used."""
    end = _NO_END if wanted.until is None else wanted.until
    place = Place(end, 0) if after is None else min(after, Place(end, 0), key=_order)
    pairs = list(_pairs(connection, wanted))
    if wanted.linkedid is not None:
        values: dict[str, object] = {
            "linkedid": wanted.linkedid,
            "system": system,
            "since": wanted.since or 0,
        }
        values |= {"at": place.updated_at, "id": place.delivery_id}
        values["reason"] = "its details are older than they are kept (retention.payloads)"
        names = ("deliveries_of_call", "keys_of_call")
        rows = [row for name in names for row in connection.execute(SQL[name], values).fetchall()]
        rows.sort(key=lambda row: (row["updated_at"], row["id"]), reverse=True)
        return [row for row in rows if (row["connector"], row["state"]) in pairs]
    streams = []
    for connector, state in pairs:
        values = {"connector": connector, "state": state, "since": wanted.since or 0}
        values |= {"at": place.updated_at, "id": place.delivery_id}
        both = [connection.execute(SQL[name], values) for name in ("deliveries_at", "recent_deliveries")]
        streams.append(chain.from_iterable(cursors.enter_context(closing(cursor)) for cursor in both))
    return heapq.merge(*streams, key=lambda row: (row["updated_at"], row["id"]), reverse=True)


def _order(place: Place) -> tuple[int, int]:
    return place.updated_at, place.delivery_id


def _pairs(connection: sqlite3.Connection, wanted: Wanted) -> Iterator[tuple[str, str]]:
    """The connectors and states that there are, as far as they are wanted."""
    held = {row["connector"] for row in connection.execute(SQL["holds"]).fetchall()} if wanted.held else set()
    for row in connection.execute(SQL["counts"]).fetchall():
        connector, state = row["connector"], row["state"]
        if wanted.connector not in (None, connector) or (wanted.states and state not in wanted.states):
            continue
        if not wanted.held or (connector in held and state in _WAITING):
            yield connector, state


def _is_wanted(row: sqlite3.Row, wanted: Wanted) -> bool:
    return wanted.reason.casefold() in row["reason"].casefold()


def _record(row: sqlite3.Row) -> DeliveryRecord:
    return msgspec.convert({**dict(row), "delivery_id": row["id"]}, DeliveryRecord)


def delivery(connection: sqlite3.Connection, delivery_id: int) -> DeliveryRecord | None:
    """See `Store.delivery`."""
    row = connection.execute(SQL["delivery"], {"id": delivery_id}).fetchone()
    return None if row is None else _record(row)


def attempts(connection: sqlite3.Connection, delivery_id: int) -> Sequence[AttemptRecord]:
    """The journal of a delivery."""
    rows = connection.execute(SQL["attempts"], {"id": delivery_id}).fetchall()
    return [
        AttemptRecord(**{**dict(row), "kind": None if row["kind"] is None else OutcomeKind(row["kind"])})
        for row in rows
    ]
