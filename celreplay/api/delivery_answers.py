"""The JSON bodies about deliveries. Times are ISO-8601 UTC. Pure."""

from typing import Any

from celreplay.api.answers import hold_body
from celreplay.choices import Changed
from celreplay.deliveries import DeliveryView, Listed
from celreplay.store.records import AttemptRecord
from celreplay.times import Instant, seconds_between


def list_body(page: Listed) -> dict[str, Any]:
    """A page, and where the next one begins."""
    return {
        "deliveries": [delivery_body(view) for view in page.deliveries],
        "cursor": None if page.after is None else str(page.after),
    }


def delivery_body(view: DeliveryView) -> dict[str, Any]:
    """A delivery without its journal."""
    record = view.record
    id_ = record.delivery_id or None  # 0: so old that only its key is kept
    return {
        "id": id_,
        "url": None if id_ is None else f"/pbx/deliveries/{id_}",
        "connector": record.connector,
        "linkedid": record.linkedid,
        "part": record.part,
        "number": record.strand,
        "call_started_at": _iso(record.started_at),
        "state": record.state.value,
        "reason": record.reason,
        "hold": None if view.hold is None else hold_body(record.connector, view.hold),
        "lane": record.lane.name.lower(),
        "attempts": record.attempts,
        "next_at": _iso(record.next_at),
        "updated_at": _iso(record.updated_at),
        "delivered_at": _iso(record.delivered_at),
        "replay": record.replay_id,
    }


def journal_body(view: DeliveryView) -> dict[str, Any]:
    """A delivery with all of its attempts."""
    return {**delivery_body(view), "journal": [_attempt(attempt) for attempt in view.attempts]}


def changed_body(changed: Changed, what: str) -> dict[str, Any]:
    """How many, and which ones were left as they were."""
    left = [{"id": id_, "reason": why} for id_, why in changed.left.items()]
    return {what: changed.count, "left": left, "resumed": changed.resumed}


def _attempt(attempt: AttemptRecord) -> dict[str, Any]:
    ended = attempt.ended_at
    return {
        "number": attempt.number,
        "started_at": _iso(attempt.started_at),
        "seconds": None if ended is None else seconds_between(attempt.started_at, ended),
        "outcome": None if attempt.kind is None else attempt.kind.value,
        "http_status": attempt.http_status,
        "reason": attempt.reason,
        "answer": attempt.answer.decode("utf-8", "replace"),
    }


def _iso(instant: int | None) -> str | None:
    return None if instant is None else Instant(instant).iso()
