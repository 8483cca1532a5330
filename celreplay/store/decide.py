"""What queueing comes to, from the wish and what is known: pure, the same for every store."""

from collections.abc import Sequence
from enum import Enum, auto

import msgspec

from celreplay.store.base import Force, NewDelivery, Queued, State

WAITING = frozenset({State.PENDING, State.SENDING, State.UNCERTAIN})
_ELSEWHERE = "marked as delivered elsewhere"


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that exists already, as far as the decision goes by it."""

    id: int | None
    """None: it ended so long ago that only its key is kept."""
    part: str
    state: State
    attempts: int
    revision: str
    reason: str
    replay_id: int | None
    discarded: bool = False
    """A person took it off the list when it was dead."""
    delivered_at: int | None = None
    """When it was first delivered, whatever became of it since."""


class Action(Enum):
    """What the store does to the delivery."""

    NOTHING = auto()
    INSERT = auto()
    REQUEUE = auto()
    """An ended one starts anew."""
    RENEW = auto()
    """A new payload for one that was never tried."""
    END = auto()
    """An ended one is recorded as skipped or delivered."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a wish. `counted` is False where this replay has had the same call already."""

    part: str
    result: Queued
    action: Action = Action.NOTHING
    state: State | None = None
    """The state to be written."""
    reason: str = ""
    count_as: str = ""
    """A reason without names, for a replay's counts of what was skipped."""
    known: Known | None = None
    forced: bool = False
    counted: bool = True


def decide(wish: NewDelivery, parts: Sequence[Known], revision: str, replay_id: int | None) -> Decision:
    """Decide by identity. `parts`: what is known of this call for this connector, every part."""
    known = next((one for one in parts if one.part == wish.part), None)
    if known is None:
        return _first_time(wish)
    if wish.force is Force.NEW and not wish.skip_reason and not wish.mark_delivered:
        known = _newest_copy(wish.part, parts)
        if known.state in {State.DELIVERED, State.SUPERSEDED} and not _had(known, replay_id):
            part = f"{wish.part}:{_copies(wish.part, parts) + 1}"
            return Decision(part=part, result=Queued.QUEUED, action=Action.INSERT, state=State.PENDING)
    decision = _again(wish, known, revision, replay_id)
    return msgspec.structs.replace(decision, known=known, counted=not _had(known, replay_id))


def _first_time(wish: NewDelivery) -> Decision:
    if wish.skip_reason:
        return _insert(wish, Queued.SKIPPED, State.SKIPPED, wish.skip_reason)
    if wish.mark_delivered:
        return _insert(wish, Queued.MARKED, State.DELIVERED, _ELSEWHERE)
    return _insert(wish, Queued.QUEUED, State.PENDING, "")


def _insert(wish: NewDelivery, result: Queued, state: State, reason: str) -> Decision:
    return Decision(
        part=wish.part, result=result, action=Action.INSERT, state=state, reason=reason, count_as=reason
    )


def _again(wish: NewDelivery, known: Known, revision: str, replay_id: int | None) -> Decision:
    if known.state in WAITING:
        return _waiting(wish, known, revision)
    if known.state is State.SUPERSEDED:
        return _leave(known, Queued.SKIPPED, known.reason, "its call was folded into another one")
    if known.state is State.DELIVERED or known.delivered_at is not None:  # a forced one may die after that
        return _delivered(wish, known, revision, replay_id)
    return _not_delivered(wish, known, replay_id)


def _waiting(wish: NewDelivery, known: Known, revision: str) -> Decision:
    """One that has been tried keeps its bytes, unless updates are wished and no attempt of it is in doubt."""
    if revision == known.revision or not wish.payload:
        return _leave(known, Queued.ALREADY_WAITING)
    if known.state is State.PENDING and (wish.update or not known.attempts):
        return _leave(known, Queued.ALREADY_WAITING, action=Action.RENEW)
    reason = "it waits as it was; the call has changed since: ask for it again once it is delivered"
    return _leave(known, Queued.CHANGED, reason)


def _not_delivered(wish: NewDelivery, known: Known, replay_id: int | None) -> Decision:
    """Skipped or dead until now."""
    if known.discarded and wish.force is Force.NO and not wish.mark_delivered:
        count_as = "discarded: sent again when asked for by id or with force=1"
        return _leave(known, Queued.SKIPPED, known.reason, count_as)
    if wish.skip_reason:
        action = Action.END if known.state is State.SKIPPED else Action.NOTHING
        return _leave(known, Queued.SKIPPED, wish.skip_reason, action=action, state=State.SKIPPED)
    if wish.mark_delivered:
        return _leave(known, Queued.MARKED, _ELSEWHERE, action=Action.END, state=State.DELIVERED)
    if _had(known, replay_id):
        return _leave(known, Queued.SKIPPED, known.reason)
    if known.state is State.DEAD and not wish.requeue_dead and wish.force is Force.NO:
        reason = f"dead: {known.reason}"
        return _leave(known, Queued.SKIPPED, reason, "dead: sent again when asked for by id or with force=1")
    return _requeue(known, forced=False)


def _delivered(wish: NewDelivery, known: Known, revision: str, replay_id: int | None) -> Decision:
    if wish.force is not Force.NO and not wish.mark_delivered and not _had(known, replay_id):
        if wish.skip_reason:
            return _leave(known, Queued.SKIPPED, wish.skip_reason)
        return _requeue(known, forced=True)
    if revision != known.revision:
        if wish.update and not wish.skip_reason and not wish.mark_delivered and not _had(known, replay_id):
            reason = "changed since it was delivered: sent again as an update"
            return msgspec.structs.replace(_requeue(known, forced=True), result=Queued.UPDATED, reason=reason)
        reason = "delivered before; the call has changed since: force=1 sends it again"
        return _leave(known, Queued.CHANGED, reason)
    return _leave(known, Queued.ALREADY_DELIVERED)


def _leave(
    known: Known,
    result: Queued,
    reason: str = "",
    count_as: str = "",
    action: Action = Action.NOTHING,
    state: State | None = None,
) -> Decision:
    return Decision(
        part=known.part, result=result, action=action, reason=reason, count_as=count_as or reason, state=state
    )


def _requeue(known: Known, *, forced: bool) -> Decision:
    return Decision(
        part=known.part, result=Queued.QUEUED, action=Action.REQUEUE, state=State.PENDING, forced=forced
    )


def _had(known: Known, replay_id: int | None) -> bool:
    """A replay meets a call again in every page that holds a row of it, and sends it once."""
    return replay_id is not None and known.replay_id == replay_id


def _newest_copy(part: str, parts: Sequence[Known]) -> Known:
    return max(parts, key=lambda one: _copy_number(part, one.part))


def _copies(part: str, parts: Sequence[Known]) -> int:
    return max(_copy_number(part, one.part) for one in parts)


def _copy_number(part: str, other: str) -> int:
    """1 for the part itself, N for `part:N`, 0 for another part."""
    if other == part:
        return 1
    rest = other.removeprefix(f"{part}:")
    return int(rest) if rest != other and rest.isdigit() else 0
