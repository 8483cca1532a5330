"""What the log says of an attempt."""

import structlog

from celreplay.connectors.base import OutcomeKind
from celreplay.store.base import Claim, Settlement
from celreplay.times import Instant, seconds_between

_log = structlog.get_logger()


def log_attempt(claim: Claim, settlement: Settlement, started_at: Instant) -> None:
    """One attempt, or one question, in one wide event."""
    log = _log.info if settlement.kind is OutcomeKind.OK else _log.warning
    next_at = settlement.next_at
    log(
        "delivery.probe" if claim.probing else "delivery.attempt",
        **name_of(claim),
        attempt=claim.delivery.attempt,
        outcome=settlement.kind.value,
        state=settlement.state.value,
        reason=settlement.reason,
        http_status=settlement.http_status,
        seconds=seconds_between(started_at, settlement.ended_at),
        next_at=None if next_at is None else Instant(next_at).iso(),
    )


def name_of(claim: Claim) -> dict[str, str]:
    """The fields that say which delivery it is."""
    delivery = claim.delivery
    return {"connector": delivery.connector, "linkedid": delivery.linkedid, "part": delivery.part}
