"""Clocks that are wrong, are set, or change with the season: no call is closed early, late or never."""

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from fakes import FakeClock
from live_tables import ALL, ANSWERED, GRACE, OTHERS, STALE, WITHOUT_ID, Table, Watch
from structlog.testing import capture_logs

from celreplay.clock import SteadyTime, SystemClock
from celreplay.demo.data import COLUMNS, CapturedCall

HOUR = 3600
BERLIN = ZoneInfo("Europe/Berlin")
FALL_BACK = datetime(2026, 10, 25, 2, 40, tzinfo=BERLIN).timestamp()
"""02:40 of the first of the two hours."""


@pytest.fixture(params=ALL)
async def watch(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Watch]:
    watch = Watch(await Table.made(request.param, request, tmp_path), tmp_path)
    yield watch
    await watch.stop()


@pytest.fixture(params=WITHOUT_ID)
async def no_id(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Watch]:
    watch = Watch(await Table.made(request.param, request, tmp_path), tmp_path)
    yield watch
    await watch.stop()


def moved(watch: Watch, call: CapturedCall, seconds: float) -> CapturedCall:
    """The call as a PBX writes it whose clock is ahead by so much."""
    return call.beginning_at(watch.clock.now() / 1_000_000 + seconds)


@pytest.mark.parametrize("jump", [-HOUR, HOUR, -30 * 86_400, 30 * 86_400])
async def test_setting_the_clock_changes_no_grace(watch: Watch, jump: float) -> None:
    """A call that has ended is closed when the grace has really passed: not before, not an hour later."""
    await watch.start()
    await watch.read()
    call = await watch.happens(ANSWERED)
    await watch.read()
    watch.clock.jump(jump)
    await watch.clock.sleep(GRACE - 1)
    await watch.read()
    assert await watch.queued() == []
    await watch.clock.sleep(2)
    await watch.read()
    assert await watch.queued() == [call.linkedid]


@pytest.mark.parametrize("jump", [-STALE, STALE])
async def test_setting_the_clock_changes_nothing_for_calls_that_nobody_ends(
    watch: Watch, jump: float
) -> None:
    """`stale_after` is real time as well."""
    await watch.start()
    await watch.read()
    call = watch.begins(ANSWERED)
    await watch.table.write(call.rows[:6])
    await watch.read()
    watch.clock.jump(jump)
    await watch.clock.sleep(STALE - 10)
    await watch.read()
    assert await watch.queued() == []
    await watch.clock.sleep(20)
    await watch.read()
    assert await watch.queued() == [call.linkedid]


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
async def test_a_pbx_whose_clock_is_wrong_has_its_calls_in_time(watch: Watch, ahead: float) -> None:
    """And its rows from the future are told once, until they stop."""
    await watch.start()
    calls = []
    with capture_logs() as logs:
        for other in OTHERS[:3]:
            calls.append(moved(watch, other, ahead))
            await watch.table.write(calls[-1].rows)
            await watch.settle()
            assert watch.tail.open_calls == 0
            await watch.clock.sleep(60)
    assert await watch.stored(calls) == await watch.expected(*calls)
    told = [entry for entry in logs if entry["log_level"] != "info"]
    if ahead < 0:
        assert told == []
    else:
        [entry] = told
        assert entry["event"] == "tail.eventtime_in_the_future"
        assert HOUR - 5 < entry["seconds"] < HOUR + 60


async def test_a_call_from_the_future_that_is_up_over_a_restart_ends_in_time(watch: Watch) -> None:
    """Its rows are read again at the start, and count as seen then."""
    await watch.start()
    call = moved(watch, ANSWERED, HOUR)
    await watch.table.write(call.rows[:6])
    await watch.read()
    await watch.stop()
    await watch.start()
    await watch.table.write(call.rows[6:])
    await watch.settle()
    assert await watch.stored([call]) == await watch.expected(call)


async def test_one_row_of_a_wrong_time_closes_no_call_early(watch: Watch) -> None:
    """In a backlog the time goes by the rows; a single one from next year does not carry it away."""
    await watch.start()
    await watch.stop()
    call = watch.begins(ANSWERED)
    stray = [cell.replace(call.linkedid, "1795300000.99") for cell in call.rows[0]]
    stray[COLUMNS.index("eventtime")] = f"{watch.clock.now() / 1e6 + 365 * 86_400:.6f}"
    await watch.table.write([*call.rows[:6], stray, *call.rows[6:]])
    others = []
    for other in OTHERS[:3]:
        await watch.clock.sleep(60)
        others.append(await watch.happens(other))
    await watch.clock.sleep(3 * STALE)
    await watch.start(page=3)
    more = True
    while more:
        more = await watch.tail.step()
        found = await watch.store.call(call.linkedid)
        assert found is None or found.complete
    await watch.settle()
    assert await watch.stored([call, *others]) == await watch.expected(call, *others)


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
async def test_without_id_a_wrong_clock_delays_nothing(no_id: Watch, ahead: float) -> None:
    """Rows from the future are read at once, also over a restart."""
    await no_id.start()
    calls = []
    for other in OTHERS[:4]:
        calls.append(moved(no_id, other, ahead))
        await no_id.table.write(calls[-1].rows)
        await no_id.settle()
        assert no_id.tail.open_calls == 0
        await no_id.stop()
        await no_id.start()
        await no_id.clock.sleep(60)
    assert await no_id.stored(calls) == await no_id.expected(*calls)
    assert await no_id.queued() == sorted(call.linkedid for call in calls)


async def test_without_id_a_row_of_2037_hides_nothing(no_id: Watch) -> None:
    """The place is kept by the time that rows agree on, never later than now."""
    await no_id.start()
    stray = msgspec.structs.replace(OTHERS[5]).beginning_at(2_114_380_800)
    await no_id.table.write(stray.rows[:2])
    await no_id.read()
    first = await no_id.happens(OTHERS[0])
    await no_id.settle()
    await no_id.stop()
    await no_id.clock.sleep(600)
    second = await no_id.happens(OTHERS[1])
    await no_id.clock.sleep(600)
    await no_id.start()
    await no_id.settle()
    assert await no_id.queued() == sorted([first.linkedid, second.linkedid])


async def test_without_id_a_clock_set_back_hides_nothing(no_id: Watch) -> None:
    """Asterisk and celreplay on one host: the hour that is lived twice is read twice."""
    await no_id.start()
    calls = []
    for place, other in enumerate(OTHERS[:6]):
        calls.append(await no_id.happens(other))
        await no_id.settle()
        await no_id.clock.sleep(300)
        if place == 2:
            no_id.clock.jump(-HOUR)
    assert await no_id.stored(calls) == await no_id.expected(*calls)
    assert await no_id.queued() == sorted(call.linkedid for call in calls)


@pytest.mark.parametrize("kind", ["postgresql", "mariadb", *WITHOUT_ID])
async def test_the_night_of_the_clock_change_loses_no_call(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Local times run from 02:59:59 to 02:00:00 again; the calls of both hours arrive, once, as they come."""
    table = await Table.made(kind, request, tmp_path)
    table.zone = BERLIN
    watch = Watch(table, tmp_path, now=FALL_BACK)
    await watch.start()
    calls = []
    for number in range(14):
        calls.append(await watch.happens(OTHERS[number % len(OTHERS)]))
        await watch.settle()
        assert await watch.queued() == sorted(call.linkedid for call in calls)
        await watch.clock.sleep(600)
    assert await watch.stored(calls) == await watch.expected(*calls)
    await watch.stop()


def test_steady_time_goes_by_no_wall_clock() -> None:
    """It begins with the wall's time and goes on evenly."""
    clock = FakeClock()
    time = SteadyTime(clock)
    began = clock.now()
    clock.jump(-HOUR)
    assert time.now() == began
    system = SystemClock()
    assert system.monotonic() <= system.monotonic()
    assert abs(SteadyTime(system).now() - system.now()) < HOUR * 1_000_000
