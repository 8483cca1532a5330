"""The arithmetic of holds."""

import pytest

from celreplay.connectors.base import Outcome, OutcomeKind
from celreplay.delivery.throttle import HEAD_START, Ruling, Standing, at_start, judge, pause
from celreplay.store.base import Hold
from celreplay.times import SECOND

NOW = 1_795_400_000 * SECOND
OK = Outcome(kind=OutcomeKind.OK, reason="taken", http_status=200)
REFUSED = Outcome(kind=OutcomeKind.PERMANENT, reason="answered 422", http_status=422)
FAILED = Outcome(kind=OutcomeKind.RETRY, reason="answered 500", http_status=500)
LOST = Outcome(kind=OutcomeKind.UNCERTAIN, reason="no answer")
BUSY = Outcome(kind=OutcomeKind.THROTTLE, reason="answered 503", http_status=503)
AUTH = Outcome(kind=OutcomeKind.AUTH, reason="answered 401", http_status=401)
CONFIG = Outcome(kind=OutcomeKind.CONFIG, reason="answered 404", http_status=404)


def after(standing: Standing, *outcomes: tuple[int, Outcome], canary: bool = False, now: int = NOW) -> Ruling:
    """The last ruling of a row of (delivery, outcome)."""
    ruling = Ruling(standing=standing, counts=True)
    for delivery_id, outcome in outcomes:
        ruling = judge(ruling.standing, delivery_id, outcome, canary=canary, now=now)
    return ruling


def held(outcome: Outcome = BUSY, delivery_id: int = 1) -> Standing:
    return after(Standing(), (delivery_id, outcome)).standing


@pytest.mark.parametrize("outcome", [BUSY, AUTH, CONFIG], ids=lambda outcome: outcome.kind.value)
def test_what_is_not_about_the_call_holds_the_connector(outcome: Outcome) -> None:
    """Throttling, credentials, settings: held at once, the call's attempt does not count."""
    ruling = after(Standing(), (1, outcome))
    assert not ruling.counts
    assert ruling.standing.hold == Hold(
        kind=outcome.kind, reason=outcome.reason, since=NOW, next_canary_at=NOW + 30 * SECOND
    )
    assert ruling.not_before == NOW + round((30 + HEAD_START) * SECOND)


@pytest.mark.parametrize("outcome", [OK, REFUSED, FAILED, LOST], ids=lambda outcome: outcome.kind.value)
def test_what_is_about_the_call_holds_nobody(outcome: Outcome) -> None:
    """One call's success, refusal or failure is its own."""
    ruling = after(Standing(), (1, outcome))
    assert (ruling.counts, ruling.standing.hold, ruling.not_before) == (True, None, None)


def test_the_pause_between_canaries_doubles_up_to_five_minutes() -> None:
    """30 s, then twice as long after each canary that failed, 5 min at most."""
    assert [pause(number) for number in (0, 1, 2, 3, 4, 50)] == [30, 60, 120, 240, 300, 300]
    standing = held()
    for seconds in (60, 120, 240, 300, 300):
        ruling = after(standing, (1, BUSY), canary=True)
        standing = ruling.standing
        assert standing.hold is not None
        assert standing.hold.next_canary_at == NOW + seconds * SECOND
        assert (standing.hold.since, ruling.counts) == (NOW, False)


def test_retry_after_puts_the_canary_off() -> None:
    """The CRM's wish counts when it is longer than the pause."""
    asked = Outcome(kind=OutcomeKind.THROTTLE, reason="answered 429", http_status=429, retry_after=1000.0)
    hold = held(asked).hold
    assert hold is not None
    assert hold.next_canary_at == NOW + 1000 * SECOND
    shorter = Outcome(kind=OutcomeKind.THROTTLE, reason="answered 429", http_status=429, retry_after=1.0)
    hold = held(shorter).hold
    assert hold is not None
    assert hold.next_canary_at == NOW + 30 * SECOND


@pytest.mark.parametrize("outcome", [OK, REFUSED, FAILED], ids=lambda outcome: outcome.kind.value)
def test_a_canary_answered_about_its_call_ends_the_hold(outcome: Outcome) -> None:
    """The first answer about one call shows that the CRM works again; it counts for that call."""
    ruling = after(held(), (2, outcome), canary=True)
    assert (ruling.standing.hold, ruling.counts) == (None, True)


def test_what_was_under_way_before_a_hold_does_not_end_it() -> None:
    """Only a canary tells about the time after; a failure under way does not lengthen the pause, and does not
    count."""
    standing = held()
    assert after(standing, (2, OK)).standing.hold == standing.hold
    assert after(standing, (2, BUSY)).standing.hold == standing.hold
    failed = after(standing, (2, FAILED))
    assert (failed.standing.hold, failed.counts) == (standing.hold, False)


def test_five_different_calls_in_a_row_hold_the_connector() -> None:
    """Four do not, the fifth does; the same call again is no further one; a success between begins anew."""
    row = [(number, FAILED) for number in range(1, 5)]
    assert after(Standing(), *row).standing.hold is None
    assert after(Standing(), *row, (4, FAILED), (1, LOST)).standing.hold is None
    assert after(Standing(), *row, (9, OK), (5, FAILED)).standing.hold is None
    ruling = after(Standing(), *row, (5, FAILED))
    assert ruling.standing.hold is not None
    assert ruling.standing.hold.reason == "5 different calls failed in a row, the last: answered 500"
    assert not ruling.counts


def test_a_canary_that_fails_like_the_five_does_not_end_their_hold() -> None:
    """Else a CRM that answers 500 to everything would burn the attempts of all calls."""
    standing = after(Standing(), *((number, FAILED) for number in range(5))).standing
    ruling = after(standing, (6, FAILED), canary=True)
    assert (ruling.counts, ruling.standing.hold is not None) == (False, True)
    assert after(standing, (6, OK), canary=True).standing.hold is None


def test_a_call_that_keeps_beginning_holds_is_to_blame_itself() -> None:
    """Held twice by one call and released by others: the third time it is a failure of that call."""
    standing = Standing()
    for other in (2, 3):
        standing = after(standing, (1, BUSY)).standing
        standing = after(standing, (other, OK), canary=True).standing
    ruling = after(standing, (1, BUSY))
    assert (ruling.counts, ruling.standing.hold) == (True, None)
    assert after(standing, (4, BUSY)).standing.hold is not None


def test_a_call_that_ends_its_own_hold_is_not_to_blame() -> None:
    """The CRM was away, and came back."""
    standing = Standing()
    for _ in range(3):
        standing = after(standing, (1, BUSY)).standing
        standing = after(standing, (1, OK), canary=True).standing
    assert after(standing, (1, BUSY)).standing.hold is not None


@pytest.mark.parametrize("kind", [OutcomeKind.AUTH, OutcomeKind.CONFIG, OutcomeKind.THROTTLE])
def test_a_restart_tries_at_once(kind: OutcomeKind) -> None:
    """Somebody who mends a password, an address or the CRM restarts the daemon: one canary is no burden."""
    hold = Hold(kind=kind, reason="", since=NOW - SECOND, next_canary_at=NOW + 200 * SECOND, canaries=3)
    assert at_start(hold, NOW).next_canary_at == NOW


def test_a_delivery_whose_connection_was_refused_is_due_as_soon_as_the_hold_ends() -> None:
    """It met the hold by chance; one that was answered with 503 lets others go first."""
    refused = judge(
        Standing(), 1, Outcome(kind=OutcomeKind.THROTTLE, reason="refused"), canary=False, now=NOW
    )
    answered = judge(Standing(), 1, BUSY, canary=False, now=NOW)
    assert refused.not_before == NOW
    assert answered.not_before == NOW + 35 * SECOND
