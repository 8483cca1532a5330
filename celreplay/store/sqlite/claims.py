"""What workers do: claim, settle, give back; and what a start finds of workers that died."""

import sqlite3
from collections.abc import Sequence

import msgspec

from celreplay.connectors.base import Delivery, OutcomeKind
from celreplay.store.base import Claim, Lane, ReplayState, Settlement, State
from celreplay.store.sqlite.replays import end_of_cancelled
from celreplay.store.sqlite.statements import SQL
from celreplay.store.sqlite.strands import TIMED, Strand, let_pass, patience_clock, promote, refresh
from celreplay.store.sqlite.turns import Served, Turns

_WAITING = frozenset({State.PENDING, State.UNCERTAIN})


class Terms(msgspec.Struct, frozen=True):
    """What a worker asks for; see `Store.claim`."""

    connector: str
    limit: int
    order_patience: float
    live_patience: float
    replay_at_least: int
    replay_at_most: int | None


def claim(connection: sqlite3.Connection, terms: Terms, now: int, served: Served) -> Sequence[Claim]:
    """The job behind `Store.claim`."""
    connector, limit = terms.connector, terms.limit
    let_pass(connection, connector, terms.order_patience, terms.live_patience, now)
    for lane in Lane:
        promote(connection, connector, lane, now)
    most = limit if terms.replay_at_most is None else min(limit, terms.replay_at_most)
    turns = Turns(connection, connector, served)
    share = turns.replayed(min(terms.replay_at_least, most))
    rows = [*turns.live(limit - len(share)), *share]
    rows += turns.replayed(min(limit - len(rows), most - len(share)))
    return _take(connection, terms, rows, now)


def _take(
    connection: sqlite3.Connection, terms: Terms, rows: Sequence[sqlite3.Row], now: int
) -> Sequence[Claim]:
    """Make them ours, each with an attempt in its journal."""
    taken = []
    for row in rows:
        probing, number = row["state"] == State.UNCERTAIN, row["attempts"] + 1
        what = "asking whether it arrived" if probing else "sending"
        note = _order_note(row, terms.live_patience)
        values = {"id": row["id"], "now": now, "probing": probing, "order_note": note, "number": number}
        values["reason"] = f"{what}, attempt {number}{_noted(note)}"
        taken.append(values)
    connection.executemany(SQL["take"], taken)
    connection.executemany(SQL["begin_attempt"], taken)
    return [_claim_of(row, terms.connector) for row in rows]


def _claim_of(row: sqlite3.Row, connector: str) -> Claim:
    probing = row["state"] == State.UNCERTAIN
    return Claim(
        delivery_id=row["id"],
        token=row["token"] + 1,
        delivery=Delivery(
            system=row["system"],
            connector=connector,
            linkedid=row["linkedid"],
            part=row["part"],
            payload=row["payload"],
            checkpoint=row["checkpoint"],
            attempt=row["attempts"] + 1,
            forced=bool(row["forced"]),
        ),
        lane=Lane(row["lane"]),
        probing=probing,
        uncertain_since=row["uncertain_since"] if probing else None,
        absent_seen=row["absent_seen"] if probing else 0,
        failures=row["failures"],
    )


def _order_note(row: sqlite3.Row, live_patience: float) -> str:
    """Whom this one passes now, or waited for or passed before."""
    if row["passed"]:
        return f"passed {row['passed']}, the older call of its number that kept failing"
    if row["replayed"]:
        waited = f", after waiting {live_patience:g} s" if live_patience else ""
        return f"passed {row['replayed']}, an older call of its number in a replay{waited}"
    return str(row["order_note"])


def _noted(note: str) -> str:
    return f" ({note})" if note else ""


def checkpoint(connection: sqlite3.Connection, delivery_id: int, token: int, data: bytes) -> bool:
    """The job behind `Store.checkpoint`."""
    values = {"id": delivery_id, "token": token, "data": data}
    return connection.execute(SQL["checkpoint"], values).rowcount > 0


def settle(connection: sqlite3.Connection, settlements: Sequence[Settlement]) -> Sequence[bool]:
    """The job behind `Store.settle`."""
    if any(one.state is State.SENDING for one in settlements):
        raise ValueError("an attempt cannot end in the state sending")
    ours = _ours(connection, settlements)
    ends = [(one, row) for one, row in zip(settlements, ours, strict=True) if row is not None]
    connection.executemany(SQL["settle"], [_settled(connection, row, one) for one, row in ends])
    connection.executemany(SQL["end_attempt"], [_journaled(row, one) for one, row in ends])
    for one, row in ends:
        if one.state is State.PENDING and _is_cancelled(row):
            end_of_cancelled(connection, row["id"], row["replay_id"], row["delivered_at"], one.ended_at)
        if row["crowded"]:
            refresh(connection, [Strand(row["connector"], row["strand"])], one.ended_at)
    return [row is not None for row in ours]


def _ours(
    connection: sqlite3.Connection, claims: Sequence[Claim] | Sequence[Settlement]
) -> Sequence[sqlite3.Row | None]:
    """The deliveries whose claim is still that one, in its order; each once."""
    ids = msgspec.json.encode([one.delivery_id for one in claims]).decode()
    rows = {row["id"]: row for row in connection.execute(SQL["claimed"], {"ids": ids})}
    return [
        rows.pop(one.delivery_id)
        if one.delivery_id in rows and rows[one.delivery_id]["token"] == one.token
        else None
        for one in claims
    ]


def _settled(connection: sqlite3.Connection, row: sqlite3.Row, one: Settlement) -> dict[str, object]:
    waits = one.state in _WAITING
    failing_since: int | None = row["failing_since"] if waits else None
    if waits and one.counts and failing_since is None:
        failing_since = patience_clock(connection, row["connector"], one.ended_at)
    return {
        "id": row["id"],
        "state": one.state,
        "turn": TIMED if waits else None,
        "reason": one.reason + _noted(row["order_note"]),
        "next_at": (one.ended_at if one.next_at is None else one.next_at) if waits else None,
        "now": one.ended_at,
        "failures": row["failures"] + (waits and one.counts),
        "failing_since": failing_since,
        "uncertain_since": _uncertain_since(row, one),
        "absent_seen": one.absent_seen if one.state is State.UNCERTAIN else 0,
        "delivered_at": one.ended_at if one.state is State.DELIVERED else None,
    }


def _journaled(row: sqlite3.Row, one: Settlement) -> dict[str, object]:
    journal = {"id": row["id"], "number": row["attempts"], "ended_at": one.ended_at, "kind": one.kind}
    return journal | {"reason": one.reason, "http_status": one.http_status, "answer": one.answer}


def _uncertain_since(row: sqlite3.Row, one: Settlement) -> int | None:
    """The start of this attempt if its request left; where it only asked (a probe that said absent, or
    could not be made), the start of the attempt that is in doubt."""
    if one.state is not State.UNCERTAIN:
        return None
    asked_only = row["probing"] and (one.absent_seen > 0 or one.kind is not OutcomeKind.UNCERTAIN)
    since: int | None = row["uncertain_since"] if asked_only else row["attempt_started_at"]
    return since


def _is_cancelled(row: sqlite3.Row) -> bool:
    """Its replay was; what the tail has met since is a live call all the same."""
    return bool(row["replay_state"] == ReplayState.CANCELLED and row["lane"] == Lane.REPLAY)


def release(connection: sqlite3.Connection, claims: Sequence[Claim], now: int, reason: str) -> None:
    """The job behind `Store.release`. A claim that is no longer ours is left alone."""
    strands = set()
    for row in _ours(connection, claims):
        if row is None:
            continue
        state = State.UNCERTAIN if row["probing"] else State.PENDING
        values = {"id": row["id"], "number": row["attempts"], "state": state, "now": now, "reason": reason}
        connection.execute(SQL["give_back"], values)
        connection.execute(SQL["drop_attempt"], values)
        if state is State.PENDING and _is_cancelled(row):
            end_of_cancelled(connection, row["id"], row["replay_id"], row["delivered_at"], now)
        strands.add(Strand(row["connector"], row["strand"]))
    refresh(connection, strands, now)


def recover(connection: sqlite3.Connection, now: int) -> int:
    """The job behind `Store.recover`."""
    reason = "celreplay stopped while sending it: it may have arrived"
    rows = connection.execute(SQL["recover"], {"now": now, "reason": reason}).fetchall()
    refresh(connection, {Strand(row["connector"], row["strand"]) for row in rows}, now)
    return len(rows)
