"""How many requests a second a connector makes, and what its vendor may say of that."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from crm_server import CrmServer
from delivering import Office, call_of, fake_options, office_in
from fakes import FakeClock, FakeConnector
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from celreplay.connectors.base import NOT_BEFORE, OutcomeKind, Probe, Request
from celreplay.connectors.state import SharedState
from celreplay.delivery.gate import Gate, Passage
from celreplay.delivery.pacing import Bucket, Meter
from celreplay.store.base import State
from celreplay.times import SECOND
from celreplay.units import Duration

NOW = 1_795_400_000 * SECOND


@pytest.fixture
async def clock() -> FakeClock:
    return FakeClock(manual=True)


@pytest.fixture
async def office(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Office]:
    office = await office_in(tmp_path, clock)
    yield office
    await office.store.aclose()


@pytest.fixture
async def crm() -> AsyncIterator[CrmServer]:
    async with CrmServer() as server:
        yield server


@given(
    rate=st.floats(0.1, 50),
    burst=st.integers(1, 20),
    steps=st.lists(st.tuples(st.integers(-5 * SECOND, 5 * SECOND), st.integers(1, 5)), max_size=60),
)
def test_no_bucket_gives_more_than_its_rate_and_burst(
    rate: float, burst: int, steps: Sequence[tuple[int, int]]
) -> None:
    """In whatever steps one looks, also over a clock that jumps back: burst + rate x the time gone forward."""
    bucket = Bucket(rate=rate, burst=burst, level=float(burst), at=NOW)
    now, forward, taken = NOW, 0, 0
    for step, wanted in steps:
        now += step
        forward += max(0, step)
        bucket = bucket.moved(now)
        granted = min(wanted, bucket.whole)
        bucket = bucket.less(granted)
        taken += granted
    assert taken <= burst + rate * forward / SECOND + 0.01


@given(rate=st.floats(0.1, 50), burst=st.integers(1, 20))
def test_the_next_token_is_there_when_it_is_said_to_be(rate: float, burst: int) -> None:
    """Not before `ready_at`, and then at once: nobody sleeps twice for a token."""
    empty = Bucket(rate=rate, burst=burst, level=0.0, at=NOW)
    assert empty.moved(empty.ready_at - SECOND // 100).whole == 0
    assert empty.moved(empty.ready_at).whole == 1
    assert empty.less(-1).ready_at == NOW


def test_requests_are_counted_for_a_minute() -> None:
    """Those of the last sixty seconds, whatever came before."""
    meter = Meter()
    for second in (0, 0, 30, 59):
        meter.count(NOW + second * SECOND)
    assert meter.last_minute(NOW + 59 * SECOND) == 4
    assert meter.last_minute(NOW + 60 * SECOND) == 2
    assert meter.last_minute(NOW + 3600 * SECOND) == 0


def requesting(crm: CrmServer, name: str = "crm") -> FakeConnector:
    """A connector with one real request for each delivery, and for each question."""
    connector = FakeConnector(name)
    connector.request = lambda delivery: Request(method="POST", url=crm.url, body=delivery.payload)
    return connector


def gate_of(clock: FakeClock, state: SharedState | None = None, **options: float) -> Gate:
    state = state or SharedState()
    return Gate("crm", fake_options(**options), clock, lambda: state.not_before)


async def leaves(passage: Passage, clock: FakeClock, times: list[float], count: int) -> None:
    for _ in range(count):
        assert await passage.request() is None
        times.append(clock.now() / SECOND)


async def test_every_request_of_an_exchange_takes_a_permit(clock: FakeClock) -> None:
    """Three exchanges of several requests, of two workers: together no more than the rate, after the burst."""
    gate, times = gate_of(clock, rate=2.0, burst=3), list[float]()
    passages = [Passage(gate, paid=bool(gate.reserve(1))) for _ in range(2)]
    tasks = [asyncio.create_task(leaves(passage, clock, times, 4)) for passage in passages]
    await clock.until(lambda: all(task.done() for task in tasks), step=0.05)
    assert len(times) == 8
    started = times[0]
    assert [time - started < 0.1 for time in times] == [True] * 3 + [False] * 5
    assert all(0.4 < later - sooner < 0.6 for sooner, later in pairwise(times[2:]))
    assert gate.last_minute == 8


async def test_exchanges_under_way_come_before_new_ones(clock: FakeClock) -> None:
    """While a second request waits for its permit, nothing new is let in."""
    gate = gate_of(clock, rate=1.0)
    assert gate.reserve(3) == 1

    async def claims() -> int:
        await clock.sleep(1)
        return gate.reserve(1)

    claiming = asyncio.create_task(claims())
    await asyncio.sleep(0)
    under_way = asyncio.create_task(gate.enter())
    await asyncio.sleep(0)
    assert gate.waiting == 1
    await clock.advance(1)
    assert (await claiming, await under_way) == (0, None)
    assert (gate.waiting, gate.reserve(1)) == (0, 0)


async def test_a_permit_that_was_not_used_goes_back(clock: FakeClock) -> None:
    """A claim that finds nothing, and an exchange that ends without a request, cost no pace."""
    gate = gate_of(clock, rate=0.001, burst=2)
    assert gate.reserve(5) == 2
    gate.put_back(1)
    Passage(gate, paid=True).end()
    assert gate.reserve(5) == 2


async def test_a_connector_keeps_to_its_rate(office: Office, clock: FakeClock, crm: CrmServer) -> None:
    """With ten workers free, calls go out one by one, and none is claimed before it may leave."""
    connector = requesting(crm)
    await office.queue(connector, *(call_of(number) for number in range(6)))
    async with office.delivering(connector, fake_options(rate=0.1, workers=10)) as working:
        await clock.until(lambda: delivered(office, connector, 1), step=0.1)
        await clock.advance(5)
        assert await office.count(connector, State.SENDING) == 0
        assert await office.count(connector, State.PENDING) == 5
        vitals = working.deliverer.vitals()["crm"]
        assert (vitals.workers, vitals.in_flight, vitals.waiting, vitals.hold) == (10, 0, 0, None)
        assert vitals.tokens is not None
        assert 0.4 < vitals.tokens < 0.9
        assert vitals.last_minute == 1
        await clock.until(lambda: len(connector.sent) == 6)
    assert seconds_since_start(clock) >= 50


async def test_an_exchange_without_a_request_costs_no_pace(office: Office, clock: FakeClock) -> None:
    """The permit of each goes back, so that the next need not wait for a new one."""
    connector = FakeConnector()
    await office.queue(connector, *(call_of(number) for number in range(20)))
    async with office.delivering(connector, fake_options(rate=0.0001)):
        await clock.until(lambda: len(connector.sent) == 20)
    assert seconds_since_start(clock) < 10_000


async def delivered(office: Office, connector: FakeConnector, count: int) -> bool:
    return await office.count(connector, State.DELIVERED) == count


def seconds_since_start(clock: FakeClock) -> float:
    return (clock.now() - NOW) / SECOND


async def test_a_slow_connector_does_not_hold_another(
    office: Office, clock: FakeClock, crm: CrmServer
) -> None:
    """Each has a gate of its own."""
    slow, quick = requesting(crm, "slow"), requesting(crm, "quick")
    for connector in (slow, quick):
        await office.queue(connector, *(call_of(number) for number in range(10)))
    async with (
        office.delivering(slow, fake_options(rate=0.01)),
        office.delivering(quick, fake_options()),
    ):
        await clock.until(lambda: len(quick.sent) == 10)
        assert len(slow.sent) <= 1


async def test_a_vendor_that_names_a_moment_is_left_alone_until_then(
    office: Office, clock: FakeClock
) -> None:
    """A connector writes NOT_BEFORE: nothing is claimed until then, nobody is held, no attempt is burnt, also
    by a deliverer that was started meanwhile."""
    connector = FakeConnector()
    connector.state_change = {NOT_BEFORE: str(NOW + 600 * SECOND)}
    first, second = call_of(1), call_of(2)
    await office.queue(connector, first)
    async with office.delivering(connector, fake_options()):
        await clock.until(lambda: len(connector.sent) == 1)
    await office.queue(connector, second)
    async with office.delivering(connector, fake_options()) as working:
        await clock.until(lambda: seconds_since_start(clock) > 590, step=5)
        assert len(connector.sent) == 1
        assert working.deliverer.vitals()["crm"].not_before == NOW + 600 * SECOND
        assert (await office.delivery(second)).attempts == 0
        assert await office.store.holds() == {}
        await clock.until(lambda: len(connector.sent) == 2)
    assert seconds_since_start(clock) >= 600


async def test_an_exchange_does_not_stay_for_a_far_moment(clock: FakeClock) -> None:
    """A minute it waits; for longer it ends as throttled, so that its claim is not held for hours."""
    state = SharedState({NOT_BEFORE: str(NOW + 30 * SECOND)})
    gate = gate_of(clock, state)
    near = asyncio.create_task(Passage(gate, paid=False).request())
    await asyncio.sleep(0)
    await clock.advance(31)
    assert await near is None
    state[NOT_BEFORE] = str(NOW + 7200 * SECOND)
    refusal = await Passage(gate, paid=False).request()
    assert refusal is not None
    assert (refusal.kind, refusal.retry_after) == (OutcomeKind.THROTTLE, 7169.0)
    assert refusal.reason == "the CRM wants no request before 2026-11-23T04:13:20.000Z"


def test_what_a_vendor_says_is_bounded() -> None:
    """A moment beyond a day, or something that is no moment, does not stop a connector for ever."""
    clock = FakeClock()
    for value, expected in (("9" * 19, NOW + 86_400 * SECOND), ("soon", None), ("", None), ("5", None)):
        assert gate_of(clock, SharedState({NOT_BEFORE: value})).not_before == expected


async def test_the_log_tells_that_the_rate_is_too_low(
    office: Office, clock: FakeClock, crm: CrmServer
) -> None:
    """After a minute in which due calls wait for nothing but permits, once; and once more when it keeps up."""
    connector = requesting(crm)
    await office.queue(connector, *(call_of(number) for number in range(12)))
    with capture_logs() as logs:
        async with office.delivering(connector, fake_options(rate=0.1)):
            await clock.until(lambda: len(connector.sent) == 12, step=0.5)
            await clock.advance(15)
            await clock.until(lambda: any(log["event"] == "connector.keeps_up" for log in logs), step=0.5)
    told = [log for log in logs if log["event"] in {"connector.limited", "connector.keeps_up"}]
    assert [(log["event"], log["log_level"]) for log in told] == [
        ("connector.limited", "warning"),
        ("connector.keeps_up", "info"),
    ]
    assert told[0]["reason"] == "deliveries wait for the rate"


async def test_questions_take_permits_too(office: Office, clock: FakeClock, crm: CrmServer) -> None:
    """Asking whether a call arrived is a request like any other."""
    connector = requesting(crm)
    connector.can_probe = True
    connector.probes.extend([Probe.DONE] * 3)
    calls = [call_of(number) for number in range(3)]
    await office.queue(connector, *calls)
    await office.store.claim("crm", 3, now=clock.now(), order_patience=900)
    await office.store.recover(now=clock.now())
    options = fake_options(rate=0.01, timeout=Duration(1), probe_after=Duration(1))
    async with office.delivering(connector, options):
        await clock.until(lambda: len(connector.asked) == 3)
    assert seconds_since_start(clock) >= 200
