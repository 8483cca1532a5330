"""Which outcomes hold a connector, and when the next canary goes out. Pure.

A held connector gets one delivery now and then, the canary; the others wait and lose no attempt. Pacing
(requests per second) has its place here, beside the holds, where a CRM needs it.
"""

from collections.abc import Mapping

import msgspec

from celreplay.connectors.base import Outcome, OutcomeKind
from celreplay.store.base import Hold
from celreplay.times import SECOND

FIRST_PAUSE = 30.0
LONGEST_PAUSE = 300.0
"""Seconds between two canaries: doubled after each, up to this."""
FAILURES_IN_A_ROW = 5
"""Of different calls, with none delivered between them: then it is not the calls."""
HEAD_START = 5.0
"""Seconds that other deliveries have, when a canary is due, before the one that met the hold: it may be that
one that the CRM cannot stand."""
BLAME_LIMIT = 2
"""A delivery that began so many holds, each ended by another delivery, has failed by itself the next time."""

_HOLDING = frozenset({OutcomeKind.THROTTLE, OutcomeKind.AUTH, OutcomeKind.CONFIG})
_ENDING = frozenset({OutcomeKind.OK, OutcomeKind.PERMANENT})


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How one connector stands."""

    hold: Hold | None = None
    """Durable; the rest is remembered only while the process lives."""
    failing: tuple[int, ...] = ()
    """delivery_ids of the different calls that failed since the last good one."""
    held_by: int | None = None
    """The delivery that began the hold."""
    blame: Mapping[int, int] = {}
    """delivery_id → holds that it began and another one ended."""


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """What one outcome means."""

    standing: Standing
    counts: bool
    """The outcome is about this call, and uses up one of its attempts."""
    not_before: int | None = None
    """Held: this delivery is due again then."""


def judge(standing: Standing, delivery_id: int, outcome: Outcome, *, canary: bool, now: int) -> Ruling:
    """The standing after an outcome. `canary`: it was sent while the connector was held."""
    kind, hold = outcome.kind, standing.hold
    if kind in _ENDING:
        return Ruling(standing=_released(standing, delivery_id, outcome, canary=canary), counts=True)
    if kind in _HOLDING:
        if standing.blame.get(delivery_id, 0) >= BLAME_LIMIT and outcome.http_status is not None:
            return _failed(standing, delivery_id, outcome, canary=canary, now=now)
        return _held(standing, delivery_id, outcome, outcome.reason, canary=canary, now=now)
    answered = kind is OutcomeKind.RETRY and outcome.http_status is not None
    if hold is not None and canary and answered and hold.kind in _HOLDING:
        standing = _released(standing, delivery_id, outcome, canary=True)
    return _failed(standing, delivery_id, outcome, canary=canary, now=now)


def pause(canaries: int) -> float:
    """Seconds until the next canary after `canaries` failed ones: 30, 60, 120, 240, 300, 300, …"""
    return min(FIRST_PAUSE * 2.0 ** min(canaries, 10), LONGEST_PAUSE)


def at_start(hold: Hold, now: int) -> Hold:
    """A hold as it is found at start: who starts the daemon may just have repaired what was wrong."""
    return msgspec.structs.replace(hold, next_canary_at=int(min(now, hold.next_canary_at)))


def _failed(standing: Standing, delivery_id: int, outcome: Outcome, *, canary: bool, now: int) -> Ruling:
    """A failure that seems to be about the call, unless different calls have it one after the other."""
    if standing.hold is not None and outcome.kind not in _HOLDING:
        return _held(standing, delivery_id, outcome, outcome.reason, canary=canary, now=now)
    failing = tuple(dict.fromkeys((*standing.failing, delivery_id)))
    standing = msgspec.structs.replace(standing, failing=failing)
    if len(failing) < FAILURES_IN_A_ROW or standing.hold is not None:
        return Ruling(standing=standing, counts=True)
    reason = f"{len(failing)} different calls failed in a row, the last: {outcome.reason}"
    return _held(standing, delivery_id, outcome, reason, canary=canary, now=now)


def _held(
    standing: Standing, delivery_id: int, outcome: Outcome, reason: str, *, canary: bool, now: int
) -> Ruling:
    """Begin a hold, or lengthen it."""
    old = standing.hold
    asked = now + round((outcome.retry_after or 0.0) * SECOND)
    if old is not None and not canary:  # it was under way when the hold began
        hold = msgspec.structs.replace(old, next_canary_at=max(old.next_canary_at, asked))
    else:
        canaries = 0 if old is None else old.canaries + 1
        hold = Hold(
            kind=outcome.kind,
            reason=reason,
            since=int(now) if old is None else old.since,
            next_canary_at=max(now + round(pause(canaries) * SECOND), asked),
            canaries=canaries,
        )
    held_by = delivery_id if old is None else standing.held_by
    answered = outcome.http_status is not None  # a refused connection is no delivery's fault
    return Ruling(
        standing=msgspec.structs.replace(standing, hold=hold, held_by=held_by, failing=()),
        counts=False,
        not_before=hold.next_canary_at + round(HEAD_START * SECOND) if answered else int(now),
    )


def _released(standing: Standing, delivery_id: int, outcome: Outcome, *, canary: bool) -> Standing:
    """The CRM works: the row of failures is over; a hold too, unless the delivery was under way before it."""
    blame = dict(standing.blame)
    if outcome.kind in _ENDING:
        blame.pop(delivery_id, None)
    if standing.hold is None or not canary:
        return msgspec.structs.replace(standing, failing=(), blame=blame)
    if standing.held_by not in (None, delivery_id):
        blame[standing.held_by] = blame.get(standing.held_by, 0) + 1
    return Standing(blame=blame)
