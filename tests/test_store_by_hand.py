"""The contract of the store, continued: lists of deliveries, and what people do about dead ones."""

from collections.abc import AsyncIterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from factories import START, make_call, make_finished
from test_store import NOW, STORES, claim, claimed, end_all, save, settled, state_of

from celreplay.connectors.base import OutcomeKind
from celreplay.store.base import Force, Hold, Queued, Replay, ReplayState, ReplayStep, State
from celreplay.store.records import DeliveryRecord, Place, Rebuilt, Wanted
from celreplay.store.sqlite import SqliteStore, listing
from celreplay.times import SECOND

LATER = NOW + 3600 * SECOND
BY = "cli:anna"


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """An empty store; at the end its inner counts must be right."""
    assert request.param == "sqlite"
    opened = SqliteStore.open(tmp_path / "store.db", system="pbx")
    yield opened
    assert await opened.check() == []
    await opened.aclose()


async def dead(store: SqliteStore, *linkedids: str, reason: str = "answered 422", **wish: Any) -> list[int]:
    """Calls that the CRM has refused; their deliveries' ids."""
    await save(store, *linkedids, **wish)
    while await end_all(store, State.DEAD, reason=reason):
        pass
    return [(await one(store, linkedid)).delivery_id for linkedid in linkedids]


async def one(store: SqliteStore, linkedid: str) -> DeliveryRecord:
    [record] = await store.deliveries(linkedid=linkedid)
    return record


async def all_pages(store: SqliteStore, wanted: Wanted, limit: int) -> list[list[str]]:
    """The linkedids of each page."""
    pages, after = [], None
    while True:
        page = await store.list_deliveries(wanted, after=after, limit=limit)
        pages.append([record.linkedid for record in page.deliveries])
        after = page.after
        if after is None:
            return pages


def joined(pages: Sequence[Sequence[str]]) -> list[str]:
    return list(chain.from_iterable(pages))


# lists


async def test_pages_hold_each_delivery_once(store: SqliteStore) -> None:
    """Newest change first over connectors and states; equal moments do not blur the edge of a page."""
    await save(store, *"abcdefg")
    await store.save_calls([make_finished("h", connectors=("archive",))], now=NOW + SECOND)
    await store.settle([settled(each, State.DEAD) for each in await claim(store, 2, now=NOW + SECOND)])
    pages = await all_pages(store, Wanted(), 3)
    assert [len(page) for page in pages] == [3, 3, 2]
    assert joined(pages)[:3] == ["h", "b", "a"]
    assert len(set(joined(pages))) == 8
    assert await all_pages(store, Wanted(), 8) == [joined(pages)]


async def test_what_changes_between_two_pages_is_not_met_twice(store: SqliteStore) -> None:
    """It has moved to the front, behind the reader; nobody else is missed for it."""
    await save(store, *"abcd")
    first = await store.list_deliveries(Wanted(), limit=2)
    [seen, *_] = await claim(store, 1, now=NOW + SECOND)
    assert seen.delivery.linkedid == "a"
    rest = await store.list_deliveries(Wanted(), after=first.after, limit=10)
    assert [record.linkedid for record in (*first.deliveries, *rest.deliveries)] == ["d", "c", "b"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param(Wanted(states=(State.DEAD,)), "cba", id="state"),
        pytest.param(Wanted(states=(State.DEAD, State.DELIVERED)), "dcba", id="states"),
        pytest.param(Wanted(connector="archive"), "e", id="connector"),
        pytest.param(Wanted(reason="TOO LONG"), "b", id="reason"),
        pytest.param(Wanted(linkedid="c"), "c", id="linkedid"),
        pytest.param(Wanted(linkedid="c", states=(State.PENDING,)), "", id="linkedid and state"),
        pytest.param(Wanted(linkedid="c", reason="too long"), "", id="linkedid and reason"),
        pytest.param(Wanted(since=NOW + 3 * SECOND), "dc", id="since"),
        pytest.param(Wanted(until=NOW + 3 * SECOND), "bae", id="until"),
        pytest.param(Wanted(since=NOW + 2 * SECOND, until=NOW + 3 * SECOND), "b", id="period"),
        pytest.param(Wanted(states=(State.DEAD,), connector="archive"), "", id="state and connector"),
    ],
)
async def test_each_filter_narrows_the_list(store: SqliteStore, wanted: Wanted, expected: str) -> None:
    """State, connector, part of the reason in any case, call, and when it last changed: [since, until)."""
    for number, (linkedid, reason) in enumerate(
        zip("abcd", ("422", "name Too Long", "422", "ok"), strict=True)
    ):
        await save(store, linkedid)
        state = State.DELIVERED if linkedid == "d" else State.DEAD
        at = NOW + (number + 1) * SECOND
        await store.settle(
            [settled(each, state, reason=reason, ended_at=at) for each in await claim(store, now=at)]
        )
    await store.save_calls([make_finished("e", connectors=("archive",))], now=NOW)
    assert joined(await all_pages(store, wanted, 2)) == list(expected)


async def test_held_is_what_waits_at_a_connector_on_hold(store: SqliteStore) -> None:
    """Neither what has ended there nor what waits elsewhere."""
    await dead(store, "a")
    await save(store, "b", "c")
    await store.save_calls([make_finished("d", connectors=("archive",))], now=NOW)
    held = Wanted(held=True)
    assert await all_pages(store, held, 10) == [[]]
    await store.set_hold("crm", hold())
    assert await all_pages(store, held, 10) == [["c", "b"]]


def hold(**changes: Any) -> Hold:
    facts: dict[str, Any] = {"kind": OutcomeKind.AUTH, "reason": "401", "since": NOW, "next_canary_at": LATER}
    return Hold(**{**facts, **changes})


async def test_a_rare_reason_is_looked_for_page_by_page(store: SqliteStore) -> None:
    """A page looks at so many rows and no more, and says where to go on: nothing is found, nothing is over."""
    calls = [make_finished(f"n{number}") for number in range(listing.MOST)]
    await store.save_calls([make_finished("first", skip_reason="rare")], now=NOW)
    await store.save_calls(calls, now=NOW + SECOND)
    pages = await all_pages(store, Wanted(reason="rare"), 10)
    assert pages == [[], ["first"]]


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "1-2-3", "1-x", "9" * 19 + "-1", "１-1"])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    """A cursor comes from people: only what `str()` gives is read."""
    with pytest.raises(ValueError, match="no place"):
        Place.parse(text)


def test_a_place_is_read_back() -> None:
    """What `str()` gives."""
    assert Place.parse(str(Place(NOW, 7))) == Place(NOW, 7)


# retry


async def test_a_dead_one_is_sent_again_as_it_was(store: SqliteStore) -> None:
    """Due at once with the bytes of before; its journal goes on, its failures do not count any more."""
    [id_] = await dead(store, "a")
    assert await store.retry({id_: None}, by=BY, now=LATER) == {}
    record = await one(store, "a")
    assert (record.state, record.next_at, record.delivery_id) == (State.PENDING, LATER, id_)
    assert record.reason == "to be sent again: retried by cli:anna; it was dead: answered 422"
    [again] = await claim(store, now=LATER)
    assert (again.delivery.payload, again.delivery.attempt, again.failures) == (b"payload of a", 2, 0)
    await store.settle([settled(again)])
    assert [attempt.reason for attempt in await store.attempts(id_)] == ["answered 422", "made delivered"]


async def test_a_retried_one_goes_on_behind_its_checkpoint(store: SqliteStore) -> None:
    """Steps that the CRM has taken are not taken twice, with the old bytes or with new ones."""
    await save(store, "a")
    [first] = await claim(store)
    assert await store.checkpoint(first.delivery_id, first.token, b"contact 7")
    await store.settle([settled(first, State.DEAD)])
    for number, rebuilt in enumerate(
        (None, Rebuilt(payload=b"new", revision="r2", strand=None, started_at=START))
    ):
        await store.retry({first.delivery_id: rebuilt}, by=BY, now=LATER)
        [again] = await claim(store, now=LATER)
        assert again.delivery.checkpoint == b"contact 7"
        assert again.delivery.payload == (b"payload of a", b"new")[number]
        await store.settle([settled(again, State.DEAD)])
    assert (await one(store, "a")).revision == "r2"


async def test_a_retried_one_keeps_the_order_of_its_number(store: SqliteStore) -> None:
    """The older call goes before a newer one of its number that waits."""
    [id_] = await dead(store, "a", strand="+1")
    await save(store, "b", at=START + 60 * SECOND, strand="+1")
    await store.retry({id_: None}, by=BY, now=NOW)
    assert await claimed(store) == ["a"]


@pytest.mark.parametrize(
    ("askable", "state"),
    [pytest.param(["crm"], State.UNCERTAIN, id="asked first"), pytest.param([], State.PENDING, id="sent")],
)
async def test_a_parked_one_is_asked_about_first_where_that_can_be_done(
    store: SqliteStore, askable: list[str], state: State
) -> None:
    """Its outcome is unknown: the CRM may have it."""
    await save(store, "a")
    [id_] = [each.delivery_id for each in await claim(store)]
    await store.recover(now=NOW)
    [doubtful] = await claim(store)
    await store.settle([settled(doubtful, State.DEAD, kind=OutcomeKind.UNCERTAIN)])
    await store.retry({id_: None}, by=BY, now=LATER, askable=askable)
    assert await state_of(store, "a") is state
    [again] = await claim(store, now=LATER)
    assert (again.probing, again.uncertain_since) == ((True, NOW) if askable else (False, None))


async def test_a_refused_one_is_not_asked_about(store: SqliteStore) -> None:
    """An answer came: the CRM has not got it."""
    [id_] = await dead(store, "a")
    await store.retry({id_: None}, by=BY, now=LATER, askable=["crm"])
    assert await state_of(store, "a") is State.PENDING


async def test_what_has_not_ended_badly_is_not_retried(store: SqliteStore) -> None:
    """Each one's reason is told; the others are sent again, or none, as was asked for."""
    [bad] = await dead(store, "dead")
    await save(store, "delivered")
    await end_all(store)
    await save(store, "folded", "pending")
    await store.save_calls([make_finished(call=make_call("into", linkedids=["into", "folded"]))], now=NOW)
    await save(store, "ruled", skip_reason="an internal call")
    others = ["delivered", "folded", "pending", "ruled"]
    ids = [(await one(store, linkedid)).delivery_id for linkedid in others]
    wishes = dict.fromkeys([bad, *ids, 99])
    refused = await store.retry(wishes, by=BY, now=NOW, whole=True)
    assert set(refused) == {*ids, 99}
    for id_, words in zip(
        [*ids, 99], ("was delivered", "superseded", "needs no retry", "rules", "no delivery 99"), strict=True
    ):
        assert words in refused[id_]
    assert await state_of(store, "dead") is State.DEAD
    assert await store.retry(wishes, by=BY, now=NOW) == refused
    assert await state_of(store, "dead") is State.PENDING


async def test_new_bytes_take_what_a_rule_had_skipped(store: SqliteStore) -> None:
    """Who rebuilds has asked the rules again."""
    await save(store, "a", skip_reason="an internal call")
    rebuilt = Rebuilt(payload=b"new", revision="r1", strand="+1", started_at=START)
    assert await store.retry({(await one(store, "a")).delivery_id: rebuilt}, by=BY, now=NOW) == {}
    assert [each.delivery.payload for each in await claim(store)] == [b"new"]


async def test_a_retry_does_not_change_the_counts_of_a_replay(store: SqliteStore) -> None:
    """A replay tells what became of its own sending; cancelling it takes nothing of a person's back."""
    replay_id = await store.add_replay(Replay(requested_at=NOW, requested_by="api:admin", start=0, end=NOW))
    await store.set_replay_state(replay_id, ReplayState.LOOKING_UP, now=NOW)
    [id_] = await dead(store, "a", step=ReplayStep(replay_id=replay_id, found=1))
    await store.retry({id_: None}, by=BY, now=NOW)
    await store.set_replay_state(replay_id, ReplayState.CANCELLED, now=NOW)
    assert await state_of(store, "a") is State.PENDING
    await end_all(store)
    replay = await store.replay(replay_id)
    assert replay is not None
    assert (replay.dead, replay.delivered) == (1, 0)


# discard


async def test_a_discarded_one_is_off_the_list(store: SqliteStore) -> None:
    """Skipped, with who did it and what it had died of."""
    [id_] = await dead(store, "a")
    assert await store.discard([id_], by=BY, now=LATER) == {}
    record = await one(store, "a")
    assert (record.state, record.updated_at) == (State.SKIPPED, LATER)
    assert record.reason == "discarded by cli:anna; dead: answered 422"


@pytest.mark.parametrize(
    ("wish", "result"),
    [
        pytest.param({}, Queued.SKIPPED, id="the CEL table again"),
        pytest.param({"requeue_dead": True}, Queued.SKIPPED, id="a replay of the period"),
        pytest.param({"requeue_dead": True, "force": Force.YES}, Queued.QUEUED, id="an id"),
        pytest.param({"requeue_dead": True, "force": Force.NEW}, Queued.QUEUED, id="a new record"),
        pytest.param({"mark_delivered": True}, Queued.MARKED, id="marked"),
        pytest.param({"skip_reason": "internal"}, Queued.SKIPPED, id="a rule"),
    ],
)
async def test_a_discarded_one_is_sent_only_when_it_is_named(
    store: SqliteStore, wish: dict[str, Any], result: Queued
) -> None:
    """A replay of its period leaves it alone; force sends it, and a retry by its id too."""
    [id_] = await dead(store, "a")
    await store.discard([id_], by=BY, now=LATER)
    [queueing] = await store.save_calls([make_finished("a", **wish)], now=LATER)
    assert queueing.result is result
    if result is Queued.SKIPPED:
        assert queueing.reason.startswith("discarded by cli:anna")
        assert await store.retry({id_: None}, by=BY, now=LATER) == {}
        assert await claimed(store, now=LATER) == ["a"]


async def test_only_dead_ones_are_discarded(store: SqliteStore) -> None:
    """What waits is cancelled with its replay; what was delivered is delivered."""
    await save(store, "a")
    id_ = (await one(store, "a")).delivery_id
    assert await store.discard([id_, 99], by=BY, now=NOW) == {
        id_: "is pending; only dead ones are discarded",
        99: "there is no delivery 99",
    }
    [bad] = await dead(store, "b")
    assert set(await store.discard([bad, 99], by=BY, now=NOW, whole=True)) == {99}
    assert await state_of(store, "b") is State.DEAD


async def test_a_discarded_one_that_had_been_delivered_is_delivered(store: SqliteStore) -> None:
    """The CRM has it: only its forced repetition had died."""
    await save(store, "a")
    await end_all(store)
    [id_] = await dead(store, "a", force=Force.YES)
    await store.discard([id_], by=BY, now=LATER)
    assert await state_of(store, "a") is State.DELIVERED
    assert await save(store, "a", requeue_dead=True) == [Queued.ALREADY_DELIVERED]


# resume


async def test_a_held_connector_gets_a_canary_that_is_due(store: SqliteStore) -> None:
    """The hold stays until the canary's answer; of what waits only one is brought forward."""
    assert not await store.resume("crm", now=NOW)
    await save(store, "a", "b", due_at=LATER)
    await store.set_hold("crm", hold(canaries=4))
    assert await store.resume("crm", now=NOW)
    assert await store.holds() == {"crm": hold(canaries=4, next_canary_at=NOW)}
    assert len(await claimed(store)) == 1
