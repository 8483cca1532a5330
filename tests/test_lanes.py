"""Live calls before replayed ones, over a real store; the CRM is a real receiver, or a connector with a script."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from crm_server import CrmServer, How, Play
from delivering import Office, call_of, fake_options, office_in, true, webhook_options
from fakes import FakeClock, FakeConnector

from celreplay.clock import SystemClock
from celreplay.connectors.webhook import WebhookConnector
from celreplay.delivery.lanes import REPLAY_ONE_IN, Shares, replay_at_most
from celreplay.store.base import Claim, Lane, State
from celreplay.store.sqlite import SqliteStore, schema


@pytest.fixture
async def clock() -> FakeClock:
    return FakeClock(manual=True)


@pytest.fixture
async def office(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Office]:
    office = await office_in(tmp_path, clock)
    yield office
    await office.store.aclose()


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Office]:
    """With the host's clock, for what really goes over the wire."""
    office = await office_in(tmp_path, SystemClock())
    yield office
    await office.store.aclose()


@pytest.fixture
async def crm() -> AsyncIterator[CrmServer]:
    async with CrmServer() as server:
        yield server


async def test_under_live_load_a_replay_has_its_share(office: Office, clock: FakeClock) -> None:
    """With always more live calls than workers, one claim in twenty is a replay's: no more, no less."""
    connector = FakeConnector()
    await office.queue(connector, *(call_of(number) for number in range(400)))
    await office.queue(connector, *(call_of(number) for number in range(1000, 1100)), lane=Lane.REPLAY)
    async with office.delivering(connector, fake_options(workers=1)):
        await clock.until(lambda: len(connector.sent) == 500)
    replayed = [place for place, name in enumerate(connector.linkedids) if int(name.split(".")[1]) >= 1000]
    assert replayed[:20] == list(range(19, 400, REPLAY_ONE_IN))
    assert replayed[20] - replayed[19] == REPLAY_ONE_IN


async def claims_of(office: Office, lane: Lane, count: int, first: int) -> list[Claim]:
    connector = FakeConnector()
    await office.queue(connector, *(call_of(first + number) for number in range(count)), lane=lane)
    return list(await office.store.claim("crm", count, now=office.clock.now(), order_patience=900))


async def test_a_share_that_is_not_used_is_not_saved_up(office: Office) -> None:
    """A thousand live calls without any replay do not give the next replay fifty claims in a row."""
    live = await claims_of(office, Lane.LIVE, 38, 0)
    shares = Shares().after(live)
    assert shares.replay_at_least == 2
    assert shares.after(live).replay_at_least == 0
    replayed = await claims_of(office, Lane.REPLAY, 2, 1000)
    assert shares.after([*live, *replayed]) == Shares(38)


def test_one_worker_is_kept_for_live_calls() -> None:
    """A replay may have all but one; a connector with one worker serves both."""
    assert [replay_at_most(4, replaying) for replaying in range(5)] == [3, 2, 1, 0, 0]
    assert [replay_at_most(1, replaying) for replaying in range(2)] == [1, 0]


async def test_a_replay_does_not_delay_live_calls(live: Office, crm: CrmServer) -> None:
    """A receiver that takes its time, a long replay under way: a call of now is the next to go out."""
    crm.pause = 0.03
    options = webhook_options(crm.url, workers=3)
    connector = WebhookConnector("crm", options)
    await live.queue(connector, *(call_of(number) for number in range(1000)), lane=Lane.REPLAY)
    async with live.delivering(connector, options) as working:
        for number in range(2000, 2010):
            wanted = (number - 1999) * 7
            await true(lambda wanted=wanted: len(crm.received) >= wanted)  # type: ignore[misc]
            today = call_of(number)
            await live.queue(connector, today)
            before = len(crm.received)
            working.deliverer.hint()
            await true(lambda name=today.linkedid: name in crm.linkedids())  # type: ignore[misc]
            assert crm.linkedids().index(today.linkedid) - before <= 2
        assert await live.count(connector, State.PENDING) > 500


async def test_a_replay_never_has_the_last_worker(live: Office, crm: CrmServer) -> None:
    """While everything a replay has sent hangs, a live call goes out and is delivered."""
    options = webhook_options(crm.url, workers=3)
    connector, today = WebhookConnector("crm", options), call_of(2000)
    crm.default = Play(how=How.HANG)
    await live.queue(connector, *(call_of(number) for number in range(10)), lane=Lane.REPLAY)
    async with live.delivering(connector, options, shutdown_deadline=0.05) as working:
        await true(lambda: len(crm.received) == 2)
        crm.default = Play()
        await live.queue(connector, today)
        working.deliverer.hint()
        await true(lambda: today.linkedid in crm.linkedids())
        assert len(crm.received) == 3


def test_what_an_older_store_knows_of_passing_is_kept(tmp_path: Path) -> None:
    """A store of version 1 told whom a call had passed by the linkedid alone."""
    path = tmp_path / "store.sqlite"
    older = sqlite3.connect(path, isolation_level=None)
    older.row_factory = sqlite3.Row
    schema.migrate(older, path, schema.SCRIPTS[:1])
    older.execute(
        "INSERT INTO deliveries (linkedid, connector, part, system, state, turn, lane, started_at, next_at, updated_at,"
        " revision, reason, passed) VALUES ('2', 'crm', 'call', 'office', 'pending', 1, 0, 1, 1, 1, 'r', '', '1')"
    )
    older.close()
    store = SqliteStore.open(path, system="office")
    migrated = sqlite3.connect(path)
    (note,) = migrated.execute("SELECT order_note FROM deliveries").fetchone()
    migrated.close()
    asyncio.run(store.aclose())
    assert note == "passed 1, the older call of its number that kept failing"
