"""The delivery engine over a real store; the CRM is a real receiver, or a connector with a script."""

import asyncio
import contextlib
import itertools
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from crm_server import CrmServer, How, Play
from delivering import Office, call_of, fake_options, office_in, true, webhook_options
from fakes import OK, FakeClock, FakeConnector
from structlog.testing import capture_logs

from celreplay.calls.model import Call
from celreplay.clock import SystemClock
from celreplay.connectors.base import (
    Checkpoint,
    ConnectorState,
    Delivery,
    Exchange,
    Outcome,
    OutcomeKind,
    Probe,
    Request,
)
from celreplay.connectors.webhook import WebhookConnector
from celreplay.keeping import Keeper
from celreplay.retention import RetentionConfig
from celreplay.store.base import Force, Lane, State
from celreplay.store.sqlite import SqliteStore
from celreplay.times import SECOND, Instant
from celreplay.units import Duration

RETRY = Outcome(kind=OutcomeKind.RETRY, reason="answered 500 Internal Server Error", http_status=500)
THROTTLE = Outcome(kind=OutcomeKind.THROTTLE, reason="no connection: connection refused")
AUTH = Outcome(kind=OutcomeKind.AUTH, reason="answered 401 Unauthorized", http_status=401)
REFUSED = Outcome(kind=OutcomeKind.PERMANENT, reason="answered 422 Unprocessable Content", http_status=422)
UNCERTAIN = Outcome(kind=OutcomeKind.UNCERTAIN, reason="no complete answer within 20 s")


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


async def held(office: Office) -> bool:
    return bool(await office.store.holds())


async def stands(office: Office, call: Call, state: State) -> bool:
    return (await office.delivery(call)).state is state


class Outage:
    """A fake CRM that says the same to everything until it is over."""

    def __init__(self, connector: FakeConnector, outcome: Outcome) -> None:
        self.over = False
        connector.outcome = lambda _: Outcome(kind=OutcomeKind.OK, reason="taken") if self.over else outcome


async def test_a_call_is_delivered_once(office: Office, clock: FakeClock) -> None:
    """A queued call goes out, and its delivery says so."""
    connector, call = FakeConnector(), call_of(1)
    await office.queue(connector, call)
    async with office.delivering(connector, fake_options()):
        await clock.until(lambda: bool(connector.sent))
        await clock.advance(10)
    assert connector.linkedids == [call.linkedid]
    assert (await office.delivery(call)).state is State.DELIVERED


async def test_the_schedule_runs_and_ends(office: Office, clock: FakeClock) -> None:
    """A call that keeps failing is sent once and again after each wait of the schedule; then it is dead."""
    connector, call = FakeConnector(), call_of(1)
    sent_at: list[int] = []
    connector.outcome = lambda _: sent_at.append(clock.now()) or RETRY  # type: ignore[func-returns-value]
    await office.queue(connector, call)
    options = fake_options(schedule=(Duration(5), Duration(60), Duration(600)))
    async with office.delivering(connector, options):
        await clock.until(lambda: len(sent_at) == 4)
        await clock.advance(2000)
    first, second, third = ((after - before) / SECOND for before, after in itertools.pairwise(sent_at))
    assert 5 <= first < 60 <= second < 600 <= third
    record = await office.delivery(call)
    assert (record.state, record.attempts) == (State.DEAD, 4)
    assert record.reason == "out of attempts: answered 500 Internal Server Error"


async def test_a_refused_call_stops_nobody(office: Office, clock: FakeClock) -> None:
    """A call that the CRM refuses is dead with its reason; the rest of its number goes on."""
    connector, calls = FakeConnector(), [call_of(number) for number in range(4)]
    connector.script.extend([REFUSED])
    await office.queue(connector, *calls, strand="+12025550143")
    async with office.delivering(connector, fake_options()):
        await clock.until(lambda: len(connector.sent) == 4)
    record = await office.delivery(calls[0])
    assert (record.state, record.reason) == (State.DEAD, "answered 422 Unprocessable Content")
    assert await office.count(connector, State.DELIVERED) == 3


async def test_a_bug_in_a_connector_stops_nobody(office: Office, clock: FakeClock) -> None:
    """An exception inside a connector costs its call an attempt and is logged as our fault; the rest goes on."""
    connector, calls = FakeConnector(), [call_of(1), call_of(2)]
    connector.script.append(KeyError("id"))
    await office.queue(connector, *calls)
    with capture_logs() as logs:
        async with office.delivering(connector, fake_options(workers=1)):
            await clock.until(lambda: len(connector.sent) == 3)
    assert await office.count(connector, State.DELIVERED) == 2
    assert [log["log_level"] for log in logs if log["event"] == "connector.broken"] == ["error"]


class Broken(FakeConnector):
    """Fails before it has become a generator."""

    def exchange(self, deliveries: Sequence[Delivery], state: ConnectorState, now: Instant) -> Exchange:
        if len(self.sent) == 0:
            self.sent.extend(deliveries)
            raise RuntimeError
        return super().exchange(deliveries, state, now)


class Astray(FakeConnector):
    """Stores a checkpoint for a delivery that it was not given."""

    def exchange(self, deliveries: Sequence[Delivery], state: ConnectorState, now: Instant) -> Exchange:
        if len(self.sent) == 0:
            self.sent.extend(deliveries)
            yield Checkpoint(index=7, data=b"1")
        return (yield from super().exchange(deliveries, state, now))


@pytest.mark.parametrize("kind", [Broken, Astray])
async def test_no_bug_of_a_connector_ends_the_worker(
    office: Office, clock: FakeClock, kind: type[FakeConnector]
) -> None:
    """Wherever a connector fails, its call is tried again."""
    connector, call = kind(), call_of(1)
    await office.queue(connector, call)
    with capture_logs() as logs:
        async with office.delivering(connector, fake_options()):
            await clock.until(lambda: stands(office, call, State.DELIVERED))
    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["connector.broken"]


async def test_a_hold_burns_no_attempts(office: Office, clock: FakeClock) -> None:
    """While the CRM is away, one canary goes out at a time, with growing pauses; afterwards all calls arrive with
    their attempts intact."""
    connector, calls = FakeConnector(), [call_of(number) for number in range(8)]
    outage = Outage(connector, THROTTLE)
    await office.queue(connector, *calls)
    async with office.delivering(connector, fake_options(schedule=(Duration(1),))):
        await clock.until(lambda: bool(connector.sent))
        await clock.advance(0)
        at_once = len(connector.sent)
        assert at_once <= 4
        await clock.until(lambda: len(connector.sent) >= at_once + 3)
        for _ in range(60 * 60):
            await clock.advance(1)
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        canaries = len(connector.sent) - at_once
        hold = (await office.store.holds())["crm"]
        assert hold.reason == THROTTLE.reason
        outage.over = True
        await clock.until(lambda: len(connector.sent) >= at_once + canaries + 8)
        await clock.advance(5)
    # 4 canaries in 30 + 60 + 120 + 240 s, then one every 300 s; 3 were waited for, then an hour
    assert 3 <= canaries <= 3 + 1 + 12
    assert await office.count(connector, State.DELIVERED) == 8
    assert await office.store.holds() == {}


async def test_a_canary_goes_out_as_soon_as_one_asks(office: Office, clock: FakeClock) -> None:
    """What a person asks for by the store is seen within a second; the canary's answer ends the hold."""
    connector, call = FakeConnector(), call_of(1)
    connector.script.append(AUTH)
    await office.queue(connector, call)
    async with office.delivering(connector, fake_options()):
        await clock.until(lambda: bool(connector.sent))
        await office.queue(connector, call_of(2))
        await clock.advance(3)
        assert len(connector.sent) == 1
        assert await office.store.resume("crm", now=clock.now())
        await clock.until(lambda: len(connector.sent) == 2, most=20)
        await clock.until(lambda: len(connector.sent) == 3)
        await clock.advance(1)
    assert await office.count(connector, State.DELIVERED) == 2


async def test_a_hold_outlives_a_restart(office: Office, clock: FakeClock) -> None:
    """A connector held before a restart is held after it: one canary goes out, the others wait."""
    connector = FakeConnector()
    Outage(connector, THROTTLE)
    await office.queue(connector, call_of(1))
    async with office.delivering(connector, fake_options()):
        await clock.until(lambda: bool(connector.sent))
    await office.queue(connector, call_of(2))
    async with office.delivering(connector, fake_options()):
        await clock.until(lambda: len(connector.sent) == 2)
        await clock.advance(10)
        await asyncio.sleep(0.05)
        await clock.advance(10)
        assert len(connector.sent) == 2
        await clock.until(lambda: len(connector.sent) == 3)


async def test_five_failures_of_different_calls_hold_the_connector(office: Office, clock: FakeClock) -> None:
    """When every call fails it is not the calls: the fifth in a row holds the connector."""
    connector, calls = FakeConnector(), [call_of(number) for number in range(10)]
    outage = Outage(connector, RETRY)
    await office.queue(connector, *calls)
    async with office.delivering(connector, fake_options(workers=1, schedule=(Duration(600),) * 3)):
        await clock.until(lambda: len(connector.sent) >= 5)
        await true(lambda: held(office))
        await clock.advance(20)
        await asyncio.sleep(0.05)
        assert len(connector.sent) == 5
        assert (await office.store.holds())["crm"].reason.startswith("5 different calls failed in a row")
        outage.over = True
        await clock.until(lambda: len(connector.sent) >= 15)
        await clock.advance(2)
    assert await office.count(connector, State.DELIVERED) == 10


async def test_a_call_that_the_crm_cannot_stand_does_not_hold_it_for_ever(
    office: Office, clock: FakeClock
) -> None:
    """A call that is always answered 503 while others pass runs out of attempts in the end."""
    connector, bad = FakeConnector(), call_of(0)
    sick = Outcome(kind=OutcomeKind.THROTTLE, reason="answered 503 Service Unavailable", http_status=503)
    connector.outcome = lambda delivery: (
        sick if delivery.linkedid == bad.linkedid else Outcome(kind=OutcomeKind.OK, reason="taken")
    )
    await office.queue(connector, bad)
    async with office.delivering(connector, fake_options(schedule=(Duration(1),))):
        for number in range(1, 8):
            await office.queue(connector, call_of(number))
            await clock.until(lambda n=number: len(set(connector.linkedids)) > n)  # type: ignore[misc]
            await clock.advance(40)
            await asyncio.sleep(0.02)
        await clock.until(lambda: stands(office, bad, State.DEAD))
    assert (await office.delivery(bad)).reason == "out of attempts: answered 503 Service Unavailable"
    assert await office.count(connector, State.DELIVERED) == 7


async def test_a_strand_keeps_its_order(live: Office, crm: CrmServer) -> None:
    """Calls of one number arrive in the order of their start, one after the other, however many workers there are."""
    connector = WebhookConnector("crm", webhook_options(crm.url))
    calls = [call_of(number) for number in range(12)]
    crm.pause = 0.005
    await live.queue(connector, *reversed(calls), strand="+12025550143")
    async with live.delivering(connector, webhook_options(crm.url, workers=8)):
        await true(lambda: len(crm.received) == 12)
    assert crm.linkedids() == [call.linkedid for call in calls]
    assert crm.most_at_once == 1


async def test_different_numbers_go_in_parallel(live: Office, crm: CrmServer) -> None:
    """Workers serve different numbers at once, and no more of them than there are workers."""
    options = webhook_options(crm.url, workers=3)
    connector = WebhookConnector("crm", options)
    crm.pause = 0.1
    for number in range(9):
        await live.queue(connector, call_of(number), strand=f"+1202555010{number}")
    async with live.delivering(connector, options):
        await true(lambda: len(crm.received) == 9)
    assert crm.most_at_once == 3


async def test_a_failing_call_holds_its_number_and_no_other(office: Office, clock: FakeClock) -> None:
    """Later calls of a number wait for the one that is retried; other numbers do not."""
    connector, first, second, other = FakeConnector(), call_of(1), call_of(2), call_of(3)
    connector.script.append(RETRY)
    await office.queue(connector, first, second, strand="+12025550143")
    async with office.delivering(connector, fake_options(workers=1)):
        await clock.until(lambda: len(connector.sent) == 1)
        await office.queue(connector, other, strand="+12025550199")
        await clock.until(lambda: len(connector.sent) == 4)
    assert connector.linkedids == [call.linkedid for call in (first, other, first, second)]


async def test_five_hundred_calls_arrive_once(live: Office, crm: CrmServer) -> None:
    """500 calls of 60 numbers through 4 workers: each is taken once, each number in order."""
    options = webhook_options(crm.url)
    connector = WebhookConnector("crm", options)
    for number in range(60):
        calls = [call_of(index) for index in range(number, 500, 60)]
        await live.queue(connector, *calls, strand=f"+120255501{number:02}")
    async with live.delivering(connector, options) as working:
        working.deliverer.hint()
        await true(lambda: len(crm.taken) == 500)
    assert sorted(crm.linkedids()) == sorted(call_of(number).linkedid for number in range(500))
    assert all(entry.requests == 1 for entry in crm.ledger.values())
    assert all(not request.refusal for request in crm.received)
    assert await live.count(connector, State.DELIVERED) == 500
    starts = [int(linkedid.split(".")[1]) for linkedid in crm.linkedids()]
    for number in range(60):
        mine = [start for start in starts if start % 60 == number]
        assert mine == sorted(mine)


async def test_live_calls_go_first(office: Office, clock: FakeClock) -> None:
    """A call of today goes before replayed ones that were queued earlier."""
    connector, replayed, today = FakeConnector(), [call_of(1), call_of(2)], call_of(3)
    await office.queue(connector, *replayed, lane=Lane.REPLAY)
    await office.queue(connector, today)
    async with office.delivering(connector, fake_options(workers=1)):
        await clock.until(lambda: len(connector.sent) == 3)
    assert connector.linkedids[0] == today.linkedid


async def test_a_call_whose_answer_was_lost_is_sent_again_as_the_same(live: Office, crm: CrmServer) -> None:
    """The receiver took it and the connection was cut: it goes out again under the same webhook-id."""
    options = webhook_options(
        crm.url, timeout=Duration(0.3), probe_after=Duration(0.1), schedule=(Duration(0.1),) * 3
    )
    connector, call = WebhookConnector("crm", options), call_of(1)
    crm.play(Play(how=How.RESET, takes=True))
    await live.queue(connector, call)
    async with live.delivering(connector, options):
        await true(lambda: len(crm.received) == 1)
        await true(lambda: stands(live, call, State.UNCERTAIN))
        await true(lambda: stands(live, call, State.DELIVERED))
    [(webhook_id, entry)] = crm.ledger.items()
    assert (entry.requests, entry.duplicates, len(entry.bodies)) == (2, 1, 1)
    assert webhook_id == crm.received[0].id == crm.received[1].id
    assert crm.received[0].timestamp <= crm.received[1].timestamp


async def test_nothing_uncertain_is_sent_again_too_early(office: Office, clock: FakeClock) -> None:
    """An uncertain call waits for the time-out and `probe_after` since its attempt began, and counts."""
    connector, call = FakeConnector(), call_of(1)
    connector.script.append(UNCERTAIN)
    await office.queue(connector, call)
    options = fake_options(schedule=(Duration(1),), timeout=Duration(20), probe_after=Duration(10))
    async with office.delivering(connector, options):
        await clock.until(lambda: len(connector.sent) == 1)
        began = clock.now()
        await clock.until(lambda: len(connector.sent) == 2)
        assert clock.now() - began >= 29 * SECOND
    assert (await office.delivery(call)).state is State.DELIVERED


async def test_an_uncertain_call_may_be_parked(office: Office, clock: FakeClock) -> None:
    """With `on_uncertain: park` a person decides; nothing is sent again by itself."""
    connector, call = FakeConnector(), call_of(1)
    connector.script.append(UNCERTAIN)
    await office.queue(connector, call)
    async with office.delivering(connector, fake_options(on_uncertain="park")):
        await clock.until(lambda: stands(office, call, State.DEAD))
        await clock.advance(3600)
        await asyncio.sleep(0.02)
    assert len(connector.sent) == 1
    reason = "outcome unknown; look in the CRM, then retry or discard (no complete answer within 20 s)"
    assert (await office.delivery(call)).reason == reason


async def test_uncertain_calls_run_out_of_attempts_too(office: Office, clock: FakeClock) -> None:
    """A call whose answer never comes is not sent for ever."""
    connector, call = FakeConnector(), call_of(1)
    connector.outcome = lambda _: UNCERTAIN
    await office.queue(connector, call)
    async with office.delivering(connector, fake_options(schedule=(Duration(1),) * 2)):
        await clock.until(lambda: stands(office, call, State.DEAD))
    assert len(connector.sent) == 3
    assert (await office.delivery(call)).reason.startswith("out of attempts: outcome unknown")


@pytest.mark.parametrize("took_it", [True, False])
async def test_a_receiver_with_a_look_up_gets_each_call_once(
    live: Office, crm: CrmServer, took_it: bool
) -> None:
    """The connection was cut: the receiver is asked by `lookup_url`, and sent the call again only if it has not
    got it, which it must say twice."""
    options = webhook_options(
        crm.url,
        lookup_url=crm.lookup_url,
        timeout=Duration(0.3),
        probe_after=Duration(0.1),
        schedule=(Duration(0.1),) * 3,
    )
    connector, call = WebhookConnector("crm", options), call_of(1)
    crm.play(Play(how=How.RESET, takes=took_it))
    await live.queue(connector, call)
    async with live.delivering(connector, options):
        await true(lambda: stands(live, call, State.DELIVERED))
    [entry] = crm.ledger.values()
    assert (entry.taken, entry.duplicates) == (1, 0)
    assert entry.requests == (1 if took_it else 2)
    assert len(crm.asked) == (1 if took_it else 2)


async def test_a_crm_that_has_the_call_is_not_sent_it_again(office: Office, clock: FakeClock) -> None:
    """Where the CRM can be asked, an uncertain call is asked about, and found."""
    connector, call = FakeConnector(can_probe=True), call_of(1)
    connector.script.append(UNCERTAIN)
    connector.probes.append(Probe.DONE)
    await office.queue(connector, call)
    async with office.delivering(connector, fake_options()):
        await clock.until(lambda: len(connector.asked) == 1)
        await clock.advance(60)
        await asyncio.sleep(0.02)
    assert len(connector.sent) == 1
    record = await office.delivery(call)
    assert (record.state, record.reason) == (State.DELIVERED, "found in the CRM")


async def test_a_parked_call_that_the_crm_has_is_not_sent_by_a_retry(
    office: Office, clock: FakeClock
) -> None:
    """A person retries what nobody knows the outcome of: the CRM is asked, has it, and gets it no second time."""
    connector, call = FakeConnector(can_probe=True), call_of(1)
    connector.script.append(UNCERTAIN)
    connector.probes.append(Probe.UNKNOWN)
    await office.queue(connector, call)
    async with office.delivering(connector, fake_options(on_uncertain="park")):
        await clock.until(lambda: counted(office, connector, State.DEAD))
        connector.probes.append(Probe.DONE)
        dead = await office.delivery(call)
        assert (
            await office.store.retry(
                {dead.delivery_id: None}, by="cli:anna", now=clock.now(), askable=["crm"]
            )
            == {}
        )
        await clock.until(lambda: counted(office, connector, State.DELIVERED))
    assert len(connector.sent) == 1
    assert len(connector.asked) == 2


async def counted(office: Office, connector: FakeConnector, state: State) -> bool:
    return await office.count(connector, state) == 1


async def test_absent_must_be_seen_twice(office: Office, clock: FakeClock) -> None:
    """A CRM may be slow to show a call: it is asked twice before the call is sent again."""
    connector, call = FakeConnector(can_probe=True), call_of(1)
    asked_before: list[int] = []

    def outcome(_: Delivery) -> Outcome:
        asked_before.append(len(connector.asked))
        return UNCERTAIN if len(asked_before) == 1 else OK

    connector.outcome = outcome
    connector.probes.extend([Probe.ABSENT, Probe.ABSENT])
    await office.queue(connector, call)
    async with office.delivering(connector, fake_options()):
        await clock.until(lambda: len(connector.sent) == 2)
        await clock.advance(1)
    assert asked_before == [0, 2]
    assert (await office.delivery(call)).state is State.DELIVERED


async def test_a_question_that_could_not_be_asked_is_asked_again(office: Office, clock: FakeClock) -> None:
    """Throttled while asking: the connector is held, the call stays uncertain, and costs no attempt."""
    connector, call = FakeConnector(can_probe=True), call_of(1)
    connector.script.append(UNCERTAIN)
    connector.probes.extend([THROTTLE, Probe.DONE])
    await office.queue(connector, call)
    async with office.delivering(connector, fake_options(schedule=())):
        await clock.until(lambda: len(connector.asked) == 1)
        await true(lambda: held(office))
        await clock.until(lambda: len(connector.asked) == 2)
        await clock.advance(1)
    assert len(connector.sent) == 1
    assert (await office.delivery(call)).state is State.DELIVERED
    assert await office.store.holds() == {}


async def test_what_a_dead_process_was_sending_is_resolved(office: Office, clock: FakeClock) -> None:
    """After a crash, what was being sent is asked about before it is sent again, and not before it can be known."""
    connector, call = FakeConnector(can_probe=True), call_of(1)
    began = clock.now()
    connector.probes.append(Probe.DONE)
    await office.queue(connector, call)
    assert len(await office.store.claim("crm", 1, now=clock.now(), order_patience=900)) == 1
    assert await office.store.recover(now=clock.now()) == 1
    async with office.delivering(connector, fake_options()):
        await clock.until(lambda: len(connector.asked) == 1)
        assert clock.now() - began >= 30 * SECOND  # timeout 20 s + probe_after 10 s
        await clock.advance(1)
    assert connector.sent == []
    assert (await office.delivery(call)).state is State.DELIVERED


async def test_stopping_lets_what_is_in_flight_finish(live: Office, crm: CrmServer) -> None:
    """A stop claims nothing more, and waits for the answer of what was sent."""
    options = webhook_options(crm.url, workers=1)
    connector = WebhookConnector("crm", options)
    crm.pause = 0.2
    await live.queue(connector, call_of(1), call_of(2))
    async with live.delivering(connector, options):
        await true(lambda: crm.at_once == 1)
    assert len(crm.received) == 1
    assert await live.count(connector, State.DELIVERED) == 1
    assert await live.count(connector, State.PENDING) == 1


async def test_after_the_deadline_what_has_left_is_uncertain(live: Office, crm: CrmServer) -> None:
    """A request that may have arrived when the daemon gives up waiting is not taken for unsent."""
    options = webhook_options(crm.url)
    connector, call = WebhookConnector("crm", options), call_of(1)
    crm.play(Play(how=How.HANG))
    await live.queue(connector, call)
    async with live.delivering(connector, options, shutdown_deadline=0.05):
        await true(lambda: len(crm.received) == 1)
    record = await live.delivery(call)
    assert record.state is State.UNCERTAIN
    assert record.reason.startswith("celreplay stopped while sending it, after the request had left")


async def test_after_the_deadline_what_never_left_is_given_back(live: Office) -> None:
    """A claim still connecting when the daemon gives up waiting is pending again, with no attempt lost."""
    with full_backlog() as port:
        options = webhook_options(f"http://127.0.0.1:{port}/")
        connector, call = WebhookConnector("crm", options), call_of(1)
        await live.queue(connector, call)
        async with live.delivering(connector, options, shutdown_deadline=0.05):
            await true(lambda: stands(live, call, State.SENDING))
    record = await live.delivery(call)
    assert (record.state, record.attempts) == (State.PENDING, 0)
    assert record.reason == "not sent: celreplay stopped"


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A port on which connections are neither accepted nor refused."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = sockets.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def test_what_the_crm_has_taken_is_stored_whatever_ends_the_daemon(
    live: Office, tmp_path: Path
) -> None:
    """Cancelled while the store is busy: the ends of the attempts are waited for, stored and told."""
    connector = FakeConnector()
    await live.queue(connector, call_of(1), call_of(2))
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite")) as other, capture_logs() as logs:

        def outcome(_: Delivery) -> Outcome:
            if not other.in_transaction:
                other.execute("BEGIN IMMEDIATE")
            return OK

        connector.outcome = outcome
        async with live.delivering(connector, fake_options(workers=2)) as working:
            await true(lambda: len(connector.sent) == 2)
            await asyncio.sleep(0.05)
            working.task.cancel()
            await asyncio.sleep(0.05)
            working.task.cancel()
            other.rollback()
            with contextlib.suppress(asyncio.CancelledError):
                await working.task
            working.task = asyncio.create_task(asyncio.sleep(0))
    told = [
        log["linkedid"] for log in logs if log["event"] == "delivery.attempt" and log["state"] == "delivered"
    ]
    assert sorted(told) == [call_of(1).linkedid, call_of(2).linkedid]
    assert await live.count(connector, State.DELIVERED) == 2


async def test_a_cancelled_deliverer_leaves_nothing_in_sending(live: Office, crm: CrmServer) -> None:
    """Cancelled from outside, its claims are settled before it ends."""
    options = webhook_options(crm.url)
    connector = WebhookConnector("crm", options)
    crm.default = Play(how=How.HANG)
    await live.queue(connector, *(call_of(number) for number in range(6)))
    with contextlib.suppress(asyncio.CancelledError):
        async with live.delivering(connector, options) as working:
            await true(lambda: len(crm.received) == 4)
            working.task.cancel()
            await asyncio.wait([working.task])
    assert await live.count(connector, State.SENDING) == 0
    assert await live.count(connector, State.UNCERTAIN) == 4
    assert await live.count(connector, State.PENDING) == 2


async def test_a_store_that_fails_is_waited_for(tmp_path: Path) -> None:
    """A locked store loses nothing and sends nothing twice: said once, and again when it works."""
    store = SqliteStore.open(tmp_path / "store.sqlite", system="office", busy_timeout=0.02)
    office, connector, call = Office(store, SystemClock()), FakeConnector(), call_of(1)
    await office.queue(connector, call)
    locker = sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)

    def lock(_: Delivery) -> Outcome:
        locker.execute("BEGIN IMMEDIATE")
        return Outcome(kind=OutcomeKind.OK, reason="taken")

    connector.outcome = lock
    with capture_logs() as logs, contextlib.closing(locker):
        async with office.delivering(connector, fake_options()):
            await true(lambda: any(log["event"] == "delivery.store_failed" for log in logs))
            await asyncio.sleep(0.1)
            locker.execute("ROLLBACK")
            await true(lambda: stands(office, call, State.DELIVERED))
    assert len(connector.sent) == 1
    assert [log["log_level"] for log in logs if log["event"] == "delivery.store_failed"] == ["error"]
    assert [log["event"] for log in logs if log["event"] == "delivery.store_works"] == [
        "delivery.store_works"
    ]
    await store.aclose()


async def test_a_later_attempt_resumes_after_the_checkpoint(office: Office, clock: FakeClock) -> None:
    """A checkpoint is stored before the exchange goes on, and handed to the next attempt."""
    connector, call = FakeConnector(), call_of(1)
    connector.checkpoint = b"activity 17"
    connector.script.append(RETRY)
    await office.queue(connector, call)
    async with office.delivering(connector, fake_options()):
        await clock.until(lambda: len(connector.sent) == 2)
        await clock.advance(1)
    assert [delivery.checkpoint for delivery in connector.sent] == [b"", b"activity 17"]
    assert [delivery.attempt for delivery in connector.sent] == [1, 2]


async def test_state_is_stored_before_the_next_request_leaves(live: Office, crm: CrmServer) -> None:
    """A rotated token must not be lost: it is on disk when the request that used it up is on its way."""
    connector, call = FakeConnector(), call_of(1)
    connector.state_change = {"token": "second"}
    connector.request = lambda delivery: Request(method="POST", url=crm.url, body=delivery.payload)
    await live.queue(connector, call)
    async with live.delivering(connector, fake_options(), shutdown_deadline=0.05):
        await true(lambda: len(crm.received) == 1)
        assert await live.store.connector_state("crm") == {"token": "second"}


async def test_deliveries_may_go_in_batches(office: Office, clock: FakeClock) -> None:
    """A connector that takes several deliveries at once gets them in one exchange; each has its own outcome."""
    connector, calls = FakeConnector(batch_size=3), [call_of(number) for number in range(5)]
    connector.script.extend([Outcome(kind=OutcomeKind.OK, reason="taken"), REFUSED])
    await office.queue(connector, *calls)
    async with office.delivering(connector, fake_options(workers=2)):
        await clock.until(lambda: len(connector.sent) == 5)
        await clock.advance(1)
    assert [len(batch) for batch in connector.batches] == [3, 2]
    assert (await office.delivery(calls[1])).state is State.DEAD
    assert await office.count(connector, State.DELIVERED) == 4


async def test_an_attempt_is_one_line_in_the_log(office: Office, clock: FakeClock) -> None:
    """One wide event for each attempt: a good one is information, a failed one a warning."""
    connector, call = FakeConnector(), call_of(1)
    connector.script.append(RETRY)
    await office.queue(connector, call)
    with capture_logs() as logs:
        async with office.delivering(connector, fake_options()):
            await clock.until(lambda: len(connector.sent) == 2)
            await clock.advance(1)
    assert [(log["event"], log["log_level"], log["outcome"], log["attempt"]) for log in logs] == [
        ("delivery.attempt", "warning", "retry", 1),
        ("delivery.attempt", "info", "ok", 2),
    ]
    assert (logs[0]["connector"], logs[0]["linkedid"], logs[0]["part"]) == ("crm", call.linkedid, "call")
    assert logs[0]["http_status"] == 500
    assert logs[0]["next_at"] is not None


async def test_a_forced_call_says_so(live: Office, crm: CrmServer) -> None:
    """A call sent again on request has the same webhook-id and a header that tells why."""
    options = webhook_options(crm.url)
    connector, call = WebhookConnector("crm", options), call_of(1)
    await live.queue(connector, call)
    async with live.delivering(connector, options) as working:
        await true(lambda: len(crm.received) == 1)
        await true(lambda: stands(live, call, State.DELIVERED))
        await live.queue(connector, call, force=Force.YES)
        working.deliverer.hint()
        await true(lambda: len(crm.received) == 2)
    assert [request.headers.get("celreplay-attempt") for request in crm.received] == [None, "forced"]
    assert len(crm.ledger) == 1


async def test_a_claim_cut_off_while_it_is_made_is_given_back(live: Office) -> None:
    """Cancelled in the middle of claiming: what the store has handed out by then waits again."""
    connector, call = FakeConnector(), call_of(1)
    await live.queue(connector, call)
    with contextlib.closing(sqlite3.connect(live.store.path, isolation_level=None)) as locker:
        locker.execute("BEGIN IMMEDIATE")
        with contextlib.suppress(asyncio.CancelledError):
            async with live.delivering(connector, fake_options()) as working:
                await asyncio.sleep(0.05)
                working.task.cancel()
                await asyncio.sleep(0.05)
                locker.execute("ROLLBACK")
                await asyncio.wait([working.task])
    await live.queue(connector, call_of(2))  # the store has done by now what it was told before
    assert connector.sent == []
    assert (await live.delivery(call)).state is State.PENDING


async def test_what_was_claimed_while_a_hold_began_is_given_back(live: Office, crm: CrmServer) -> None:
    """A hold that begins while the next call is being claimed keeps that call from going out."""
    options = webhook_options(crm.url)
    connector, first, second = WebhookConnector("crm", options), call_of(1), call_of(2)
    crm.play(Play(503))
    crm.pause = 0.3
    await live.queue(connector, first)
    with contextlib.closing(sqlite3.connect(live.store.path, isolation_level=None)) as locker:
        async with live.delivering(connector, options) as working:
            await true(lambda: crm.at_once == 1)
            await live.queue(connector, second)
            locker.execute("BEGIN IMMEDIATE")
            working.deliverer.hint()
            await true(lambda: crm.at_once == 0)
            await asyncio.sleep(0.05)
            locker.execute("ROLLBACK")
            await true(lambda: stands(live, first, State.PENDING))
            await true(lambda: stands(live, second, State.PENDING))
    assert crm.linkedids() == [first.linkedid]
    record = await live.delivery(second)
    assert (record.reason, record.attempts) == ("not sent: the connector has just been held", 0)


async def test_a_clock_that_is_set_back_lengthens_no_wait(office: Office, clock: FakeClock) -> None:
    """A retry due in a minute comes after a minute, and a canary in its time, though the clock was set back by an
    hour in between; what is told stands in the log."""
    connector, call, other = FakeConnector(), call_of(1), call_of(2)
    fine = Outcome(kind=OutcomeKind.OK, reason="answered 200 OK")
    connector.script.extend([RETRY, fine, THROTTLE])
    keeper = Keeper(office.store, clock, RetentionConfig(), longest_wait=86_400.0)
    watching = asyncio.create_task(keeper.watch())
    await office.queue(connector, call)
    async with office.delivering(connector, fake_options(schedule=(Duration(60),), workers=1)):
        await clock.until(lambda: len(connector.sent) == 1)
        with capture_logs() as logs:
            clock.jump(-3600)
            await clock.until(lambda: len(connector.sent) == 2, most=90)
        assert [entry["seconds"] for entry in logs if entry["event"] == "clock.set_back"] == [3600.0]
        await office.queue(connector, other)
        await clock.until(lambda: len(connector.sent) == 3)
        clock.jump(-7200)
        await clock.until(lambda: len(connector.sent) == 4, most=60)
        await clock.until(lambda: stands(office, other, State.DELIVERED), most=30)
    watching.cancel()
    assert await office.store.holds() == {}
