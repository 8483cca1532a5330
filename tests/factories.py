"""Small makers of calls and wishes for tests."""

from collections.abc import Sequence
from typing import Any

from celreplay.calls.model import Call, Caller, Direction, Disposition, Leg, LegKind
from celreplay.store.base import FinishedCall, NewDelivery
from celreplay.times import SECOND, Instant

START = Instant(1_795_400_000 * SECOND)
"""2026-11-22T02:13:20Z: when the first call of most tests begins."""


def make_call(linkedid: str = "1795400000.1", *, at: int = START, **changes: Any) -> Call:
    """An answered incoming call of 20 seconds that begins at `at`."""
    started_at = Instant(at)
    facts: dict[str, Any] = {
        "linkedid": linkedid,
        "linkedids": [linkedid],
        "system": "pbx",
        "direction": Direction.INCOMING,
        "disposition": Disposition.ANSWERED,
        "caller": Caller(number="+12025550123", name="Outside", channel="PJSIP/trunk-00000001"),
        "dialed_number": "+12025550100",
        "external_number": "+12025550123",
        "answered_by": "1001",
        "extension": "1001",
        "trunk": "trunk",
        "started_at": started_at,
        "answered_at": Instant(started_at + 5 * SECOND),
        "ended_at": Instant(started_at + 20 * SECOND),
        "duration": 20.0,
        "wait": 5.0,
        "talk": 15.0,
        "legs": [make_leg(at=started_at)],
        "hangup_cause": 16,
        "revision": "r1",
    }
    return Call(**{**facts, **changes})


def make_leg(number: str = "1001", *, at: int = START, **changes: Any) -> Leg:
    """An extension that rang at once and answered after 5 seconds."""
    facts: dict[str, Any] = {
        "number": number,
        "channel": f"PJSIP/{number}-00000002",
        "uniqueid": "1795400000.2",
        "kind": LegKind.EXTENSION,
        "rang_at": Instant(at),
        "answered_at": Instant(at + 5 * SECOND),
        "ended_at": Instant(at + 20 * SECOND),
        "talk": 15.0,
        "disposition": Disposition.ANSWERED,
    }
    return Leg(**{**facts, **changes})


def make_finished(
    linkedid: str = "1795400000.1",
    *,
    at: int = START,
    call: Call | None = None,
    connectors: Sequence[str] = ("crm",),
    **wish: Any,
) -> FinishedCall:
    """A call with one wish for each connector; `wish` goes into `NewDelivery`."""
    call = call or make_call(linkedid, at=at)
    facts: dict[str, Any] = {"strand": None, "payload": f"payload of {linkedid}".encode(), **wish}
    return FinishedCall(call=call, deliveries=[NewDelivery(connector=name, **facts) for name in connectors])
