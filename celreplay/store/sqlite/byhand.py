"""What people do about deliveries: send dead ones again, take them off the list, wake a held connector."""

import sqlite3
from collections.abc import Collection, Mapping

from celreplay.connectors.base import OutcomeKind
from celreplay.store.records import Lane, Rebuilt, State
from celreplay.store.sqlite.statements import SQL
from celreplay.store.sqlite.strands import BLOCKED, READY, Strand, refresh

_WAITING = frozenset({State.PENDING, State.SENDING, State.UNCERTAIN})
Refused = Mapping[int, str]
"""delivery_id → why nothing was done."""


def retry(
    connection: sqlite3.Connection,
    wishes: Mapping[int, Rebuilt | None],
    by: str,
    now: int,
    askable: Collection[str],
    *,
    whole: bool,
) -> Refused:
    """The job behind `Store.retry`."""
    rows = {id_: _row(connection, id_) for id_ in wishes}
    refused = {id_: why for id_, row in rows.items() if (why := _why_not_sent(id_, row, wishes[id_]))}
    if whole and refused:
        return refused
    strands = set()
    for id_, row in rows.items():
        if row is not None and id_ not in refused:
            strands |= _send_again(connection, row, wishes[id_], by, now, askable)
    refresh(connection, strands, now)
    return refused


def discard(
    connection: sqlite3.Connection, ids: Collection[int], by: str, now: int, *, whole: bool
) -> Refused:
    """The job behind `Store.discard`. One that the CRM has all the same (a forced one died) is delivered."""
    rows = {id_: _row(connection, id_) for id_ in ids}
    refused = {id_: why for id_, row in rows.items() if (why := _why_not_discarded(id_, row))}
    if whole and refused:
        return refused
    for id_, row in rows.items():
        if row is not None and id_ not in refused:
            had = row["delivered_at"] is not None
            reason = f"discarded by {by}; {'delivered before, then ' * had}dead: {row['reason']}"
            state = State.DELIVERED if had else State.SKIPPED
            connection.execute(SQL["discard"], {"id": id_, "state": state, "reason": reason, "now": now})
    return refused


def resume(connection: sqlite3.Connection, connector: str, now: int) -> bool:
    """The job behind `Store.resume`. Where nothing that waits is due, the next one becomes it: a canary is
    wanted now."""
    if not connection.execute(SQL["resume"], {"connector": connector, "now": now}).rowcount:
        return False
    for lane in Lane:
        values = {"connector": connector, "lane": int(lane), "now": now}
        if connection.execute(SQL["next_ready"], values).fetchone()["at"] is not None:
            break
        if connection.execute(SQL["wake_one"], values).rowcount:
            break
    return True


def wake_late(connection: sqlite3.Connection, now: int, furthest: int) -> int:
    """The job behind `Store.wake_late`. What is blocked is looked at again when its turn has come."""
    woken = 0
    for connector in {row["connector"] for row in connection.execute(SQL["counts"]).fetchall()}:
        for lane in Lane:
            values = {"connector": connector, "lane": int(lane), "now": now, "furthest": furthest}
            woken += connection.execute(SQL["wake_late"], values).rowcount
    return woken


def set_back(connection: sqlite3.Connection, by: int) -> None:
    """The job behind `Store.set_back`."""
    for name in ("set_back", "set_back_holds"):
        connection.execute(SQL[name], {"by": by})


def _row(connection: sqlite3.Connection, id_: int) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(SQL["delivery"], {"id": id_}).fetchone()
    return row


def _why_not_sent(id_: int, row: sqlite3.Row | None, rebuilt: Rebuilt | None) -> str:
    why = _why_not_ended(id_, row)
    if row is None or why:
        return why
    if rebuilt is not None or row["kept"]:
        return ""
    if row["state"] == State.SKIPPED:
        return f"was skipped ({row['reason']}): rebuild asks the rules again"
    return "has no bytes any more: rebuild makes new ones"


def _why_not_ended(id_: int, row: sqlite3.Row | None) -> str:
    if row is None:
        return f"there is no delivery {id_}"
    if row["state"] in _WAITING:
        return f"is {row['state']} and needs no retry"
    if row["state"] == State.DELIVERED:
        return f"was delivered: a replay of the id {row['linkedid']} sends it again"
    if row["state"] == State.SUPERSEDED:
        return f"is over: {row['reason']}"
    return ""


def _why_not_discarded(id_: int, row: sqlite3.Row | None) -> str:
    if row is None:
        return f"there is no delivery {id_}"
    return "" if row["state"] == State.DEAD else f"is {row['state']}; only dead ones are discarded"


def _send_again(
    connection: sqlite3.Connection,
    row: sqlite3.Row,
    rebuilt: Rebuilt | None,
    by: str,
    now: int,
    askable: Collection[str],
) -> set[Strand]:
    """It waits again, apart from the replay that once asked for it; how far its exchange had come is kept, so
    that no step is done twice."""
    ask = row["connector"] in askable and row["last_number"] and row["last_kind"] in _IN_DOUBT
    strand = row["strand"] if rebuilt is None else rebuilt.strand
    values = {
        "id": row["id"],
        "state": State.UNCERTAIN if ask else State.PENDING,
        "turn": READY if strand is None else BLOCKED,
        "strand": strand,
        "started_at": row["started_at"] if rebuilt is None else rebuilt.started_at,
        "revision": row["revision"] if rebuilt is None else rebuilt.revision,
        "uncertain_since": row["last_started_at"] if ask else None,
        "now": now,
    }
    what = "to be asked about, then sent" if ask else "to be sent"
    new = "" if rebuilt is None else " with new bytes"
    values["reason"] = f"{what} again{new}: retried by {by}; it was {row['state']}: {row['reason']}"
    connection.execute(SQL["retry"], values)
    if rebuilt is not None:
        connection.execute(SQL["renew_payload"], {"id": row["id"], "payload": rebuilt.payload})
    return {Strand(row["connector"], strand)}


_IN_DOUBT = (None, OutcomeKind.UNCERTAIN)
