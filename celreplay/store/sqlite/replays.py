"""Replays: durable requests with counters of their own."""

import sqlite3
from collections.abc import Collection, Iterable, Sequence

import msgspec

from celreplay.store.base import Queued, Queueing, Replay, ReplayState, ReplayStep
from celreplay.store.decide import Decision
from celreplay.store.sqlite.jsontext import json_text
from celreplay.store.sqlite.statements import SQL
from celreplay.store.sqlite.strands import Strand, refresh

_JSON_COLUMNS = ("ids", "cursor", "skipped", "not_found", "in_progress")
_ENDED = frozenset({ReplayState.DONE, ReplayState.CANCELLED, ReplayState.FAILED})
_COUNTS = {
    Queued.QUEUED: "queued",
    Queued.UPDATED: "queued",
    Queued.ALREADY_DELIVERED: "already_delivered",
    Queued.ALREADY_WAITING: "already_waiting",
    Queued.MARKED: "marked_delivered",
    Queued.CHANGED: "changed",
}


def _to_row(replay: Replay) -> dict[str, object]:
    row: dict[str, object] = msgspec.structs.asdict(replay)
    for name in _JSON_COLUMNS:
        row[name] = None if row[name] is None else json_text(row[name])
    return row


def _from_row(row: sqlite3.Row) -> Replay:
    values = dict(row)
    for name in _JSON_COLUMNS:
        values[name] = None if values[name] is None else msgspec.json.decode(values[name])
    for name in ("dry_run", "mark_delivered"):
        values[name] = bool(values[name])
    return msgspec.convert(values, Replay)


def add_replay(connection: sqlite3.Connection, replay: Replay) -> int:
    """Store a request; its id."""
    cursor = connection.execute(SQL["add_replay"], _to_row(replay))
    assert cursor.lastrowid is not None  # noqa: S101  an INSERT has one
    return cursor.lastrowid


def get_replay(connection: sqlite3.Connection, replay_id: int) -> Replay | None:
    """A replay with its counters."""
    row = connection.execute(SQL["get_replay"], {"id": replay_id}).fetchone()
    return None if row is None else _from_row(row)


def list_replays(connection: sqlite3.Connection, *, unfinished: bool, limit: int) -> Sequence[Replay]:
    """See `Store.replays`. A replay that only waits for its deliveries needs no more work and is not among
    the unfinished; one with calls still in progress is."""
    name = "unfinished_replays" if unfinished else "recent_replays"
    return [_from_row(row) for row in connection.execute(SQL[name], {"limit": limit}).fetchall()]


def record_item(connection: sqlite3.Connection, replay: Replay | None, item: Queueing) -> bool:
    """Note what a replay found; False when it had found the same before."""
    assert replay is not None  # noqa: S101  only replays have items
    values = {"replay_id": replay.id, **msgspec.structs.asdict(item)}
    return connection.execute(SQL["add_item"], values).rowcount > 0


def record_step(
    connection: sqlite3.Connection,
    replay: Replay,
    step: ReplayStep,
    decisions: Sequence[Decision],
    linkedids: Collection[str],
) -> None:
    """Add a step's counts. A call that was in progress is no longer once it is among the step's calls."""
    row = _to_row(replay)
    skipped = dict(replay.skipped)
    counts = dict.fromkeys(_COUNTS.values(), 0)
    for decision in decisions:
        if not decision.counted:
            continue
        if decision.result is Queued.SKIPPED:
            skipped[decision.count_as] = skipped.get(decision.count_as, 0) + 1
        else:
            counts[_COUNTS[decision.result]] += 1
    row |= {name: getattr(replay, name) + n for name, n in counts.items()}
    in_progress = [one for one in _union(replay.in_progress, step.in_progress) if one not in linkedids]
    changes = msgspec.structs.replace(
        replay,
        found=replay.found + step.found,
        skipped=skipped,
        not_found=tuple(_union(replay.not_found, step.not_found)),
        in_progress=tuple(in_progress),
        cursor=step.cursor or replay.cursor,
    )
    row |= {name: value for name, value in _to_row(changes).items() if name not in counts}
    connection.execute(SQL["progress_replay"], row)


def _union(first: Iterable[str], second: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))


def set_replay_state(
    connection: sqlite3.Connection, replay_id: int, state: ReplayState, now: int, error: str
) -> None:
    """See `Store.set_replay_state`. What has ended stays as it ended."""
    row = connection.execute(SQL["get_replay"], {"id": replay_id}).fetchone()
    if row is None or ReplayState(row["state"]) in _ENDED:
        return
    if state is ReplayState.DELIVERING and not row["waiting"]:
        state = ReplayState.DONE
    finished_at = now if state in _ENDED else None
    values = {"id": replay_id, "state": state, "finished_at": finished_at, "error": error}
    connection.execute(SQL["set_replay_state"], values)
    if state is ReplayState.CANCELLED:
        _take_back(connection, replay_id, now)


def _take_back(connection: sqlite3.Connection, replay_id: int, now: int) -> None:
    strands = set()
    for row in connection.execute(SQL["waiting_of_replay"], {"id": replay_id}).fetchall():
        end_of_cancelled(connection, row["id"], replay_id, row["delivered_at"], now)
        strands.add(Strand(row["connector"], row["strand"]))
    refresh(connection, strands, now)


def end_of_cancelled(
    connection: sqlite3.Connection, id_: int, replay_id: int, delivered_at: int | None, now: int
) -> None:
    """A delivery of a cancelled replay is not sent: skipped, or delivered as it had been before."""
    reason = f"replay {replay_id} was cancelled before this was sent"
    values = {"id": id_, "now": now, "reason": reason, "state": "skipped", "delivered_at": None}
    name = "end_delivery"
    if delivered_at is not None:
        name = "forget_replay"
        values["reason"] = f"delivered before; replay {replay_id} was cancelled before it was sent again"
    connection.execute(SQL[name], values)
