"""The contract of the store; every store must pass it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from factories import START, make_call, make_finished

from celreplay.connectors.base import OutcomeKind
from celreplay.sources.base import Position
from celreplay.store.base import (
    Claim,
    FinishedCall,
    Force,
    Hold,
    Lane,
    Queued,
    Reading,
    Replay,
    ReplayState,
    ReplayStep,
    Settlement,
    State,
    Store,
)
from celreplay.store.sqlite import SqliteStore
from celreplay.times import SECOND

NOW = START + 3600 * SECOND
PATIENCE = 900.0
STORES: dict[str, type[Store]] = {"sqlite": SqliteStore}
"""The type checker sees here that each keeps to the Protocol."""


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """An empty store; at the end its inner counts must be right."""
    assert request.param == "sqlite"
    opened = SqliteStore.open(tmp_path / "store.db", system="pbx")
    yield opened
    assert await opened.check() == []
    await opened.aclose()


def settled(claim: Claim, state: State = State.DELIVERED, **changes: Any) -> Settlement:
    kinds = {
        State.DELIVERED: OutcomeKind.OK,
        State.DEAD: OutcomeKind.PERMANENT,
        State.PENDING: OutcomeKind.RETRY,
    }
    facts: dict[str, Any] = {
        "delivery_id": claim.delivery_id,
        "token": claim.token,
        "state": state,
        "reason": f"made {state}",
        "kind": kinds.get(state, OutcomeKind.UNCERTAIN),
        "ended_at": NOW + SECOND,
    }
    return Settlement(**{**facts, **changes})


async def claim(
    store: SqliteStore, limit: int = 100, *, now: int = NOW, patience: float = PATIENCE
) -> Sequence[Claim]:
    return await store.claim("crm", limit, now=now, order_patience=patience)


async def claimed(store: SqliteStore, **when: Any) -> list[str]:
    return [one.delivery.linkedid for one in await claim(store, **when)]


async def end_all(store: SqliteStore, state: State = State.DELIVERED, **changes: Any) -> list[bool]:
    found = await claim(store, **({"now": changes["ended_at"]} if "ended_at" in changes else {}))
    return list(await store.settle([settled(one, state, **changes) for one in found]))


async def save(store: SqliteStore, *linkedids: str, at: int = START, **wish: Any) -> list[Queued]:
    step = wish.pop("step", None)
    calls = [make_finished(one, at=at + n * SECOND, **wish) for n, one in enumerate(linkedids)]
    return [one.result for one in await store.save_calls(calls, now=NOW, step=step)]


async def state_of(store: SqliteStore, linkedid: str, part: str = "call") -> State:
    return next(one.state for one in await store.deliveries(linkedid=linkedid) if one.part == part)


# calls and the reading position


async def test_a_stored_call_is_read_back_unchanged(store: SqliteStore) -> None:
    """What `call` gives is the Call that was saved, and None for a linkedid never seen."""
    call = make_call("a", warnings=["odd"])
    await store.save_calls([make_finished(call=call)], now=NOW)
    assert await store.call("a") == call
    assert await store.call("b") is None


async def test_a_call_is_found_by_each_of_its_linkedids(store: SqliteStore) -> None:
    """Linkedids folded into a call lead to it, also when one had been a call of its own."""
    await save(store, "b")
    merged = make_call("a", linkedids=["a", "b", "c"])
    await store.save_calls([make_finished(call=merged)], now=NOW)
    assert [await store.call(one) for one in "abc"] == [merged] * 3


async def test_a_call_that_is_no_longer_folded_stands_by_itself(store: SqliteStore) -> None:
    """Linkedids that a new interpretation takes out of a call do not lead to it any more."""
    await store.save_calls([make_finished(call=make_call("a", linkedids=["a", "b"]))], now=NOW)
    await store.save_calls([make_finished(call=make_call("a"))], now=NOW)
    assert await store.call("b") is None


async def test_the_reading_position_comes_back(store: SqliteStore) -> None:
    """Position, open keys and the begin of live reading are stored with the calls; None before."""
    assert await store.reading() is None
    reading = Reading(
        position=Position(7, 8), open_keys=frozenset(f"{n}.{n}" for n in range(3000)), live_since=NOW
    )
    await store.save_calls([make_finished("a")], now=NOW, reading=reading)
    await store.save_calls([make_finished("b")], now=NOW)
    assert await store.reading() == reading


async def test_saving_is_all_or_nothing(store: SqliteStore) -> None:
    """A save that fails leaves no call, no delivery and no position, and the store goes on."""
    reading = Reading(position=Position(1, 1), live_since=NOW)
    with pytest.raises(Exception, match="no replay 99"):
        await store.save_calls([make_finished("a")], now=NOW, reading=reading, step=ReplayStep(replay_id=99))
    broken = make_finished("b", payload="no bytes but an object", due_at=object())
    with pytest.raises(Exception, match=r"."):
        await store.save_calls([make_finished("a"), broken], now=NOW, reading=reading)
    assert await store.call("a") is None
    assert await store.reading() is None
    assert await store.counts() == {}
    assert await save(store, "a") == [Queued.QUEUED]


# queueing


async def test_a_delivery_is_queued_once_by_its_identity(store: SqliteStore) -> None:
    """(system, connector, linkedid, part) decides: waiting and delivered ones are not queued twice."""
    assert await save(store, "a", connectors=("crm", "other")) == [Queued.QUEUED] * 2
    assert await save(store, "a") == [Queued.ALREADY_WAITING]
    assert await save(store, "a", part="recording:1") == [Queued.QUEUED]
    await end_all(store)
    assert await save(store, "a") == [Queued.ALREADY_DELIVERED]
    assert await store.counts() == {"crm": {State.DELIVERED: 2}, "other": {State.PENDING: 1}}


@pytest.mark.parametrize("state", [State.SENDING, State.UNCERTAIN])
@pytest.mark.parametrize("force", list(Force))
async def test_what_may_be_on_its_way_is_not_queued_again(
    store: SqliteStore, state: State, force: Force
) -> None:
    """sending and uncertain count as waiting, whatever force says."""
    await save(store, "a")
    (one,) = await claim(store)
    if state is State.UNCERTAIN:
        await store.settle([settled(one, state)])
    assert await save(store, "a", force=force, requeue_dead=True) == [Queued.ALREADY_WAITING]
    assert await state_of(store, "a") is state


async def test_a_changed_call_renews_a_payload_that_was_never_tried(store: SqliteStore) -> None:
    """Another revision before the first attempt: the new payload is sent; after it: the old one."""
    await save(store, "a", payload=b"old")
    changed = make_finished(call=make_call("a", revision="r2"), payload=b"new")
    assert [one.result for one in await store.save_calls([changed], now=NOW)] == [Queued.ALREADY_WAITING]
    (one,) = await claim(store)
    assert one.delivery.payload == b"new"
    await store.settle([settled(one, State.PENDING)])
    again = make_finished(call=make_call("a", revision="r3"), payload=b"newest")
    await store.save_calls([again], now=NOW)
    (one,) = await claim(store, now=NOW + 2 * SECOND)
    assert one.delivery.payload == b"new"


async def test_a_changed_call_that_was_delivered_is_left_and_told(store: SqliteStore) -> None:
    """CHANGED: delivered before, with another revision."""
    await save(store, "a")
    await end_all(store)
    changed = make_finished(call=make_call("a", revision="r2"))
    (queueing,) = await store.save_calls([changed], now=NOW)
    assert queueing.result is Queued.CHANGED
    assert await state_of(store, "a") is State.DELIVERED


def changed_call(revision: str) -> FinishedCall:
    """The call "a" with other facts, for a connector that wants updates."""
    return make_finished(call=make_call("a", revision=revision), payload=b"whole", update=b"update")


async def test_a_changed_call_that_was_delivered_is_sent_as_an_update_if_wished(store: SqliteStore) -> None:
    """UPDATED: queued again under the same identity, with the bytes of an update; once for each change."""
    await save(store, "a")
    await end_all(store)
    (queueing,) = await store.save_calls([changed_call("r2")], now=NOW)
    assert queueing.result is Queued.UPDATED
    assert "changed since it was delivered" in queueing.reason
    (one,) = await claim(store, now=NOW + SECOND)
    assert (one.delivery.part, one.delivery.payload, one.delivery.forced) == ("call", b"update", True)
    await store.settle([settled(one, State.DELIVERED)])
    (queueing,) = await store.save_calls([changed_call("r2")], now=NOW)
    assert queueing.result is Queued.ALREADY_DELIVERED


async def test_an_update_that_waits_takes_over_the_next_change(store: SqliteStore) -> None:
    """Two changes before the CRM could be told of the first: it gets the second, once."""
    await save(store, "a")
    await end_all(store)
    await store.save_calls([changed_call("r2")], now=NOW)
    newer = make_finished(call=make_call("a", revision="r3"), payload=b"whole", update=b"newest")
    (queueing,) = await store.save_calls([newer], now=NOW)
    assert queueing.result is Queued.ALREADY_WAITING
    (one,) = await claim(store, now=NOW + SECOND)
    assert one.delivery.payload == b"newest"


async def test_a_call_that_changes_between_attempts_keeps_its_bytes_unless_updates_are_wished(
    store: SqliteStore,
) -> None:
    """Refused, and to be tried again: the bytes stay, the change is told; with updates it is sent as it is now."""
    await save(store, "a")
    (one,) = await claim(store, now=NOW)
    await store.settle([settled(one, State.PENDING, next_at=NOW)])
    (queueing,) = await store.save_calls(
        [make_finished(call=make_call("a", revision="r2"), payload=b"new")], now=NOW
    )
    assert queueing.result is Queued.CHANGED
    (one,) = await claim(store, now=NOW + SECOND)
    assert one.delivery.payload not in (b"new", b"whole")
    (queueing,) = await store.save_calls([changed_call("r3")], now=NOW)
    assert queueing.result is Queued.CHANGED, "it is being sent"
    await store.settle([settled(one, State.PENDING, next_at=NOW)])
    (queueing,) = await store.save_calls([changed_call("r3")], now=NOW)
    assert queueing.result is Queued.ALREADY_WAITING
    (one,) = await claim(store, now=NOW + 2 * SECOND)
    assert (one.delivery.payload, one.delivery.forced) == (b"whole", False)


async def test_force_sends_again_under_the_same_identity(store: SqliteStore) -> None:
    """force=1: pending again, marked as forced, with its journal kept and its failures forgotten."""
    await save(store, "a")
    await end_all(store)
    assert await save(store, "a", force=Force.YES, payload=b"again") == [Queued.QUEUED]
    (one,) = await claim(store)
    assert (one.delivery.forced, one.delivery.part, one.delivery.attempt) == (True, "call", 2)
    assert (one.delivery.payload, one.failures, one.token) == (b"again", 0, 2)
    assert [attempt.number for attempt in await store.attempts(one.delivery_id)] == [1, 2]


async def test_force_new_makes_a_further_record(store: SqliteStore) -> None:
    """force=new: `call:2`, then `call:3`; while one of them waits, nothing new."""
    await save(store, "a")
    for part in ("call:2", "call:3"):
        await end_all(store)
        assert await save(store, "a", force=Force.NEW) == [Queued.QUEUED]
        assert await state_of(store, "a", part) is State.PENDING
        assert await save(store, "a", force=Force.NEW) == [Queued.ALREADY_WAITING]


async def test_force_new_of_a_call_never_sent_is_its_first_record(store: SqliteStore) -> None:
    """There is no second without a first."""
    assert await save(store, "a", force=Force.NEW) == [Queued.QUEUED]
    assert await state_of(store, "a") is State.PENDING


async def test_dead_ones_start_anew_only_when_asked_for(store: SqliteStore) -> None:
    """dead stays dead for the tail; requeue_dead or force begin with no failures."""
    await save(store, "a")
    await end_all(store, State.PENDING)
    await end_all(store, State.DEAD, ended_at=NOW + 5 * SECOND)
    assert await save(store, "a") == [Queued.SKIPPED]
    assert await state_of(store, "a") is State.DEAD
    assert await save(store, "a", requeue_dead=True) == [Queued.QUEUED]
    (one,) = await claim(store)
    assert (one.failures, one.delivery.forced, one.delivery.attempt) == (0, False, 3)
    await store.settle([settled(one, State.DEAD)])
    assert await save(store, "a", force=Force.YES) == [Queued.QUEUED]


async def test_a_forced_one_that_died_counts_as_delivered(store: SqliteStore) -> None:
    """It was delivered before it was forced: a period does not send it again."""
    await save(store, "a")
    await end_all(store)
    await save(store, "a", force=Force.YES)
    await end_all(store, State.DEAD)
    assert await save(store, "a", requeue_dead=True) == [Queued.ALREADY_DELIVERED]


async def test_a_skipped_one_is_recorded_and_may_be_allowed_later(store: SqliteStore) -> None:
    """skip_reason: recorded as skipped, nothing to send; without it later: queued."""
    assert await save(store, "a", skip_reason="internal call") == [Queued.SKIPPED]
    (record,) = await store.deliveries(linkedid="a")
    assert (record.state, record.reason, record.next_at) == (State.SKIPPED, "internal call", None)
    assert await claim(store) == []
    assert await save(store, "a", skip_reason="too short") == [Queued.SKIPPED]
    assert (await store.deliveries(linkedid="a"))[0].reason == "too short"
    assert await save(store, "a") == [Queued.QUEUED]
    assert await claimed(store) == ["a"]


async def test_a_rule_takes_nothing_back(store: SqliteStore) -> None:
    """A skip of what waits or was delivered changes nothing."""
    await save(store, "a")
    assert await save(store, "a", skip_reason="no") == [Queued.ALREADY_WAITING]
    await end_all(store)
    assert await save(store, "a", skip_reason="no") == [Queued.ALREADY_DELIVERED]


async def test_marked_ones_are_delivered_and_never_sent(store: SqliteStore) -> None:
    """mark_delivered: recorded as delivered elsewhere; also what was skipped or dead."""
    await save(store, "b", skip_reason="no")
    assert await save(store, "a", "b", mark_delivered=True) == [Queued.MARKED] * 2
    assert await claim(store) == []
    assert await save(store, "a", "b") == [Queued.ALREADY_DELIVERED] * 2


async def test_a_call_folded_into_another_is_superseded(store: SqliteStore) -> None:
    """Deliveries of a folded linkedid that wait or were delivered become superseded, and stay so."""
    await save(store, "sent", "waits", "other", strand="1")
    (one,) = await claim(store, limit=1)
    await store.settle([settled(one)])
    merged = make_finished(call=make_call("first", linkedids=["first", "sent", "waits"]))
    await store.save_calls([merged], now=NOW)
    records = [(await store.deliveries(linkedid=one))[0] for one in ("sent", "waits")]
    assert [one.state for one in records] == [State.SUPERSEDED] * 2
    assert all("first" in one.reason for one in records)
    assert await save(store, "sent", force=Force.YES, requeue_dead=True) == [Queued.SKIPPED]
    assert set(await claimed(store)) == {"first", "other"}  # the strand is free for the next


async def test_superseding_takes_the_claim_away(store: SqliteStore) -> None:
    """A settlement for what was superseded meanwhile is refused."""
    await save(store, "b")
    (one,) = await claim(store)
    await store.save_calls([make_finished(call=make_call("a", linkedids=["a", "b"]))], now=NOW)
    assert await store.settle([settled(one)]) == [False]
    assert await state_of(store, "b") is State.SUPERSEDED


# claiming


async def test_claims_go_live_first_then_by_the_start_of_the_call(store: SqliteStore) -> None:
    """Lane, then started_at; not the order of queueing; only what is due; at most `limit`."""
    await save(store, "old", at=START - SECOND, lane=Lane.REPLAY)
    await save(store, "later", at=START + 9 * SECOND)
    await save(store, "first")
    await save(store, "not due", due_at=NOW + 1)
    assert await claimed(store, limit=2) == ["first", "later"]
    assert await claimed(store) == ["old"]
    assert await claimed(store, now=NOW + 1) == ["not due"]


async def test_a_claim_journals_its_attempt(store: SqliteStore) -> None:
    """The attempt is in the journal, and the state is sending, before anything is sent."""
    await save(store, "a", payload=b"bytes")
    (one,) = await claim(store)
    assert one.delivery.payload == b"bytes"
    assert (one.token, one.delivery.attempt, one.probing, one.failures) == (1, 1, False, 0)
    (attempt,) = await store.attempts(one.delivery_id)
    assert (attempt.number, attempt.started_at, attempt.ended_at, attempt.kind) == (1, NOW, None, None)
    assert await state_of(store, "a") is State.SENDING
    assert await claim(store) == []


async def test_of_a_strand_one_goes_at_a_time_in_order(store: SqliteStore) -> None:
    """The next of a strand goes when the one before has ended; a connector's strands are its own."""
    await save(store, "a", "b", "c", strand="1", connectors=("crm", "other"))
    assert [one.delivery.linkedid for one in await store.claim("other", 9, now=NOW, order_patience=1)] == [
        "a"
    ]
    for linkedid in "abc":
        (one,) = await claim(store)
        assert one.delivery.linkedid == linkedid
        assert await claim(store) == []
        await store.settle([settled(one, State.DEAD if linkedid == "a" else State.DELIVERED)])
    assert await claim(store) == []


async def test_an_older_one_that_waits_for_its_retry_holds_its_strand(store: SqliteStore) -> None:
    """Also when its retry is due later; and an older one that comes later goes first."""
    await save(store, "b", strand="1", at=START + SECOND)
    await end_all(store, State.PENDING, next_at=NOW + 60 * SECOND)
    await save(store, "c", strand="1", at=START + 2 * SECOND)
    assert await claim(store) == []
    await save(store, "a", strand="1")
    (one,) = await claim(store)
    assert one.delivery.linkedid == "a"
    await store.settle([settled(one)])
    assert await claim(store, now=NOW + 59 * SECOND) == []
    assert await claimed(store, now=NOW + 60 * SECOND) == ["b"]


async def test_an_uncertain_one_holds_its_strand(store: SqliteStore) -> None:
    """Nothing of the strand overtakes what may have arrived."""
    await save(store, "a", "b", strand="1")
    await end_all(store, State.UNCERTAIN, next_at=NOW + 60 * SECOND)
    assert await claim(store, now=NOW + 59 * SECOND) == []


async def test_a_live_call_does_not_wait_for_replayed_ones(store: SqliteStore) -> None:
    """Order is kept in a lane; but never two of a strand at a time, whatever their lanes."""
    await save(store, "old", strand="1", lane=Lane.REPLAY)
    await save(store, "live", strand="1", at=START + SECOND)
    (one,) = await claim(store)
    assert one.delivery.linkedid == "live"
    assert await claim(store) == []
    await store.settle([settled(one, State.PENDING, next_at=NOW + 60 * SECOND)])
    assert await claimed(store) == ["old"]


@pytest.mark.parametrize("strand", ["1", None])
async def test_a_live_call_that_a_replay_met_first_goes_with_the_live_ones(
    store: SqliteStore, strand: str | None
) -> None:
    """A period that reaches up to now finds calls before the tail does: they do not wait behind the past."""
    await save(store, "past", at=START - SECOND, strand=strand, lane=Lane.REPLAY)
    await save(store, "today", strand=strand, lane=Lane.REPLAY)
    assert await save(store, "today", strand=strand) == [Queued.ALREADY_WAITING]
    (one,) = await claim(store, limit=1)
    assert one.delivery.linkedid == "today"
    await store.settle([settled(one)])
    assert await claimed(store) == ["past"]


async def patient(store: SqliteStore, now: int = NOW, live_patience: float = 60.0) -> list[Claim]:
    return list(await store.claim("crm", 100, now=now, order_patience=PATIENCE, live_patience=live_patience))


async def test_a_live_call_waits_a_while_for_replayed_older_ones(store: SqliteStore) -> None:
    """At most live_patience from its queueing, and its reason says for whom; then it passes, which is told."""
    await save(store, "old", strand="1", lane=Lane.REPLAY, due_at=NOW + 9000 * SECOND)
    await save(store, "live", strand="1", at=START + SECOND, due_at=NOW)
    assert await patient(store, NOW + 60 * SECOND - 1) == []
    (record,) = await store.deliveries(linkedid="live")
    assert record.reason == "waits for old, an older call of its number in a replay"
    assert await store.next_due("crm") == NOW + 60 * SECOND
    (one,) = await patient(store, NOW + 60 * SECOND)
    assert one.delivery.linkedid == "live"
    passing = "(passed old, an older call of its number in a replay, after waiting 60 s)"
    assert (await store.deliveries(linkedid="live"))[0].reason == f"sending, attempt 1 {passing}"
    await store.settle([settled(one)])
    assert (await store.deliveries(linkedid="live"))[0].reason == f"made delivered {passing}"


async def test_a_live_call_goes_when_the_replayed_ones_are_through(store: SqliteStore) -> None:
    """It does not use up its patience without need; that it waited stays in its reason."""
    await save(store, "old", strand="1", lane=Lane.REPLAY)
    await save(store, "live", strand="1", at=START + SECOND)
    (old,) = await patient(store)
    assert old.delivery.linkedid == "old"
    await store.settle([settled(old)])
    (live,) = await patient(store)
    assert live.delivery.linkedid == "live"
    reason = (await store.deliveries(linkedid="live"))[0].reason
    assert reason == "sending, attempt 1 (waited for old, an older call of its number in a replay)"


async def test_without_patience_a_live_call_passes_replayed_ones_and_says_so(store: SqliteStore) -> None:
    """live_patience 0, the default: at once, with the name of the one it passed."""
    await save(store, "old", strand="1", lane=Lane.REPLAY)
    await save(store, "live", strand="1", at=START + SECOND)
    (one,) = await claim(store)
    reason = (await store.deliveries(linkedid="live"))[0].reason
    assert (one.delivery.linkedid, reason) == (
        "live",
        "sending, attempt 1 (passed old, an older call of its number in a replay)",
    )


async def test_only_older_calls_of_the_number_hold_a_live_one(store: SqliteStore) -> None:
    """Neither a younger replayed call, nor one of another number, nor an older one after a first attempt."""
    await save(store, "other", strand="2", lane=Lane.REPLAY, due_at=NOW + 9000 * SECOND)
    await save(store, "younger", strand="1", at=START + 5 * SECOND, lane=Lane.REPLAY, due_at=NOW)
    await save(store, "live", strand="1", at=START + SECOND)
    (one,) = await patient(store)
    assert one.delivery.linkedid == "live"
    await store.settle([settled(one, State.PENDING, next_at=NOW + 10 * SECOND)])
    await save(store, "old", strand="1", lane=Lane.REPLAY, due_at=NOW + 9000 * SECOND)
    assert "live" in [one.delivery.linkedid for one in await patient(store, NOW + 10 * SECOND)]


async def test_a_replay_asked_for_later_holds_a_live_call_that_still_waits(store: SqliteStore) -> None:
    """It had a blocked turn, or was not due: by then an older call of its number is being replayed."""
    await save(store, "live", strand="1", at=START + SECOND, due_at=NOW + 30 * SECOND)
    await save(store, "old", strand="1", lane=Lane.REPLAY, due_at=NOW + 9000 * SECOND)
    assert await patient(store, NOW + 59 * SECOND) == []
    assert [one.delivery.linkedid for one in await patient(store, NOW + 60 * SECOND)] == ["live"]


async def test_live_patience_stands_still_while_the_connector_is_held(store: SqliteStore) -> None:
    """After an hour's hold there is as much of it left as before."""
    await save(store, "old", strand="1", lane=Lane.REPLAY, due_at=NOW + 10**6 * SECOND)
    await save(store, "live", strand="1", at=START + SECOND)
    hold = Hold(kind=OutcomeKind.THROTTLE, reason="503", since=NOW + 10 * SECOND, next_canary_at=NOW)
    await store.set_hold("crm", hold)
    assert await patient(store, NOW + 3000 * SECOND) == []
    assert await store.next_due("crm") == NOW + 10**6 * SECOND
    await store.set_hold("crm", None)
    assert await patient(store, NOW + 3600 * SECOND) == []
    assert await patient(store, NOW + 3649 * SECOND) == []
    assert len(await patient(store, NOW + 3650 * SECOND)) == 1


async def test_a_replay_has_a_share_of_the_claims_and_a_bound(store: SqliteStore) -> None:
    """At least so many of the lane replay though live ones wait, never more than the bound."""
    await save(store, "l1", "l2", "l3", "l4")
    await save(store, "r1", "r2", "r3", "r4", lane=Lane.REPLAY)

    async def shared(limit: int, least: int, most: int) -> list[str]:
        share = {"replay_at_least": least, "replay_at_most": most}
        found = await store.claim("crm", limit, now=NOW, order_patience=PATIENCE, **share)
        return [one.delivery.linkedid for one in found]

    assert await shared(2, 1, 2) == ["l1", "r1"]
    assert await shared(1, 1, 0) == ["l2"]
    assert await shared(4, 0, 1) == ["l3", "l4", "r2"]
    assert await shared(4, 1, 0) == []
    assert await store.next_due("crm", [Lane.LIVE]) is None
    assert await shared(4, 1, 1) == ["r3"]


async def test_one_that_keeps_failing_is_passed_after_the_patience(store: SqliteStore) -> None:
    """Not before order_patience from its first failure; the passing is told in the reason."""
    await save(store, "a", "b", "c", strand="1")
    (first,) = await claim(store)
    await store.settle([settled(first, State.PENDING, ended_at=NOW, next_at=NOW + 5000 * SECOND)])
    assert await claim(store, now=NOW + 900 * SECOND - 1) == []
    (passing,) = await claim(store, now=NOW + 900 * SECOND)
    assert passing.delivery.linkedid == "b"
    await store.settle([settled(passing, ended_at=NOW + 901 * SECOND)])
    (record,) = await store.deliveries(linkedid="b")
    assert "passed a" in record.reason
    assert await claimed(store, now=NOW + 901 * SECOND) == ["c"]


async def test_each_failing_one_has_a_patience_of_its_own(store: SqliteStore) -> None:
    """After a was passed by b, c waits for b."""
    await save(store, "a", "b", "c", strand="1")
    (first,) = await claim(store)
    await store.settle([settled(first, State.PENDING, ended_at=NOW, next_at=NOW + 9000 * SECOND)])
    later = NOW + 900 * SECOND
    (second,) = await claim(store, now=later)
    await store.settle([settled(second, State.PENDING, ended_at=later, next_at=NOW + 9000 * SECOND)])
    assert await claim(store, now=later + 899 * SECOND) == []
    assert await claimed(store, now=later + 900 * SECOND) == ["c"]


async def test_the_patience_stands_still_while_the_connector_is_held(store: SqliteStore) -> None:
    """A failing call loses no patience to a hold of ten hours."""
    await save(store, "a", "b", strand="1")
    (first,) = await claim(store)
    await store.settle([settled(first, State.PENDING, ended_at=NOW, next_at=NOW + 10**6 * SECOND)])
    hold = Hold(kind=OutcomeKind.THROTTLE, reason="503", since=NOW + 100 * SECOND, next_canary_at=NOW)
    await store.set_hold("crm", hold)
    released = NOW + 36_000 * SECOND
    assert await claim(store, now=released) == []
    await store.set_hold("crm", None)
    assert await claim(store, now=released) == []
    assert await claim(store, now=released + 799 * SECOND) == []
    assert await claimed(store, now=released + 800 * SECOND) == ["b"]


async def test_a_failure_that_does_not_count_burns_neither_attempts_nor_patience(store: SqliteStore) -> None:
    """counts=False: failures stay 0, and the strand keeps its order."""
    await save(store, "a", "b", strand="1")
    (one,) = await claim(store)
    later = NOW + 5000 * SECOND
    await store.settle([settled(one, State.PENDING, ended_at=NOW, next_at=later, counts=False)])
    assert await claim(store, now=later - 1) == []
    (one,) = await claim(store, now=later)
    assert (one.delivery.linkedid, one.failures, one.delivery.attempt) == ("a", 0, 2)


async def test_of_several_that_may_go_only_one_goes(store: SqliteStore) -> None:
    """A failing one that may be passed and the one behind it, both due: one at a time, the older first."""
    await save(store, "a", "b", strand="1")
    (one,) = await claim(store)
    await store.settle([settled(one, State.PENDING, ended_at=NOW)])
    assert await claimed(store, now=NOW + 1000 * SECOND) == ["a"]
    assert await claim(store, now=NOW + 1000 * SECOND) == []


async def test_32_workers_never_break_a_strand(store: SqliteStore) -> None:
    """2,000 deliveries of 100 strands, 32 workers: each once, each strand in order, one at a time."""
    calls = [make_finished(f"{n}", at=START + n * SECOND, strand=f"{n % 100}") for n in range(2000)]
    await store.save_calls(calls, now=NOW)
    sent: dict[int, list[int]] = {n: [] for n in range(100)}
    busy: Counter[int] = Counter()

    async def worker() -> None:
        while sum(map(len, sent.values())) < 2000:
            for one in await claim(store, limit=3):
                number = int(one.delivery.linkedid)
                busy[number % 100] += 1
                assert busy[number % 100] == 1
                await asyncio.sleep(0)
                sent[number % 100].append(number)
                busy[number % 100] -= 1
                assert await store.settle([settled(one)]) == [True]

    async with asyncio.TaskGroup() as group:
        for _ in range(32):
            group.create_task(worker())
    assert sent == {n: list(range(n, 2000, 100)) for n in range(100)}
    assert await store.counts() == {"crm": {State.DELIVERED: 2000}}


# settling


async def test_a_settlement_needs_the_newest_claim(store: SqliteStore) -> None:
    """An older token, an ended delivery and an unknown one are refused, and nothing changes."""
    await save(store, "a")
    (old,) = await claim(store)
    await store.recover(now=NOW)
    (new,) = await claim(store)
    assert await store.settle([settled(old, State.DEAD)]) == [False]
    assert not await store.checkpoint(old.delivery_id, old.token, b"x")
    assert await state_of(store, "a") is State.SENDING
    assert await store.settle([settled(new), settled(new, State.DEAD)]) == [True, False]
    assert await state_of(store, "a") is State.DELIVERED
    assert not await store.checkpoint(new.delivery_id, new.token, b"x")


async def test_the_journal_tells_how_attempts_ended(store: SqliteStore) -> None:
    """Kind, reason, status and answer of each attempt; reasons and times of the delivery."""
    await save(store, "a")
    (one,) = await claim(store)
    due = NOW + 30 * SECOND
    await store.settle([settled(one, State.PENDING, next_at=due, http_status=500, answer=b"oops")])
    (attempt,) = await store.attempts(one.delivery_id)
    assert (attempt.ended_at, attempt.kind) == (NOW + SECOND, OutcomeKind.RETRY)
    assert (attempt.http_status, attempt.answer, attempt.reason) == (500, b"oops", "made pending")
    (record,) = await store.deliveries(linkedid="a")
    assert (record.next_at, record.updated_at, record.attempts) == (due, NOW + SECOND, 1)
    (one,) = await claim(store, now=due)
    assert (one.failures, one.delivery.attempt) == (1, 2)


async def test_a_checkpoint_serves_the_next_attempt(store: SqliteStore) -> None:
    """Stored for the next claim; void when the delivery starts anew."""
    await save(store, "a")
    (one,) = await claim(store)
    assert await store.checkpoint(one.delivery_id, one.token, b"step 1")
    await store.settle([settled(one, State.PENDING)])
    (one,) = await claim(store, now=NOW + SECOND)
    assert one.delivery.checkpoint == b"step 1"
    await store.settle([settled(one)])
    await save(store, "a", force=Force.YES)
    (one,) = await claim(store)
    assert one.delivery.checkpoint == b""


async def test_an_uncertain_one_is_probed(store: SqliteStore) -> None:
    """The claim says since when, and how often in a row a probe has said absent."""
    await save(store, "a")
    (one,) = await claim(store)
    await store.settle([settled(one, State.UNCERTAIN, next_at=NOW + SECOND)])
    (one,) = await claim(store, now=NOW + SECOND)
    assert (one.probing, one.uncertain_since, one.absent_seen) == (True, NOW, 0)
    await store.settle([settled(one, State.UNCERTAIN, absent_seen=1, next_at=NOW + 2 * SECOND)])
    (one,) = await claim(store, now=NOW + 2 * SECOND)
    assert (one.probing, one.uncertain_since, one.absent_seen) == (True, NOW, 1)
    await store.settle([settled(one, State.UNCERTAIN, next_at=NOW + 3 * SECOND)])  # sent again, cut again
    (one,) = await claim(store, now=NOW + 3 * SECOND)
    assert (one.uncertain_since, one.absent_seen) == (NOW + 2 * SECOND, 0)
    await store.settle([settled(one, State.PENDING, next_at=NOW + 4 * SECOND)])
    (one,) = await claim(store, now=NOW + 4 * SECOND)
    assert (one.probing, one.uncertain_since) == (False, None)


async def test_released_claims_do_not_count(store: SqliteStore) -> None:
    """Pending again, or uncertain if it was to be probed; no attempt is left in the journal."""
    await save(store, "a", "b", strand="1")
    (one,) = await claim(store)
    await store.release([one], now=NOW, reason="stopping")
    (record,) = await store.deliveries(linkedid="a")
    assert (record.state, record.reason, record.attempts) == (State.PENDING, "stopping", 0)
    assert await store.attempts(one.delivery_id) == []
    assert await store.settle([settled(one)]) == [False]
    (one,) = await claim(store)
    assert one.delivery.linkedid == "a"
    await store.settle([settled(one, State.UNCERTAIN)])
    (probe,) = await claim(store, now=NOW + SECOND)
    await store.release([probe, one], now=NOW + SECOND, reason="stopping")
    (one,) = await claim(store, now=NOW + SECOND)
    assert (one.probing, one.uncertain_since, one.delivery.attempt) == (True, NOW, 2)


async def test_an_older_call_that_came_meanwhile_goes_before_a_released_one(store: SqliteStore) -> None:
    """The order of a strand holds for what is given back, too."""
    await save(store, "b", strand="1", at=START + SECOND)
    given = await claim(store)
    await save(store, "a", strand="1")
    assert await claim(store) == []
    await store.release(given, now=NOW, reason="stopping")
    assert await claimed(store) == ["a"]


async def test_what_a_dead_process_was_sending_becomes_uncertain(store: SqliteStore) -> None:
    """recover: uncertain since the start of the attempt, with a reason, due at once."""
    await save(store, "a", "b")
    await claim(store, limit=1)
    assert await store.recover(now=NOW + 60 * SECOND) == 1
    (record,) = await store.deliveries(linkedid="a")
    assert record.state is State.UNCERTAIN
    assert "may have arrived" in record.reason
    one = (await claim(store, now=NOW + 60 * SECOND))[0]
    assert (one.probing, one.uncertain_since) == (True, NOW)


async def test_after_a_crash_an_older_call_goes_before_the_one_that_was_being_sent(
    store: SqliteStore,
) -> None:
    """It was queued meanwhile: the order of the strand holds for what is recovered, too."""
    await save(store, "b", strand="1", at=START + SECOND)
    await claim(store)
    await save(store, "a", strand="1")
    await store.recover(now=NOW)
    assert await claimed(store) == ["a"]


async def test_next_due_tells_when_to_look_again(store: SqliteStore) -> None:
    """The earliest of what can be claimed; never now for what is blocked or has a sending one before it."""
    assert await store.next_due("crm") is None
    await save(store, "a", "b", strand="1", due_at=NOW)
    await save(store, "c", strand="1", due_at=NOW, lane=Lane.REPLAY)
    assert await store.next_due("crm") == NOW
    (one,) = await claim(store)
    assert await store.next_due("crm") is None
    await store.settle([settled(one, State.PENDING, ended_at=NOW, next_at=NOW + 5000 * SECOND)])
    (replayed,) = await claim(store)
    await store.settle([settled(replayed)])
    assert await store.next_due("crm") == NOW + 900 * SECOND  # from then on, b may pass a
    assert await claimed(store, now=NOW + 900 * SECOND) == ["b"]
    assert await store.next_due("crm") == NOW + 5000 * SECOND


# connectors


async def test_the_state_of_a_connector_is_replaced_whole(store: SqliteStore) -> None:
    """Empty at first; what was set last."""
    assert await store.connector_state("crm") == {}
    await store.set_connector_state("crm", {"token": "1", "old": "x"})
    await store.set_connector_state("crm", {"token": "2"})
    assert await store.connector_state("crm") == {"token": "2"}
    assert await store.connector_state("other") == {}


async def test_holds_are_kept_until_they_are_released(store: SqliteStore) -> None:
    """A hold comes back as it was set; None releases it; the connector's state stays."""
    await store.set_connector_state("crm", {"token": "1"})
    hold = Hold(kind=OutcomeKind.AUTH, reason="401", since=NOW, next_canary_at=NOW + 1, canaries=2)
    await store.set_hold("crm", hold)
    assert await store.holds() == {"crm": hold}
    await store.set_hold("crm", None)
    await store.set_hold("never held", None)
    assert await store.holds() == {}
    assert await store.connector_state("crm") == {"token": "1"}


async def test_a_store_belongs_to_a_pbx(store: SqliteStore) -> None:
    """The name is kept; under another name the same calls are still known as delivered."""
    assert await store.pbx_name() is None
    await store.set_pbx_name("pbx")
    await save(store, "a")
    await end_all(store)
    await store.set_pbx_name("new")
    assert await store.pbx_name() == "new"
    assert await save(store, "a") == [Queued.ALREADY_DELIVERED]
    assert await store.call("a") is not None


async def test_a_pbx_is_not_renamed_while_deliveries_are_in_doubt(store: SqliteStore) -> None:
    """The CRM knows what may have arrived by the old name."""
    await store.set_pbx_name("pbx")
    await save(store, "a")
    await end_all(store, State.UNCERTAIN)
    with pytest.raises(Exception, match="in doubt"):
        await store.set_pbx_name("new")
    assert await store.pbx_name() == "pbx"


# replays


async def add(store: SqliteStore, **changes: Any) -> ReplayStep:
    facts: dict[str, Any] = {"requested_at": NOW, "requested_by": "cli:root", "start": START, "end": NOW}
    replay_id = await store.add_replay(Replay(**{**facts, **changes}))
    await store.set_replay_state(replay_id, ReplayState.LOOKING_UP, now=NOW)
    return ReplayStep(replay_id=replay_id, found=1)


async def counters(store: SqliteStore, step: ReplayStep) -> Replay:
    replay = await store.replay(step.replay_id)
    assert replay is not None
    return replay


async def test_a_replay_is_stored_as_asked_for(store: SqliteStore) -> None:
    """All of the request comes back, with the id the store gave."""
    asked = Replay(
        requested_at=NOW,
        requested_by="api:joe",
        ids=("a", "b"),
        force=Force.NEW,
        connector="crm",
        dry_run=True,
        mark_delivered=True,
    )
    replay_id = await store.add_replay(asked)
    replay = await store.replay(replay_id)
    assert replay is not None
    assert replay == Replay(**{**{f: getattr(asked, f) for f in asked.__struct_fields__}, "id": replay_id})
    assert await store.replay(replay_id + 1) is None


async def test_a_replay_counts_what_it_queued(store: SqliteStore) -> None:
    """Each result has its counter; skipped ones are counted by reason; steps add up; the cursor moves."""
    await save(store, "sent", "changed")
    await end_all(store)
    await save(store, "waits")
    step = await add(store)
    assert await save(store, "sent", "waits", "new", step=step) == [
        Queued.ALREADY_DELIVERED,
        Queued.ALREADY_WAITING,
        Queued.QUEUED,
    ]
    changed = make_finished(call=make_call("changed", revision="r2"))
    last = ReplayStep(replay_id=step.replay_id, found=2, cursor=Position(5, 6), not_found=("x",))
    await store.save_calls([changed], now=NOW, step=last)
    await save(store, "s1", "s2", step=step, skip_reason="internal")
    await save(store, "m", step=step, mark_delivered=True)
    replay = await counters(store, step)
    assert (replay.found, replay.queued, replay.already_delivered) == (5, 1, 1)
    assert (replay.already_waiting, replay.changed, replay.marked_delivered) == (1, 1, 1)
    assert (replay.skipped, replay.cursor, replay.not_found) == ({"internal": 2}, Position(5, 6), ("x",))


async def test_a_replay_is_done_with_its_last_delivery(store: SqliteStore) -> None:
    """DELIVERING becomes DONE by itself; delivered and dead are counted as they are settled."""
    step = await add(store)
    await save(store, "a", "b", step=step, lane=Lane.REPLAY)
    await store.set_replay_state(step.replay_id, ReplayState.DELIVERING, now=NOW)
    first, second = await claim(store)
    await store.settle([settled(first)])
    assert (await counters(store, step)).state is ReplayState.DELIVERING
    await store.settle([settled(second, State.DEAD)])
    replay = await counters(store, step)
    assert (replay.state, replay.finished_at) == (ReplayState.DONE, NOW + SECOND)
    assert (replay.delivered, replay.dead) == (1, 1)


async def test_a_long_replay_does_not_starve_a_short_one(store: SqliteStore) -> None:
    """Each has its turn, whatever was asked for first, and so have those that no replay waits for."""
    for replay_id, linkedids, at in ((1, [f"l{n}" for n in range(50)], START), (2, ["s0", "s1"], NOW)):
        asked = Replay(requested_at=NOW, requested_by="api:admin", start=0, end=NOW)
        assert await store.add_replay(asked) == replay_id
        await save(store, *linkedids, at=at, lane=Lane.REPLAY, step=ReplayStep(replay_id=replay_id))
    await save(store, "n0", at=NOW, lane=Lane.REPLAY)
    assert [one for _ in range(7) for one in await claimed(store, limit=1)] == [
        *("l0", "s0", "n0"),
        *("l1", "s1"),
        *("l2", "l3"),
    ]
    assert await claimed(store, limit=3) == ["l4", "l5", "l6"]


async def test_turns_keep_the_order_of_a_number(store: SqliteStore) -> None:
    """A call that a short replay asked for waits for an older one of its number in a long one."""
    for replay_id, linkedids, at in ((1, ["l0", "l1", "l2"], START), (2, ["s0"], NOW)):
        asked = Replay(requested_at=NOW, requested_by="api:admin", start=0, end=NOW)
        assert await store.add_replay(asked) == replay_id
        step = ReplayStep(replay_id=replay_id)
        await save(store, *linkedids, at=at, lane=Lane.REPLAY, step=step, strand="1")
    order = []
    while found := await claim(store, 4):
        order += [one.delivery.linkedid for one in found]
        await store.settle([settled(one) for one in found])
    assert order == ["l0", "l1", "l2", "s0"]


async def test_a_replay_that_queued_nothing_is_done_at_once(store: SqliteStore) -> None:
    """Nothing waits, nothing to wait for; also when its deliveries were quicker than its look-up."""
    step = await add(store)
    await save(store, "a", step=step)
    await end_all(store)
    await store.set_replay_state(step.replay_id, ReplayState.DELIVERING, now=NOW)
    assert (await counters(store, step)).state is ReplayState.DONE


async def test_a_replay_sends_a_call_once(store: SqliteStore) -> None:
    """A call met again in a later page is not forced twice, nor counted twice."""
    await save(store, "a")
    await end_all(store)
    step = await add(store, force=Force.YES)
    assert await save(store, "a", step=step, force=Force.YES) == [Queued.QUEUED]
    await end_all(store)
    assert await save(store, "a", step=step, force=Force.YES) == [Queued.ALREADY_DELIVERED]
    replay = await counters(store, step)
    assert (replay.queued, replay.already_delivered, replay.already_waiting) == (1, 0, 0)


async def test_a_dry_run_changes_nothing_but_its_report(store: SqliteStore) -> None:
    """It decides as the real one would, and records the items; no call and no delivery is stored."""
    await save(store, "sent")
    await end_all(store)
    step = await add(store, dry_run=True, force=Force.YES)
    result = await save(store, "sent", "new", step=step, force=Force.YES)
    assert result == [Queued.QUEUED] * 2
    await save(store, "new", step=step, force=Force.YES)
    assert await store.call("new") is None
    assert await store.counts() == {"crm": {State.DELIVERED: 1}}
    assert [(one.linkedid, one.result) for one in await store.replay_items(step.replay_id)] == [
        ("sent", Queued.QUEUED),
        ("new", Queued.QUEUED),
    ]
    assert (await counters(store, step)).queued == 2
    await store.set_replay_state(step.replay_id, ReplayState.DELIVERING, now=NOW)
    assert (await counters(store, step)).state is ReplayState.DONE


async def test_a_replay_by_id_tells_what_became_of_each(store: SqliteStore) -> None:
    """Items in the order found, up to the limit; a period records none; not found and in progress add up."""
    step = await add(store, ids=("a", "b", "c", "d"), start=None, end=None)
    last = ReplayStep(replay_id=step.replay_id, not_found=("c",), in_progress=("d",))
    await store.save_calls([make_finished("a"), make_finished("b")], now=NOW, step=last)
    items = await store.replay_items(step.replay_id)
    assert [(one.linkedid, one.connector, one.part) for one in items] == [
        ("a", "crm", "call"),
        ("b", "crm", "call"),
    ]
    assert len(await store.replay_items(step.replay_id, limit=1)) == 1
    replay = await counters(store, step)
    assert (replay.not_found, replay.in_progress) == (("c",), ("d",))
    await save(store, "d", step=step)
    assert (await counters(store, step)).in_progress == ()
    period = await add(store)
    await save(store, "e", step=period)
    assert await store.replay_items(period.replay_id) == []


async def test_cancelling_takes_back_what_waits(store: SqliteStore) -> None:
    """Pending ones are skipped with the reason; what is being sent goes to its end, but is not retried."""
    step = await add(store)
    await save(store, "sending", "waiting", step=step, strand="1", lane=Lane.REPLAY)
    await save(store, "of others", strand="1", at=START + 60 * SECOND, lane=Lane.REPLAY)
    (one,) = await claim(store)
    await store.set_replay_state(step.replay_id, ReplayState.CANCELLED, now=NOW)
    (record,) = await store.deliveries(linkedid="waiting")
    assert record.state is State.SKIPPED
    assert f"replay {step.replay_id} was cancelled" in record.reason
    assert await state_of(store, "sending") is State.SENDING
    await store.settle([settled(one, State.PENDING)])
    assert await state_of(store, "sending") is State.SKIPPED
    assert await claimed(store) == ["of others"]


async def test_cancelling_leaves_live_calls_that_the_replay_met_first(store: SqliteStore) -> None:
    """A period up to now finds calls before the tail does: once the tail has met them, they are its own."""
    step = await add(store)
    await save(store, "waiting", "sending", step=step, lane=Lane.REPLAY)
    await save(store, "waiting", "sending")
    one, other = await claim(store)
    await store.settle([settled(one, State.PENDING)])
    await store.set_replay_state(step.replay_id, ReplayState.CANCELLED, now=NOW)
    await store.settle([settled(other, State.PENDING)])
    assert await state_of(store, "waiting") is State.PENDING
    assert await state_of(store, "sending") is State.PENDING


async def test_cancelling_leaves_what_may_have_arrived(store: SqliteStore) -> None:
    """An uncertain one is asked about all the same; else it could be sent twice later."""
    step = await add(store)
    await save(store, "a", step=step)
    await end_all(store, State.UNCERTAIN)
    await store.set_replay_state(step.replay_id, ReplayState.CANCELLED, now=NOW)
    assert await state_of(store, "a") is State.UNCERTAIN


async def test_cancelling_a_forced_replay_leaves_delivered_what_was(store: SqliteStore) -> None:
    """Forgetting that the CRM has the call would send it twice later."""
    await save(store, "a")
    await end_all(store)
    step = await add(store)
    await save(store, "a", step=step, force=Force.YES, lane=Lane.REPLAY)
    await store.set_replay_state(step.replay_id, ReplayState.CANCELLED, now=NOW)
    assert await state_of(store, "a") is State.DELIVERED
    assert await save(store, "a", requeue_dead=True) == [Queued.ALREADY_DELIVERED]
    assert (await counters(store, step)).delivered == 0


async def test_a_cancelled_replay_queues_nothing_more_and_stays_cancelled(store: SqliteStore) -> None:
    """A step that was under way when it was cancelled, and a state that comes too late."""
    step = await add(store)
    await store.set_replay_state(step.replay_id, ReplayState.CANCELLED, now=NOW)
    assert await save(store, "a", step=step) == [Queued.SKIPPED]
    await store.set_replay_state(step.replay_id, ReplayState.DELIVERING, now=NOW)
    assert (await counters(store, step)).state is ReplayState.CANCELLED
    assert await store.counts() == {}


async def test_replays_are_listed(store: SqliteStore) -> None:
    """Newest first; unfinished: those with calls still to find, oldest first."""
    steps = [await add(store) for _ in range(5)]
    ids = [one.replay_id for one in steps]
    await save(store, "a", step=steps[0])
    progress = ReplayStep(replay_id=ids[1], in_progress=("b",))
    await store.save_calls([make_finished("c")], now=NOW, step=progress)
    for one in ids[:3]:
        await store.set_replay_state(one, ReplayState.DELIVERING, now=NOW)
    await store.set_replay_state(ids[4], ReplayState.FAILED, now=NOW, error="no such table")
    assert [one.id for one in await store.replays()] == ids[::-1]
    assert [one.id for one in await store.replays(limit=1)] == ids[-1:]
    assert [one.id for one in await store.replays(unfinished=True)] == [ids[1], ids[3]]
    assert (await counters(store, steps[4])).error == "no such table"


# what people ask


async def test_deliveries_are_found_newest_change_first(store: SqliteStore) -> None:
    """By linkedid, connector and state, together or alone, up to the limit."""
    await save(store, "a", "b", "c", connectors=("crm", "other"))
    first, second = (await claim(store))[:2]
    await store.settle(
        [settled(second, ended_at=NOW + 9 * SECOND), settled(first, ended_at=NOW + 5 * SECOND)]
    )
    found = await store.deliveries(connector="crm")
    assert [one.linkedid for one in found] == ["b", "a", "c"]
    assert [one.linkedid for one in await store.deliveries(state=State.DELIVERED)] == ["b", "a"]
    assert len(await store.deliveries(state=State.PENDING, connector="other", limit=2)) == 2
    assert {one.connector for one in await store.deliveries(linkedid="a")} == {"crm", "other"}
    assert await store.deliveries(linkedid="a", connector="crm", state=State.PENDING) == []
    assert len(await store.deliveries()) == 6


async def test_closing_finishes_what_was_accepted(tmp_path: Path) -> None:
    """Jobs handed over before the close are done; after it, the store says that it is closed."""
    store = SqliteStore.open(tmp_path / "store.db", system="pbx")
    saves = [asyncio.create_task(save(store, f"{n}")) for n in range(50)]
    await asyncio.sleep(0)
    await store.aclose()
    assert await asyncio.gather(*saves) == [[Queued.QUEUED]] * 50
    with pytest.raises(Exception, match="closed"):
        await store.counts()
    store = SqliteStore.open(tmp_path / "store.db", system="pbx")
    assert await store.counts() == {"crm": {State.PENDING: 50}}
    await store.aclose()
