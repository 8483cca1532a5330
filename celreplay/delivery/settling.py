"""What becomes of a delivery after an attempt, or after asking about one. Pure."""

from collections.abc import Callable

import msgspec

from celreplay.connectors.base import Outcome, OutcomeKind, Probe
from celreplay.connectors.options import DeliveryOptions
from celreplay.delivery.retry import next_attempt_at
from celreplay.delivery.throttle import Ruling
from celreplay.store.base import Claim, Settlement, State
from celreplay.times import SECOND

ABSENT_ENOUGH = 2
"""How often a CRM must say that it has not got a call before it is sent again: it may be slow to show it."""
PARKED = "outcome unknown; look in the CRM, then retry or discard"


class Settler(msgspec.Struct, frozen=True, kw_only=True):
    """Settles the deliveries of one connector."""

    options: DeliveryOptions
    can_probe: bool
    random: Callable[[], float]

    def may_be_resolved_at(self, started_at: int) -> int:
        """When an attempt that began at `started_at` can have left its traces in the CRM."""
        return started_at + round((self.options.timeout + self.options.probe_after) * SECOND)

    def after_exchange(
        self, claim: Claim, outcome: Outcome, ruling: Ruling, *, started_at: int, now: int
    ) -> Settlement:
        """The delivery was sent, or an attempt was made to."""
        if outcome.kind in (OutcomeKind.OK, OutcomeKind.PERMANENT):
            state = State.DELIVERED if outcome.kind is OutcomeKind.OK else State.DEAD
            return _settlement(claim, outcome, state, now)
        if outcome.kind is OutcomeKind.UNCERTAIN:
            return self._uncertain(claim, outcome, ruling, started_at=started_at, now=now)
        if ruling.not_before is not None:
            return _settlement(claim, outcome, State.PENDING, now, next_at=ruling.not_before, counts=False)
        next_at = self._retry_at(claim.failures + 1, now, outcome.retry_after)
        if next_at is None:
            return _settlement(claim, outcome, State.DEAD, now, reason=f"out of attempts: {outcome.reason}")
        return _settlement(claim, outcome, State.PENDING, now, next_at=next_at)

    def _uncertain(
        self, claim: Claim, outcome: Outcome, ruling: Ruling, *, started_at: int, now: int
    ) -> Settlement:
        """It counts as an attempt only when it is resolved: perhaps it was delivered."""
        if not self.can_probe and self.options.on_uncertain == "park":
            return _settlement(claim, outcome, State.DEAD, now, reason=f"{PARKED} ({outcome.reason})")
        next_at = self.may_be_resolved_at(started_at)
        if not self.can_probe:
            again = self._retry_at(claim.failures + 1, now, outcome.retry_after)
            if again is None and ruling.not_before is None:
                reason = f"out of attempts: {PARKED} ({outcome.reason})"
                return _settlement(claim, outcome, State.DEAD, now, reason=reason)
            next_at = max(next_at, ruling.not_before or again or 0)
        return _settlement(claim, outcome, State.UNCERTAIN, now, next_at=next_at, counts=False)

    def too_early(self, claim: Claim, *, now: int) -> Settlement | None:
        """The claim put off, where its uncertain attempt may still be under way in the CRM."""
        next_at = self.may_be_resolved_at(now if claim.uncertain_since is None else claim.uncertain_since)
        if next_at <= now:
            return None
        outcome = Outcome(kind=OutcomeKind.RETRY, reason="it may have arrived: waits until that can be known")
        return _settlement(
            claim, outcome, State.UNCERTAIN, now, next_at=next_at, counts=False, absent=claim.absent_seen
        )

    def after_probe(self, claim: Claim, answer: Probe, *, held: bool, now: int) -> Settlement:
        """The CRM was asked, or cannot be. `held`: nothing counts while the connector is."""
        if answer is Probe.DONE:
            outcome = Outcome(kind=OutcomeKind.OK, reason="found in the CRM")
            return _settlement(claim, outcome, State.DELIVERED, now)
        if answer is Probe.ABSENT and claim.absent_seen + 1 < ABSENT_ENOUGH:
            outcome = Outcome(kind=OutcomeKind.RETRY, reason="not in the CRM; to be asked once more")
            next_at = now + round(max(self.options.probe_after, 1.0) * SECOND)
            seen = claim.absent_seen + 1
            return _settlement(
                claim, outcome, State.UNCERTAIN, now, next_at=next_at, counts=False, absent=seen
            )
        if answer is Probe.UNKNOWN and self.options.on_uncertain == "park":
            outcome = Outcome(kind=OutcomeKind.UNCERTAIN, reason=PARKED)
            return _settlement(claim, outcome, State.DEAD, now)
        absent = answer is Probe.ABSENT
        why = "not in the CRM: sent again" if absent else "it may have arrived: sent again as the same call"
        return self._send_again(claim, Outcome(kind=OutcomeKind.RETRY, reason=why), held=held, now=now)

    def _send_again(self, claim: Claim, outcome: Outcome, *, held: bool, now: int) -> Settlement:
        failed_at = now if claim.uncertain_since is None else claim.uncertain_since
        next_at = self._retry_at(claim.failures + 1, failed_at, None)
        if next_at is None and not held:
            outcome = msgspec.structs.replace(outcome, kind=OutcomeKind.UNCERTAIN)
            return _settlement(claim, outcome, State.DEAD, now, reason=f"out of attempts: {PARKED}")
        next_at = now if next_at is None or held else max(now, next_at)
        return _settlement(claim, outcome, State.PENDING, now, next_at=next_at, counts=not held)

    def unasked(self, claim: Claim, outcome: Outcome, ruling: Ruling, *, now: int) -> Settlement:
        """The CRM could not be asked now. It stays uncertain; the question costs no attempt."""
        kind = OutcomeKind.THROTTLE if outcome.kind is OutcomeKind.UNCERTAIN else outcome.kind
        next_at = ruling.not_before or self.may_be_resolved_at(now)
        return _settlement(
            claim,
            msgspec.structs.replace(outcome, kind=kind),
            State.UNCERTAIN,
            now,
            next_at=next_at,
            counts=False,
            absent=claim.absent_seen,
        )

    def cut_off(self, claim: Claim, *, started_at: int, now: int, reason: str) -> Settlement:
        """The exchange was ended from inside, after its request may have left."""
        outcome = Outcome(kind=OutcomeKind.UNCERTAIN, reason=reason)
        next_at = self.may_be_resolved_at(started_at)
        return _settlement(claim, outcome, State.UNCERTAIN, now, next_at=next_at, counts=False)

    def _retry_at(self, failures: int, now: int, retry_after: float | None) -> int | None:
        options = self.options
        return next_attempt_at(failures, now, options.schedule, options.jitter, retry_after, self.random)


def _settlement(
    claim: Claim,
    outcome: Outcome,
    state: State,
    now: int,
    *,
    reason: str = "",
    next_at: int | None = None,
    counts: bool = True,
    absent: int = 0,
) -> Settlement:
    return Settlement(
        delivery_id=claim.delivery_id,
        token=claim.token,
        state=state,
        reason=reason or outcome.reason,
        kind=outcome.kind,
        ended_at=now,
        next_at=next_at,
        counts=counts,
        absent_seen=absent,
        http_status=outcome.http_status,
        answer=outcome.answer,
    )
