"""Storing calls and queueing their deliveries, in the transaction of the position and a replay's progress."""

import sqlite3
from collections.abc import Sequence

import msgspec

from celreplay.calls.model import Call, encode
from celreplay.errors import StoreError
from celreplay.store.base import (
    FinishedCall,
    NewDelivery,
    Queued,
    Queueing,
    Reading,
    Replay,
    ReplayState,
    ReplayStep,
    State,
)
from celreplay.store.decide import Action, Decision, Known, decide
from celreplay.store.sqlite.jsontext import json_text
from celreplay.store.sqlite.replays import get_replay, record_item, record_step
from celreplay.store.sqlite.statements import SQL
from celreplay.store.sqlite.strands import BLOCKED, TIMED, Strand, first_turn, patience_clock, refresh


class Saving:
    """One `save_calls` inside its transaction."""

    def __init__(
        self, connection: sqlite3.Connection, system: str, interpreter: str, now: int, replay: Replay | None
    ) -> None:
        self._connection = connection
        self._system = system
        self._interpreter = interpreter
        self._now = now
        self._replay = replay
        self._dry = replay is not None and replay.dry_run
        self._cancelled = replay is not None and replay.state in {ReplayState.CANCELLED, ReplayState.FAILED}
        self._strands: set[Strand] = set()
        self._clocks: dict[str, int] = {}
        self.decisions: list[Decision] = []
        self.queueings: list[Queueing] = []

    def call(self, finished: FinishedCall) -> None:
        """Store one call and queue what is wished for it."""
        if not self._dry:
            self._put(finished.call)
            for linkedid in finished.call.linkedids:
                if linkedid != finished.call.linkedid:
                    self._supersede(linkedid, finished.call.linkedid)
        for wish in finished.deliveries:
            self._queue(finished.call, wish)

    def finish(self) -> None:
        """Bring the strands in order."""
        refresh(self._connection, self._strands, self._now)

    def _put(self, call: Call) -> None:
        values = {
            "linkedid": call.linkedid,
            "system": self._system,
            "revision": call.revision,
            "interpreter": self._interpreter,
            "started_at": int(call.started_at),
            "ended_at": None if call.ended_at is None else int(call.ended_at),
            "now": self._now,
            "payload": encode(call),
        }
        seq = self._connection.execute(SQL["put_call"], values).fetchone()["seq"]
        self._connection.execute(SQL["drop_aliases"], {"seq": seq})
        for linkedid in call.linkedids:
            if linkedid != call.linkedid:
                names = {"linkedid": linkedid, "system": self._system}
                for gone in self._connection.execute(SQL["drop_call"], names).fetchall():
                    self._connection.execute(SQL["drop_aliases"], {"seq": gone["seq"]})
                self._connection.execute(SQL["put_alias"], {**names, "seq": seq})

    def _supersede(self, linkedid: str, into: str) -> None:
        values = {"linkedid": linkedid, "system": self._system}
        for row in self._connection.execute(SQL["find_folded"], values).fetchall():
            was = {"delivered": "; it had been delivered", "sending": "; it was being sent"}
            was["uncertain"] = "; it may have been delivered"
            reason = f"superseded by {into}: the call was folded into it{was.get(row['state'], '')}"
            self._end(row["id"], State.SUPERSEDED, reason)
            self._strands.add(Strand(row["connector"], row["strand"]))
        self._connection.execute(SQL["supersede_keys"], values)

    def _queue(self, call: Call, wish: NewDelivery) -> None:
        decision = self._decide(call, wish)
        if self._dry:
            if not record_item(self._connection, self._replay, self._queueing(call, wish, decision)):
                decision = msgspec.structs.replace(decision, counted=False)
        else:
            self._carry_out(call, wish, decision)
            if self._replay is not None and self._replay.ids:
                record_item(self._connection, self._replay, self._queueing(call, wish, decision))
        self.decisions.append(decision)
        self.queueings.append(self._queueing(call, wish, decision))

    def _decide(self, call: Call, wish: NewDelivery) -> Decision:
        if self._cancelled and self._replay is not None:
            reason = f"replay {self._replay.id} has been {self._replay.state}"
            return Decision(part=wish.part, result=Queued.SKIPPED, reason=reason, counted=False)
        names = {"linkedid": call.linkedid, "connector": wish.connector, "system": self._system}
        rows = self._connection.execute(SQL["find_parts"], names).fetchall()
        self._rows = {row["id"]: row for row in rows}
        parts = [msgspec.convert({**dict(row), "discarded": bool(row["discarded"])}, Known) for row in rows]
        decision = decide(wish, parts, call.revision, self._replay.id if self._replay else None)
        known = decision.known
        if known is None or known.id is not None or decision.action is Action.NOTHING or self._dry:
            return decision
        key = {**names, "part": known.part, "lane": int(wish.lane), "started_at": int(call.started_at)}
        self._connection.execute(SQL["revive_key"], key)
        self._connection.execute(SQL["drop_key"], key)
        return self._decide(call, wish)

    def _queueing(self, call: Call, wish: NewDelivery, decision: Decision) -> Queueing:
        return Queueing(
            linkedid=call.linkedid,
            connector=wish.connector,
            part=decision.part,
            result=decision.result,
            reason=decision.reason,
        )

    def _carry_out(self, call: Call, wish: NewDelivery, decision: Decision) -> None:
        if decision.known is not None and decision.known.id is not None:
            row = self._rows[decision.known.id]
            self._strands.add(Strand(wish.connector, row["strand"]))
        if decision.action is Action.END and decision.known and decision.known.id and decision.state:
            self._end(decision.known.id, decision.state, decision.reason)
        elif decision.action is Action.INSERT or decision.action is Action.REQUEUE:
            self._write(call, wish, decision)
        elif decision.action is Action.RENEW and decision.known and decision.known.id:
            self._renew(call, wish, decision.known.id)
        if decision.known is not None and decision.known.id is not None:
            self._hasten(wish, decision.known.id)

    def _write(self, call: Call, wish: NewDelivery, decision: Decision) -> None:
        waits = decision.state is State.PENDING
        values = {
            "id": decision.known.id if decision.known else None,
            "linkedid": call.linkedid,
            "connector": wish.connector,
            "part": decision.part,
            "system": self._system,
            "state": decision.state,
            "turn": first_turn(wish.strand, wish.due_at, self._now) if waits else None,
            "alone": first_turn(None, wish.due_at, self._now),
            "lane": int(wish.lane),
            "strand": wish.strand,
            "started_at": int(call.started_at),
            "next_at": wish.due_at if waits else None,
            "waiting_since": self._patience_clock(wish.connector),
            "now": self._now,
            "revision": call.revision,
            "reason": decision.reason or self._reason(decision),
            "replay_id": self._replay.id if self._replay else None,
            "forced": decision.forced,
            "delivered_at": self._now if decision.state is State.DELIVERED else None,
        }
        if decision.action is Action.REQUEUE and decision.known:
            self._connection.execute(SQL["requeue_delivery"], values)
            id_, turn = decision.known.id, values["turn"]
        else:
            id_, turn = self._connection.execute(SQL["insert_delivery"], values).fetchone()
        if waits:
            payload = wish.update if decision.result is Queued.UPDATED else wish.payload
            self._connection.execute(SQL["put_payload"], {"id": id_, "payload": payload})
        if turn == BLOCKED:
            self._strands.add(Strand(wish.connector, wish.strand))

    def _patience_clock(self, connector: str) -> int:
        if connector not in self._clocks:
            self._clocks[connector] = patience_clock(self._connection, connector, self._now)
        return self._clocks[connector]

    def _reason(self, decision: Decision) -> str:
        how = "queued again" if decision.action is Action.REQUEUE else "queued"
        by = f" by replay {self._replay.id}" if self._replay else ""
        return how + by + (", though it was delivered before" if decision.forced else "")

    def _renew(self, call: Call, wish: NewDelivery, id_: int) -> None:
        values = {
            "id": id_,
            "turn": TIMED if wish.strand is None else BLOCKED,
            "strand": wish.strand,
            "started_at": int(call.started_at),
            "now": self._now,
            "revision": call.revision,
        }
        self._connection.execute(SQL["renew_delivery"], values)
        payload = wish.payload if self._rows[id_]["delivered_at"] is None else wish.update or wish.payload
        self._connection.execute(SQL["put_payload"], {"id": id_, "payload": payload})
        self._strands.add(Strand(wish.connector, wish.strand))

    def _hasten(self, wish: NewDelivery, id_: int) -> None:
        """A live call that a replay has met first, and that still waits there, goes with the live ones."""
        self._connection.execute(SQL["hasten_delivery"], {"id": id_, "lane": int(wish.lane)})

    def _end(self, id_: int, state: State, reason: str) -> None:
        delivered_at = self._now if state is State.DELIVERED else None
        values = {"id": id_, "state": state, "reason": reason, "now": self._now, "delivered_at": delivered_at}
        self._connection.execute(SQL["end_delivery"], values)


def save_calls(
    connection: sqlite3.Connection,
    system: str,
    interpreter: str,
    calls: Sequence[FinishedCall],
    now: int,
    reading: Reading | None,
    step: ReplayStep | None,
) -> Sequence[Queueing]:
    """The job behind `Store.save_calls`."""
    replay = get_replay(connection, step.replay_id) if step else None
    if step is not None and replay is None:
        raise StoreError(f"there is no replay {step.replay_id}")
    saving = Saving(connection, system, interpreter, now, replay)
    for finished in calls:
        saving.call(finished)
    saving.finish()
    if reading is not None:
        values = {"key": "reading", "value": json_text(reading)}
        connection.execute(SQL["set_meta"], values)
    if step is not None and replay is not None:
        linkedids = {linkedid for one in calls for linkedid in one.call.linkedids}
        record_step(connection, replay, step, saving.decisions, linkedids)
    return saving.queueings
