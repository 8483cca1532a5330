"""A table on a bad day: rows that come late, ids that are missing, tables that are emptied, moved or put back."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from live_tables import ALL, ANSWERED, OTHERS, WITHOUT_ID, Table, Watch
from structlog.testing import capture_logs

from celreplay.following.gaps import PATIENCE


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


async def test_a_row_committed_late_under_a_lower_id_is_read(watch: Watch) -> None:
    """Two writers: the one with the higher id commits first; the call still has all of its rows."""
    await watch.happens(OTHERS[0])
    await watch.start()
    first = max(await watch.table.ids()) + 1
    call = watch.begins(ANSWERED)
    rows, late = list(call.rows), 4
    ids = list(range(first, first + len(rows)))
    await watch.table.write([row for place, row in enumerate(rows) if place != late],
                            [id_ for place, id_ in enumerate(ids) if place != late])  # fmt: skip
    await watch.read()
    await watch.table.write([rows[late]], [ids[late]])
    await watch.settle()
    assert await watch.stored([call]) == await watch.expected(call)
    assert await watch.queued() == [call.linkedid]


async def test_a_gap_that_was_open_at_a_crash_is_looked_at_again(watch: Watch) -> None:
    """The row comes while nobody reads; after the start it is there, and nothing is taken twice."""
    await watch.happens(OTHERS[0])
    await watch.start()
    first = max(await watch.table.ids()) + 1
    done, call = watch.begins(OTHERS[1]), watch.begins(ANSWERED)
    ids = list(range(first, first + len(call.rows) + len(done.rows)))
    await watch.table.write([*call.rows[:2], *call.rows[3:-1]], [*ids[:2], *ids[3 : len(call.rows) - 1]])
    await watch.table.write(done.rows, ids[len(call.rows) :])
    await watch.settle()
    await watch.stop()
    await watch.table.write([call.rows[2], call.rows[-1]], [ids[2], ids[len(call.rows) - 1]])
    await watch.start()
    await watch.settle()
    assert await watch.stored([call, done]) == await watch.expected(call, done)
    assert await watch.queued() == sorted([call.linkedid, done.linkedid])


async def test_after_a_start_a_call_with_a_gap_in_it_gets_the_grace_once_more(watch: Watch) -> None:
    """By its time its grace is over when it is read, but a row of it is on its way: it is not sent without it."""
    await watch.happens(OTHERS[0])
    await watch.start()
    await watch.settle()
    await watch.stop()
    first = max(await watch.table.ids()) + 1
    call = watch.begins(ANSWERED)
    rows, late = list(call.rows), 4
    ids = list(range(first, first + len(rows)))
    await watch.table.write([row for place, row in enumerate(rows) if place != late],
                            [id_ for place, id_ in enumerate(ids) if place != late])  # fmt: skip
    await watch.clock.sleep(600)
    await watch.start()
    with capture_logs() as logs:
        await watch.read()
        assert await watch.queued() == []
        await watch.table.write([rows[late]], [ids[late]])
        await watch.settle()
    assert await watch.queued() == [call.linkedid]
    assert await watch.stored([call]) == await watch.expected(call)
    assert "tail.call_changed" not in [entry["event"] for entry in logs]


async def test_an_id_that_never_comes_is_given_up(watch: Watch) -> None:
    """A rolled back INSERT leaves a hole for ever: it is asked for a minute, then never again."""
    await watch.happens(OTHERS[0])
    await watch.start()
    last = max(await watch.table.ids())
    call = watch.begins(ANSWERED)
    await watch.table.write(call.rows, range(last + 2, last + 2 + len(call.rows)))
    with capture_logs() as logs:
        await watch.settle()
        assert watch.tail.trace.gap == last + 1
        await watch.clock.sleep(PATIENCE / 1_000_000)
        await watch.read()
        assert watch.tail.trace.gap is None
    assert await watch.queued() == [call.linkedid]
    assert [entry for entry in logs if entry["log_level"] != "info"] == []


async def test_ids_in_steps_of_three_are_followed_silently(watch: Watch) -> None:
    """A Galera cluster counts in steps: holes everywhere, nothing said, and few of them remembered."""
    await watch.happens(OTHERS[0])
    await watch.start(page=50)
    place = max(await watch.table.ids()) + 3
    calls = []
    with capture_logs() as logs:
        for number in range(40):
            call = watch.begins(OTHERS[number % len(OTHERS)])
            await watch.table.write(call.rows, range(place, place + 3 * len(call.rows), 3))
            place += 3 * len(call.rows)
            calls.append(call)
            await watch.clock.sleep(30)
            await watch.read()
        await watch.settle()
    assert await watch.stored(calls) == await watch.expected(*calls)
    assert [entry for entry in logs if entry["log_level"] != "info"] == []


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
async def test_two_transactions_that_overtake_each_other(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """With real connections: the row of the transaction that commits last is read too."""
    watch = Watch(await Table.made(kind, request, tmp_path), tmp_path)
    table = watch.table
    await watch.start()
    call = watch.begins(ANSWERED)
    await table.write(call.rows[:4])
    async with table.open_transaction() as write:
        await write(call.rows[4])
        await table.write(call.rows[5:])
        await watch.read()
        assert watch.tail.trace.gap == 5
    await watch.settle()
    assert await watch.stored([call]) == await watch.expected(call)
    await watch.stop()


# tables without id


async def test_without_id_rows_of_one_moment_may_come_in_two_reads(no_id: Watch) -> None:
    """All rows of a call within one second, each read as it comes: none is lost, none is taken twice."""
    await no_id.happens(OTHERS[0])
    await no_id.start()
    call = no_id.begins(ANSWERED)
    await no_id.read()
    for row in call.rows:
        await no_id.table.write([row])
        await no_id.read()
    await no_id.clock.sleep(20)
    await no_id.settle()
    assert await no_id.stored([call]) == await no_id.expected(call)
    assert await no_id.queued() == [call.linkedid]


async def test_without_id_a_late_row_with_an_older_time_is_read(no_id: Watch) -> None:
    """The last minute is read again with every look."""
    await no_id.happens(OTHERS[0])
    await no_id.start()
    call = no_id.begins(ANSWERED)
    await no_id.table.write([*call.rows[:3], *call.rows[4:]])
    await no_id.clock.sleep(30)
    await no_id.read()
    await no_id.table.write([call.rows[3]])
    await no_id.settle()
    assert await no_id.stored([call]) == await no_id.expected(call)


async def test_without_id_the_first_start_begins_now(no_id: Watch) -> None:
    """Calls of the minute before are not taken for new ones."""
    await no_id.happens(OTHERS[0])
    await no_id.start()
    await no_id.settle()
    assert await no_id.queued() == []


async def test_without_id_a_backlog_in_small_pages_is_whole(no_id: Watch) -> None:
    """Written while nobody read; with more rows in a second than a page has."""
    await no_id.start()
    await no_id.stop()
    calls = []
    for other in OTHERS[:8]:
        calls.append(await no_id.happens(other))
        await no_id.clock.sleep(7)
    await no_id.start(page=5)
    await no_id.clock.sleep(60)
    await no_id.settle()
    assert await no_id.stored(calls) == await no_id.expected(*calls)
    assert await no_id.queued() == sorted(call.linkedid for call in calls)


# rows that are garbage

_TIMES = {
    "sqlite": ("NULL", "'yesterday'", "''", "x'fffe'", "'99999999999999999999'", "'-5'", "1e300"),
    "postgresql": ("NULL", "'infinity'", "'-infinity'", "'0044-03-15 BC'", "'1900-01-01'", "'9999-12-31'"),
    "mariadb": ("NULL", "'0000-00-00 00:00:00'", "'1000-01-01'", "'9999-12-31 23:59:59'"),
}


async def bear_anything(table: Table) -> None:
    """The columns take NULL."""
    if table.server == "postgresql":
        columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'cel' AND is_nullable = 'NO'"
        for (name,) in await table.execute(columns):
            if name != "id":
                await table.execute(f"ALTER TABLE cel ALTER COLUMN {name} DROP NOT NULL")
    elif table.server == "mariadb":
        types = {"eventtime": "datetime", "uniqueid": "varchar(32)", "linkedid": "varchar(32)"}
        changes = [f"MODIFY {name} {of} NULL" for name, of in types.items()]
        await table.execute(f"ALTER TABLE cel {', '.join(changes)}")


async def write_garbage(table: Table) -> None:
    """Rows with hardly a value but a time, which is none."""
    mode = "SET STATEMENT sql_mode='' FOR " if table.server == "mariadb" else ""
    insert = f"{mode}INSERT INTO cel (eventtime, eventtype, uniqueid)"
    for time in _TIMES[table.server]:
        for rest in ("''", "NULL"), ("'HANGUP'", "'garbage'"):
            await table.execute(f"{insert} VALUES ({time}, {', '.join(rest)})")


@pytest.mark.parametrize("kind", [*ALL, *WITHOUT_ID])
async def test_rows_that_are_garbage_hide_no_call(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """NULLs and times that are none, before, in the middle of and behind calls; live and as a backlog."""
    watch = Watch(await Table.made(kind, request, tmp_path), tmp_path)
    await watch.happens(OTHERS[0])
    await bear_anything(watch.table)
    await write_garbage(watch.table)
    await watch.start()
    await watch.settle()
    calls = []
    for place, other in enumerate(OTHERS[1:5]):
        await watch.clock.sleep(30)
        call = watch.begins(other)
        await watch.table.write(call.rows[:3])
        if place % 2:
            await watch.read()
        await write_garbage(watch.table)
        await watch.table.write(call.rows[3:])
        calls.append(call)
        await watch.settle()
        if place == 2:
            await watch.stop()
            await watch.start(page=5)
    await watch.clock.sleep(3600)
    await watch.settle()
    assert await watch.stored(calls) == await watch.expected(*calls)
    await watch.stop()
