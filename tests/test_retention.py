"""Retention: what is old is removed, what waits is not, and nothing is sent twice for it."""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from crm_server import CrmServer
from factories import START, make_call, make_finished
from fakes import FakeClock
from running import Pbx, run, until

from celreplay.connectors.base import OutcomeKind
from celreplay.keeping import Keeper
from celreplay.retention import RetentionConfig
from celreplay.store.base import Force, Queued, Replay, ReplayState, ReplayStep, Settlement, State
from celreplay.store.retention import Forgotten
from celreplay.store.sqlite import SqliteStore
from celreplay.times import DAY, SECOND
from celreplay.units import Duration

ENDED = START + 60 * SECOND
LATER = START + 40 * DAY
"""Beyond the age of payloads, not of dead ones, replays and calls."""
MUCH_LATER = START + 800 * DAY
"""Beyond every age."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """An empty store; at the end its inner counts must be right."""
    opened = SqliteStore.open(tmp_path / "store.db", system="pbx")
    yield opened
    assert await opened.check() == []
    await opened.aclose()


async def save(store: SqliteStore, linkedid: str, *, now: int = ENDED, **wish: Any) -> Queued:
    step = wish.pop("step", None)
    (queueing,) = await store.save_calls([make_finished(linkedid, **wish)], now=now, step=step)
    return queueing.result


async def end(store: SqliteStore, state: State = State.DELIVERED, *, at: int = ENDED) -> None:
    """Everything that is due comes to this end."""
    kinds = {State.DELIVERED: OutcomeKind.OK, State.DEAD: OutcomeKind.PERMANENT}
    for claim in await store.claim("crm", 1000, now=at, order_patience=900):
        kind = kinds.get(state, OutcomeKind.UNCERTAIN)
        one = {"delivery_id": claim.delivery_id, "token": claim.token, "state": state, "kind": kind}
        await store.settle([Settlement(**one, reason="made so", ended_at=at, answer=b"an answer")])  # type: ignore[arg-type]  # a mapping of its fields


async def forget(
    store: SqliteStore, now: int, *, limit: int = 500, ages: RetentionConfig | None = None
) -> Sequence[Forgotten]:
    """Every page until nothing more is old enough, with one delivery more than what is looked at."""
    await store.save_calls([make_finished("newest", mark_delivered=True)], now=now)
    pages = [Forgotten()]
    while not pages[-1].done:
        pages.append(await store.forget(ages or RetentionConfig(), now=now, after=pages[-1], limit=limit))
    return pages[1:]


def rows(store: SqliteStore, table: str) -> int:
    with closing(sqlite3.connect(store.path)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - a name of ours


# what is removed


async def test_of_an_old_delivery_only_the_key_stays(store: SqliteStore) -> None:
    """Payload, journal and row go; for which call, connector and part, how it ended and when, stays."""
    await save(store, "a")
    await end(store)
    assert sum(page.deliveries for page in await forget(store, LATER)) == 1
    assert [rows(store, table) for table in ("payloads", "attempts", "deliveries")] == [0, 0, 1]
    (record,) = await store.deliveries(linkedid="a")
    assert (record.connector, record.part, record.state) == ("crm", "call", State.DELIVERED)
    assert record.updated_at == ENDED
    assert "retention" in record.reason


async def test_what_is_young_enough_stays_whole(store: SqliteStore) -> None:
    """A moment before its age nothing is removed."""
    await save(store, "a")
    await end(store)
    for page in await forget(store, ENDED + 30 * DAY):
        assert (page.deliveries, page.calls, page.replays) == (0, 0, 0)
    (record,) = await store.deliveries(linkedid="a")
    (attempt,) = await store.attempts(record.delivery_id)
    assert attempt.answer == b"an answer"


async def test_what_waits_is_never_touched(store: SqliteStore) -> None:
    """pending, sending and uncertain ones keep payload and place however old they are, and their calls."""
    await save(store, "uncertain")
    await end(store, State.UNCERTAIN, at=ENDED + SECOND)
    await save(store, "sending")
    assert len(await store.claim("crm", 2, now=ENDED, order_patience=900)) == 1
    await save(store, "pending", due_at=MUCH_LATER * 2)
    pages = await forget(store, MUCH_LATER)
    assert [(page.deliveries, page.calls) for page in pages if page.deliveries or page.calls] == []
    assert {state: n for state, n in (await store.counts())["crm"].items() if n} == {
        State.PENDING: 1, State.SENDING: 1, State.UNCERTAIN: 1, State.DELIVERED: 1,
    }  # fmt: skip
    for linkedid in ("uncertain", "sending", "pending"):
        assert await store.call(linkedid) is not None


async def test_a_dead_one_stays_longer(store: SqliteStore) -> None:
    """A person may look into why it died for as long as `dead` says."""
    await save(store, "a")
    await end(store, State.DEAD)
    await forget(store, LATER)
    assert (await store.deliveries(linkedid="a"))[0].reason == "made so"
    await forget(store, ENDED + 181 * DAY)
    (record,) = await store.deliveries(linkedid="a")
    assert (record.state, record.delivery_id) == (State.DEAD, 0)


async def test_a_call_is_kept_as_long_as_its_delivery(store: SqliteStore) -> None:
    """By its own age from its beginning, with its aliases; an old call that was just replayed stays."""
    both = make_finished(call=make_call("a", linkedids=["a", "folded"]), mark_delivered=True)
    await store.save_calls([both], now=ENDED)
    await save(store, "replayed today", now=MUCH_LATER - SECOND, mark_delivered=True)
    await forget(store, LATER)
    assert await store.call("folded") is not None
    await forget(store, MUCH_LATER)
    assert await store.call("a") is None
    assert await store.call("folded") is None
    assert rows(store, "call_aliases") == 0
    assert await store.call("replayed today") is not None


async def test_replays_go_with_what_they_found(store: SqliteStore) -> None:
    """Finished ones by their end; one that still has deliveries in doubt, or is not finished, stays."""
    asked = Replay(requested_at=START, requested_by="cli:root", start=START, end=ENDED, dry_run=True)
    reports, open_ = await store.add_replay(asked), await store.add_replay(asked)
    doubted = await store.add_replay(Replay(requested_at=START, requested_by="cli:root", ids=("u",)))
    for number in range(25):
        await save(store, f"d{number}", step=ReplayStep(replay_id=reports))
    await save(store, "u", step=ReplayStep(replay_id=doubted))
    await end(store, State.UNCERTAIN)
    for replay_id, state in ((reports, ReplayState.DONE), (doubted, ReplayState.CANCELLED)):
        await store.set_replay_state(replay_id, state, now=ENDED)
    assert rows(store, "replay_items") == 26
    pages = await forget(store, ENDED + 91 * DAY, limit=10)
    assert [page.items for page in pages if page.items] == [10, 10, 5]
    assert [one.id for one in await store.replays()] == [doubted, open_]
    assert rows(store, "replay_items") == 1


async def test_removing_goes_in_pages(store: SqliteStore) -> None:
    """No transaction takes more than a page, whatever there is to remove."""
    for number in range(45):
        await save(store, f"{number}", mark_delivered=True)
    pages = await forget(store, MUCH_LATER, limit=20)
    assert [page.deliveries for page in pages if page.deliveries] == [20, 20, 5]
    assert [page.calls for page in pages if page.calls] == [20, 20, 5]  # but the newest's
    assert pages[-1].done


async def test_counts_go_on_counting_what_was_removed(store: SqliteStore) -> None:
    """`celreplay status` does not tell of fewer deliveries because they are old."""
    await save(store, "a")
    await end(store)
    await save(store, "s", skip_reason="internal call")
    await forget(store, LATER)
    assert (await store.counts())["crm"] == {State.DELIVERED: 2, State.SKIPPED: 1}


async def test_the_newest_delivery_stays_so_that_no_number_is_given_twice(store: SqliteStore) -> None:
    """A claim is fenced by the delivery's number: another delivery must never have it."""
    await save(store, "a", mark_delivered=True)
    (before,) = await store.deliveries(linkedid="a")
    await store.forget(RetentionConfig(), now=MUCH_LATER)
    await save(store, "b")
    (after,) = await store.deliveries(linkedid="b")
    assert before.delivery_id < after.delivery_id


async def test_a_key_takes_less_than_100_bytes(store: SqliteStore) -> None:
    """10,000 deliveries that ended out of order, with a long name of the PBX and real revisions: on disk."""
    await store.set_pbx_name("a-rather-long-name-of-a-head-office")
    for first in range(0, 10_000, 1000):
        numbers = sorted(range(first, first + 1000), key=lambda number: number * 7919 % 1000)
        calls = [
            make_call(f"{1795400000 + number * 3}.{number * 4}", revision=f"{number:024}")
            for number in numbers
        ]
        await store.save_calls(
            [make_finished(call=call, mark_delivered=True) for call in calls], now=ENDED + first * SECOND
        )
    await forget(store, LATER)
    with closing(sqlite3.connect(store.path)) as connection:
        count = connection.execute("SELECT count(*) FROM delivery_keys").fetchone()[0]
        size = connection.execute(
            "SELECT sum(pgsize) FROM dbstat WHERE name IN ('delivery_keys', 'sqlite_autoindex_delivery_keys_1')"
        ).fetchone()[0]
    assert count == 10_000
    assert size / count <= 100


# what is decided afterwards


async def _delivered(store: SqliteStore) -> None:
    await save(store, "a")
    await end(store)


async def _forced_and_dead(store: SqliteStore) -> None:
    await _delivered(store)
    await save(store, "a", force=Force.YES)
    await end(store, State.DEAD)


async def _twice(store: SqliteStore) -> None:
    await _delivered(store)
    await save(store, "a", force=Force.NEW)
    await end(store)


async def _dead(store: SqliteStore) -> None:
    await save(store, "a")
    await end(store, State.DEAD)


async def _discarded(store: SqliteStore) -> None:
    await _dead(store)
    (record,) = await store.deliveries(linkedid="a")
    assert await store.discard([record.delivery_id], by="joe", now=ENDED) == {}


async def _skipped(store: SqliteStore) -> None:
    await save(store, "a", skip_reason="internal call")


async def _superseded(store: SqliteStore) -> None:
    await _delivered(store)
    await store.save_calls(
        [make_finished(call=make_call("b", linkedids=["b", "a"]), connectors=[])], now=ENDED
    )


PASTS: list[Callable[[SqliteStore], Awaitable[None]]] = [
    _delivered, _forced_and_dead, _twice, _dead, _discarded, _skipped, _superseded
]  # fmt: skip
WISHES: dict[str, dict[str, Any]] = {
    "from the table": {},
    "by a period": {"requeue_dead": True},
    "forced": {"force": Force.YES},
    "a further record": {"force": Force.NEW},
    "skipped now": {"skip_reason": "internal call"},
    "skipped though forced": {"skip_reason": "internal call", "force": Force.YES},
    "marked": {"mark_delivered": True},
    "changed": {"call": make_call("a", revision="r2")},
    "changed, with updates": {"call": make_call("a", revision="r2"), "update": b"update"},
}


@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("past", PASTS, ids=lambda past: past.__name__.strip("_"))
async def test_a_key_decides_as_the_whole_delivery_would(
    tmp_path: Path, past: Callable[[SqliteStore], Awaitable[None]], wish: str
) -> None:
    """Queued again or not, sent with the same bytes or not: the same with the details and without."""
    came_of: list[object] = []
    for name, now in (("whole.db", ENDED), ("keys.db", MUCH_LATER)):
        store = SqliteStore.open(tmp_path / name, system="pbx")
        await past(store)
        await forget(store, now)
        assert rows(store, "delivery_keys") == (0 if name == "whole.db" else rows_of_past(past))
        result = await save(store, "a", now=MUCH_LATER, due_at=MUCH_LATER, **WISHES[wish])
        claims = await store.claim("crm", 10, now=MUCH_LATER, order_patience=900)
        sent = [(c.delivery.part, c.delivery.payload, c.delivery.forced, c.failures) for c in claims]
        states = {record.part: record.state for record in await store.deliveries(linkedid="a")}
        came_of.append((result, sent, states, await store.counts()))
        assert await store.check() == []
        await store.aclose()
    assert came_of[0] == came_of[1]


def rows_of_past(past: Callable[[SqliteStore], Awaitable[None]]) -> int:
    return 2 if past is _twice else 1


async def test_a_dry_run_leaves_a_key_alone(store: SqliteStore) -> None:
    """It tells what would be sent; the key is still a key."""
    await _delivered(store)
    await forget(store, LATER)
    asked = Replay(requested_at=LATER, requested_by="cli:root", ids=("a",), dry_run=True, force=Force.YES)
    step = ReplayStep(replay_id=await store.add_replay(asked))
    assert await save(store, "a", step=step, force=Force.YES) is Queued.QUEUED
    assert rows(store, "delivery_keys") == 1


async def test_a_call_folded_into_another_long_after_is_superseded(store: SqliteStore) -> None:
    """Its key says so: the call it became is the one to be asked for."""
    await _delivered(store)
    await forget(store, LATER)
    folded = make_finished(call=make_call("b", linkedids=["b", "a"]))
    await store.save_calls([folded], now=LATER)
    assert [one.state for one in await store.deliveries(linkedid="a")] == [State.SUPERSEDED]
    assert await save(store, "a") is Queued.SKIPPED


async def test_keys_move_with_the_name_of_the_pbx(store: SqliteStore) -> None:
    """Under its new name the same PBX still knows what it has delivered."""
    await store.set_pbx_name("pbx")
    await _delivered(store)
    await forget(store, LATER)
    await store.set_pbx_name("new")
    assert await save(store, "a") is Queued.ALREADY_DELIVERED


# the daemon


async def test_the_keeper_removes_all_that_is_old_hour_by_hour(store: SqliteStore) -> None:
    """At its start, and later what has become old since, page by page."""
    clock = FakeClock(LATER, manual=True)
    keeper = Keeper(store, clock, RetentionConfig(), longest_wait=DAY / SECOND)
    for number in range(1200):
        await save(store, f"{number}", mark_delivered=True)
    await save(store, "newest", now=LATER, mark_delivered=True)
    task = asyncio.create_task(keeper.run())
    await clock.until(lambda: rows(store, "delivery_keys") == 1200, step=0.2)
    await save(store, "newer", now=LATER, mark_delivered=True)
    await clock.until(lambda: rows(store, "delivery_keys") == 1201, step=3600)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert rows(store, "deliveries") == 1


# the clock


async def test_a_clock_that_is_set_back_breaks_nothing(store: SqliteStore) -> None:
    """Attempts, holds and replays that end before they began: order, counts and checks stay right."""
    asked = Replay(requested_at=ENDED + 5 * DAY, requested_by="cli:root", start=START, end=ENDED)
    step = ReplayStep(replay_id=await store.add_replay(asked))
    await store.set_replay_state(step.replay_id, ReplayState.LOOKING_UP, now=ENDED + 5 * DAY)
    for linkedid in ("a", "b"):
        await save(store, linkedid, now=ENDED + 5 * DAY, strand="1", step=step)
    for state, now in ((State.PENDING, ENDED + 4 * DAY), (State.DELIVERED, ENDED + 3 * DAY)):
        (claim,) = await store.claim("crm", 2, now=now + DAY, order_patience=900)
        assert claim.delivery.linkedid == "a"
        one = {"delivery_id": claim.delivery_id, "token": claim.token, "kind": OutcomeKind.RETRY}
        await store.settle([Settlement(**one, state=state, reason="", ended_at=now, next_at=now)])  # type: ignore[arg-type]  # a mapping of its fields
    await store.set_replay_state(step.replay_id, ReplayState.DELIVERING, now=ENDED + 2 * DAY)
    await end(store, at=ENDED)
    replay = await store.replay(step.replay_id)
    assert replay is not None
    assert (replay.state, replay.delivered, replay.finished_at) == (ReplayState.DONE, 2, ENDED)
    await forget(store, ENDED - DAY)
    assert rows(store, "delivery_keys") == 0
    await forget(store, LATER)
    assert rows(store, "delivery_keys") == 2


async def test_what_waits_for_a_moment_of_a_wrong_clock_is_woken(store: SqliteStore) -> None:
    """The host began in 2038 and was corrected: what was put off then is due now, other waits stay as they are."""
    future = START + 4000 * DAY
    await save(store, "lost", now=future, due_at=future + SECOND)
    await save(store, "put off", due_at=ENDED + DAY)
    keeper = Keeper(store, FakeClock(ENDED), RetentionConfig(), longest_wait=2 * DAY / SECOND)
    assert await store.claim("crm", 2, now=ENDED, order_patience=900) == []
    await keeper.wake()
    (claim,) = await store.claim("crm", 2, now=ENDED, order_patience=900)
    assert claim.delivery.linkedid == "lost"
    await keeper.wake()
    assert await store.next_due("crm") == ENDED + DAY


@pytest.fixture
async def crm() -> AsyncIterator[CrmServer]:
    async with CrmServer() as crm:
        yield crm


async def test_a_replay_of_a_time_beyond_the_retention_sends_nothing(tmp_path: Path, crm: CrmServer) -> None:
    """A real daemon delivers and forgets; asked for the same period again it sends 0, with force=1 the same ids."""
    pbx = Pbx(tmp_path, crm.url)
    pbx.options["retention"] = {"payloads": "100ms", "dead": "100ms", "replays": "100ms", "calls": "100ms"}
    pbx.options["cel"]["start"] = "-2"
    store = tmp_path / "store.sqlite"
    async with pbx.daemon() as daemon:
        pbx.happens(12)
        await until(lambda: len(crm.taken) >= 12)
        await daemon.stop()
    assert _left(store) == (12, 12, 0)
    async with pbx.daemon() as daemon:
        await until(lambda: bool(daemon.events("retention.removed")))
        code, out, err = await run(*_celreplay(pbx, "replay", "--start-date", "-1"))
        assert code == 0, err
        assert "12 found, 12 already delivered" in out
        await daemon.stop()
    assert _left(store) == (1, 1, 11)  # the newest stays whole
    assert len(crm.received) == 12
    code, out, err = await run(*_celreplay(pbx, "replay", "--start-date", "-1", "--force", "1"))
    assert (code, len(crm.received), len(crm.ledger)) == (0, 24, 12), err


def _left(store: Path) -> tuple[int, int, int]:
    """Payloads, whole deliveries, keys."""
    with closing(sqlite3.connect(store)) as connection:
        tables = ("payloads", "deliveries", "delivery_keys")
        counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]  # noqa: S608 - names of ours
        return counts[0], counts[1], counts[2]


def _celreplay(pbx: Pbx, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "celreplay", arguments[0], "-c", str(pbx.config), *arguments[1:]]


def test_calls_are_kept_as_long_as_their_deliveries() -> None:
    """A config that would forget calls of which deliveries are kept is refused."""
    with pytest.raises(ValueError, match="calls: is shorter than dead"):
        RetentionConfig(calls=Duration(40 * 86_400))
