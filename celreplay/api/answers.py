"""The JSON bodies of the answers. Times are ISO-8601 UTC. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from celreplay.services import ReplayView
from celreplay.store.base import Hold, Queued, Queueing, Replay
from celreplay.times import Instant

_LISTED = tuple(Queued)


def replay_url(replay_id: int) -> str:
    """Where a replay's progress is."""
    return f"/pbx/replays/{replay_id}"


def replay_body(replay: Replay) -> dict[str, Any]:
    """A replay with its counts."""
    return {
        "replay": replay.id,
        "url": replay_url(replay.id),
        "state": replay.state.value,
        "requested_at": _iso(replay.requested_at),
        "requested_by": replay.requested_by,
        "finished_at": _iso(replay.finished_at),
        "period": _period(replay),
        "force": replay.force.value,
        "connector": replay.connector,
        "dry_run": replay.dry_run,
        "mark_delivered": replay.mark_delivered,
        "counts": _counts(replay),
        "error": replay.error or None,
    }


def view_body(view: ReplayView) -> dict[str, Any]:
    """A replay and, for named ids and dry runs, what became of each call."""
    replay = view.replay
    body = replay_body(replay)
    body |= {"rate": view.progress.rate, "eta": _iso(view.progress.ends_at)}
    body["holds"] = [hold_body(name, hold) for name, hold in view.holds.items()]
    if replay.ids:
        body |= {"ids": replay.ids, "not_found": replay.not_found, "in_progress": replay.in_progress}
    if replay.ids or replay.dry_run:
        body |= _lists(view.items)
    return body


def hold_body(connector: str, hold: Hold) -> dict[str, str | None]:
    """Why a connector is not sent to, and until when."""
    return {
        "connector": connector,
        "since": _iso(hold.since),
        "reason": hold.reason,
        "next_try_at": _iso(hold.next_canary_at),
    }


def not_found_body(view: ReplayView) -> dict[str, Any]:
    """None of the ids is known."""
    ids = view.replay.not_found
    message = "no CEL row has this id" if len(ids) == 1 else "no CEL row has any of these ids"
    return {**error_body("not_found", message, "id"), "not_found": ids}


def error_body(code: str, message: str, parameter: str | None = None, **more: object) -> dict[str, Any]:
    """The one form of every error."""
    error = {"code": code, "message": _sendable(message), "parameter": parameter and _sendable(parameter)}
    return {"error": {**error, **more}}


def _lists(items: Sequence[Queueing]) -> Mapping[str, list[dict[str, str]]]:
    """Each delivery under what became of it, with the reason where there is one."""
    lists: dict[str, list[dict[str, str]]] = {result.value: [] for result in _LISTED}
    for item in items:
        entry = {"linkedid": item.linkedid, "connector": item.connector, "part": item.part}
        if item.reason:
            entry["reason"] = item.reason
        lists[item.result.value].append(entry)
    return lists


def _counts(replay: Replay) -> dict[str, Any]:
    return {
        "found": replay.found,
        "queued": replay.queued,
        "delivered": replay.delivered,
        "dead": replay.dead,
        "waiting": replay.waiting,
        "already_delivered": replay.already_delivered,
        "already_waiting": replay.already_waiting,
        "marked_delivered": replay.marked_delivered,
        "changed": replay.changed,
        "skipped": dict(replay.skipped),
        "not_found": len(replay.not_found),
        "in_progress": len(replay.in_progress),
    }


def _period(replay: Replay) -> dict[str, str | None] | None:
    if replay.start is None:
        return None
    return {"start": _iso(replay.start), "end": _iso(replay.end)}


def _iso(instant: int | None) -> str | None:
    return None if instant is None else Instant(instant).iso()


def _sendable(text: str) -> str:
    """A lone surrogate (possible in JSON) cannot be encoded; a long name is cut."""
    return text[:500].encode("utf-8", "replace").decode()
