"""The tail follows a real CEL file into a real store; only the clock is a fake."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from fakes import FakeClock

from celreplay.calls.interpret import PbxRules
from celreplay.demo.data import CapturedCall, captured_calls, create_table, write_rows
from celreplay.errors import SourceError
from celreplay.health import Health
from celreplay.intake import Intake
from celreplay.sources.opening import source_of
from celreplay.store.sqlite import SqliteStore
from celreplay.tail import Tail, TailOptions
from celreplay.times import SECOND, Instant

NOW = 1_795_400_000
"""UNIX seconds at which a test begins, some hours after the captures."""
GRACE = 3.0
STALE = 3600.0


class Bench:
    """A CEL file, a store file and what the daemon would be, started anew at will."""

    def __init__(self, folder: Path) -> None:
        self.cel = folder / "cel.sqlite"
        self.store_file = folder / "store.sqlite"
        self.clock = FakeClock(Instant(NOW * SECOND))
        self.health = Health()
        create_table(self.cel)
        self.store: SqliteStore

    async def start(self, *, start: int | None = None, page: int = 2000) -> Tail:
        self.store = SqliteStore.open(self.store_file, system="pbx1")
        self.source = source_of(f"sqlite:///{self.cel}")
        options = TailOptions(grace=GRACE, stale_after=STALE, start=start, page=page)
        intake = Intake(PbxRules(system="pbx1"), {})
        return Tail(self.source, self.store, intake, self.clock, self.health, options)

    async def stop(self) -> None:
        await self.source.aclose()
        await self.store.aclose()

    def happens(self, call: CapturedCall, rows: slice = slice(None)) -> CapturedCall:
        """The rows of a call are written; it begins now."""
        moved = call.beginning_at(self.clock.now() / SECOND)
        write_rows(self.cel, moved.rows[rows])
        return moved

    async def settle(self, tail: Tail) -> None:
        """Read what is there, let the grace pass, and read again."""
        while await tail.step():
            pass
        await self.clock.sleep(GRACE + 60)
        while await tail.step():
            pass


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.stop()


ANSWERED, *OTHERS = captured_calls()


async def test_the_first_start_begins_now(bench: Bench) -> None:
    """Calls written before the first start are not delivered; later ones are."""
    old = bench.happens(ANSWERED)
    tail = await bench.start()
    await bench.settle(tail)
    new = bench.happens(OTHERS[0])
    await bench.settle(tail)
    assert await bench.store.call(old.linkedid) is None
    call = await bench.store.call(new.linkedid)
    assert call is not None
    assert call.complete


async def test_the_first_start_may_begin_at_a_date(bench: Bench) -> None:
    """With cel.start the calls since then are read."""
    old = bench.happens(ANSWERED)
    tail = await bench.start(start=(NOW - 60) * SECOND)
    await bench.settle(tail)
    assert await bench.store.call(old.linkedid) is not None


async def test_a_call_is_stored_when_its_grace_has_passed(bench: Bench) -> None:
    """Rows land late: a call that has just ended is not closed at once."""
    tail = await bench.start()
    await tail.step()
    call = bench.happens(ANSWERED)
    await tail.step()
    assert tail.open_calls == 1
    await bench.clock.sleep(GRACE - 1)
    await tail.step()
    assert await bench.store.call(call.linkedid) is None
    await bench.clock.sleep(2)
    await tail.step()
    assert await bench.store.call(call.linkedid) is not None
    assert tail.open_calls == 0


async def test_a_restart_in_the_middle_of_a_call_loses_no_row_of_it(bench: Bench) -> None:
    """Open calls are read again with all rows, those before the stored position too."""
    tail = await bench.start()
    await tail.step()
    whole = bench.happens(ANSWERED, slice(0, 6))
    await tail.step()
    await bench.stop()
    write_rows(bench.cel, whole.rows[6:])
    tail = await bench.start()
    await bench.settle(tail)
    call = await bench.store.call(whole.linkedid)
    assert call is not None
    assert call.complete
    assert call.started_at == pytest.approx(whole.times[0] * SECOND, abs=1000)


async def test_a_call_that_runs_at_the_first_start_is_read_from_its_beginning(bench: Bench) -> None:
    """Its first rows lie before the position that live reading began at."""
    whole = bench.happens(ANSWERED, slice(0, 6))
    tail = await bench.start()
    await tail.step()
    write_rows(bench.cel, whole.rows[6:])
    await bench.settle(tail)
    call = await bench.store.call(whole.linkedid)
    assert call is not None
    assert call.started_at == pytest.approx(whole.times[0] * SECOND, abs=1000)


async def test_the_calls_of_an_hour_of_downtime_are_caught_up_with(bench: Bench) -> None:
    """What was written while celreplay was off arrives after the start, without anybody's doing."""
    tail = await bench.start()
    await tail.step()
    await bench.stop()
    written = []
    for call in OTHERS[:6]:
        await bench.clock.sleep(600)
        written.append(bench.happens(call))
    tail = await bench.start()
    await bench.settle(tail)
    assert [await bench.store.call(call.linkedid) is not None for call in written] == [True] * 6


async def test_catching_up_in_small_pages_closes_no_call_too_early(bench: Bench) -> None:
    """A call whose rows lie on several pages of an old time is not taken for one that nobody ended."""
    tail = await bench.start()
    await tail.step()
    await bench.stop()
    written = [bench.happens(call) for call in OTHERS[:8]]
    await bench.clock.sleep(STALE * 3)
    tail = await bench.start(page=3)
    await bench.settle(tail)
    calls = [await bench.store.call(call.linkedid) for call in written]
    assert [call is not None and call.complete for call in calls] == [True] * 8


async def test_a_call_nobody_ended_is_closed_as_incomplete(bench: Bench) -> None:
    """Asterisk died in the call: after `stale_after` it is stored, and says that it is incomplete."""
    tail = await bench.start()
    await tail.step()
    call = bench.happens(ANSWERED, slice(0, 6))
    await tail.step()
    await bench.clock.sleep(STALE - 60)
    await tail.step()
    assert await bench.store.call(call.linkedid) is None
    await bench.clock.sleep(120)
    await tail.step()
    stored = await bench.store.call(call.linkedid)
    assert stored is not None
    assert not stored.complete


async def test_a_late_row_of_a_finished_call_makes_no_second_call(bench: Bench) -> None:
    """The call is read again as a whole under its own linkedid."""
    tail = await bench.start()
    await tail.step()
    whole = bench.happens(ANSWERED, slice(0, len(ANSWERED.rows)))
    await bench.settle(tail)
    before = await bench.store.call(whole.linkedid)
    write_rows(bench.cel, whole.rows[-1:])
    await bench.settle(tail)
    assert before is not None
    assert await bench.store.call(whole.linkedid) == before


async def test_a_table_that_counts_anew_is_noticed(bench: Bench) -> None:
    """Emptied and filled again, its ids start at 1: the tail goes on by the time, it does not wait."""
    tail = await bench.start()
    await tail.step()
    first = bench.happens(ANSWERED)
    await bench.settle(tail)
    with closing(sqlite3.connect(bench.cel)) as database, database:
        database.execute("DELETE FROM cel")
    await bench.clock.sleep(600)
    second = bench.happens(OTHERS[0], slice(0, 4))
    third = bench.happens(OTHERS[1])
    await bench.settle(tail)
    await bench.settle(tail)
    assert await bench.store.call(first.linkedid) is not None
    assert await bench.store.call(third.linkedid) is not None
    write_rows(bench.cel, second.rows[4:])
    await bench.settle(tail)
    assert await bench.store.call(second.linkedid) is not None


async def test_a_database_that_is_away_is_waited_for(bench: Bench) -> None:
    """Health is red meanwhile; afterwards nothing is missing."""
    tail = await bench.start()
    await tail.step()
    away = bench.cel.with_suffix(".away")
    call = bench.happens(ANSWERED)
    bench.cel.rename(away)
    with pytest.raises(SourceError, match=r"cel\.sqlite"):
        await tail.step()
    away.rename(bench.cel)
    await bench.settle(tail)
    assert await bench.store.call(call.linkedid) is not None


async def test_rows_that_are_garbage_stop_nobody(bench: Bench) -> None:
    """A row of NULLs, of bytes that are no text and of no time at all: the call behind it arrives."""
    tail = await bench.start()
    await tail.step()
    with closing(sqlite3.connect(bench.cel)) as database, database:
        database.execute("INSERT INTO cel DEFAULT VALUES")
        database.execute(
            "INSERT INTO cel (eventtype, eventtime, uniqueid, linkedid, cidname, eventextra)"
            " VALUES ('NEWS', 'yesterday', x'fffe', '', x'ff', '{\"cut')"
        )
    call = bench.happens(ANSWERED)
    await bench.settle(tail)
    assert await bench.store.call(call.linkedid) is not None


async def test_a_late_row_that_ends_nothing_is_seen_after_the_grace(bench: Bench) -> None:
    """It belongs to a call that has finished: the call is read again as a whole, not after `stale_after`."""
    tail = await bench.start()
    await tail.step()
    middle = next(n for n, row in enumerate(ANSWERED.rows) if "ANSWER" in row)
    whole = bench.happens(ANSWERED, slice(0, middle))
    write_rows(bench.cel, whole.rows[middle + 1 :])
    await bench.settle(tail)
    before = await bench.store.call(whole.linkedid)
    write_rows(bench.cel, whole.rows[middle : middle + 1])
    await bench.settle(tail)
    after = await bench.store.call(whole.linkedid)
    assert before is not None
    assert after is not None
    assert before.revision != after.revision
    assert tail.open_calls == 0


async def test_a_call_that_had_begun_before_the_first_start_is_looked_up_once(bench: Bench) -> None:
    """Its head is fetched after the grace; it stays open until it ends, and comes whole."""
    whole = bench.happens(ANSWERED, slice(0, 3))
    tail = await bench.start()
    await tail.step()
    write_rows(bench.cel, whole.rows[3:5])
    await bench.settle(tail)
    assert tail.open_calls == 1
    assert await bench.store.call(whole.linkedid) is None
    write_rows(bench.cel, whole.rows[5:])
    await bench.settle(tail)
    call = await bench.store.call(whole.linkedid)
    assert call is not None
    assert call.started_at // SECOND == int(float(whole.linkedid))
    assert not call.warnings
