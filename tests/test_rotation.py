"""The table is purged, emptied, moved away, put back or numbered anew under the tail: nothing lost, nothing twice."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from live_tables import ALL, ANSWERED, OTHERS, Table, Watch
from structlog.testing import capture_logs

from celreplay.demo.data import CapturedCall
from celreplay.errors import SourceError


@pytest.fixture(params=ALL)
async def watch(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Watch]:
    watch = Watch(await Table.made(request.param, request, tmp_path), tmp_path)
    yield watch
    await watch.stop()


@pytest.fixture
async def postgresql_watch(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Watch]:
    watch = Watch(await Table.made("postgresql", request, tmp_path), tmp_path)
    yield watch
    await watch.stop()


def told(logs: list[Any]) -> list[str]:
    """The warnings, each as often as it was said."""
    return [entry["event"] for entry in logs if entry["log_level"] != "info"]


async def empty(table: Table) -> None:
    """All rows are gone and ids begin at 1 again."""
    if table.server == "sqlite":
        await table.execute("DELETE FROM cel")  # the highest row number gives the next one
    else:
        await table.execute("TRUNCATE TABLE cel" + " RESTART IDENTITY" * (table.server == "postgresql"))


async def rotate(table: Table) -> None:
    """Moved away and made anew, as logrotate or an admin does."""
    if table.server == "sqlite":
        table.path.rename(table.path.with_suffix(f".{len(list(table.path.parent.iterdir()))}"))
    else:
        await table.execute("ALTER TABLE cel RENAME TO cel_old")
        if table.server == "postgresql":
            await table.execute("ALTER SEQUENCE cel_id_seq RENAME TO cel_old_seq")
            for index in ("cel_pkey", "cel_linkedid", "cel_uniqueid", "cel_eventtime"):
                await table.execute(f"ALTER INDEX {index} RENAME TO old_{index}")
    await table.create()


async def assert_as_if_nothing_had_happened(watch: Watch, *calls: CapturedCall) -> None:
    """Each call is stored as its rows say, and queued once."""
    assert await watch.stored(calls) == await watch.expected(*calls)
    assert await watch.queued() == sorted(call.linkedid for call in calls)


async def test_a_purge_of_old_rows_is_not_noticed(watch: Watch) -> None:
    """The nightly DELETE takes what was read long ago: nothing to say."""
    await watch.start()
    first = await watch.happens(OTHERS[0])
    await watch.settle()
    second = await watch.happens(OTHERS[1])
    await watch.read()
    with capture_logs() as logs:
        oldest = len(first.rows)
        await watch.table.execute(f"DELETE FROM cel WHERE {watch.table.id_column} <= {oldest}")  # noqa: S608
        third = await watch.happens(OTHERS[2])
        await watch.settle()
    assert told(logs) == []
    await assert_as_if_nothing_had_happened(watch, first, second, third)


async def test_a_purge_of_all_that_was_read_is_told_and_passed(watch: Watch) -> None:
    """While nobody read the purge took everything up to our place, and more was written behind it."""
    await watch.start()
    first = await watch.happens(OTHERS[0])
    await watch.settle()
    await watch.stop()
    last = max(await watch.table.ids())
    await watch.clock.sleep(7 * 86_400)
    second = watch.begins(OTHERS[1])
    await watch.table.write(second.rows, range(last + 1, last + 1 + len(second.rows)))
    await watch.table.execute(f"DELETE FROM cel WHERE {watch.table.id_column} <= {last}")  # noqa: S608
    with capture_logs() as logs:
        await watch.start()
        await watch.settle()
    assert told(logs) == ["tail.rows_purged"]
    await assert_as_if_nothing_had_happened(watch, first, second)


async def test_an_emptied_table_is_told_once_while_it_is_empty(watch: Watch) -> None:
    """It waits, but not silently; the rows that come, come."""
    await watch.start()
    first = await watch.happens(OTHERS[0])
    await watch.settle()
    await empty(watch.table)
    with capture_logs() as logs:
        await watch.settle()
        await watch.settle()
        second = await watch.happens(OTHERS[1])
        await watch.settle()
    assert told(logs) == ["tail.table_is_empty", "tail.ids_started_anew"]
    await assert_as_if_nothing_had_happened(watch, first, second)


@pytest.mark.parametrize("change", [empty, rotate])
async def test_calls_that_are_up_outlive_the_change(watch: Watch, change: Any) -> None:
    """Half of their rows are in the old table and half in the new one, under the same ids."""
    await watch.start()
    first = await watch.happens(OTHERS[0])
    await watch.settle()
    calls = [watch.begins(ANSWERED), watch.begins(OTHERS[2])]
    for call in calls:
        await watch.table.write(call.rows[:5])
    await watch.read()
    await change(watch.table)
    with capture_logs() as logs:
        await watch.clock.sleep(5)
        for call in calls:
            await watch.table.write(call.rows[5:])
        await watch.settle()
    assert told(logs) == ["tail.ids_started_anew"]
    await assert_as_if_nothing_had_happened(watch, first, *calls)


@pytest.mark.parametrize("change", [empty, rotate])
async def test_a_change_while_nobody_read_is_noticed_even_behind_the_old_place(
    watch: Watch, change: Any
) -> None:
    """The new table has grown past the old place: another row has its id."""
    await watch.start()
    first = await watch.happens(OTHERS[0])
    await watch.settle()
    place = watch.tail.position.id or 0
    await watch.stop()
    await change(watch.table)
    calls: list[CapturedCall] = []
    while len(calls) < 4 or len(await watch.table.ids()) <= place:
        await watch.clock.sleep(60)
        calls.append(await watch.happens(OTHERS[1 + len(calls)]))
    with capture_logs() as logs:
        await watch.start(page=7)
        await watch.settle()
    assert told(logs) == ["tail.ids_started_anew"]
    await assert_as_if_nothing_had_happened(watch, first, *calls)


async def test_a_backup_put_back_brings_no_old_calls(watch: Watch) -> None:
    """Ids go back: the calls of before the first start and those delivered stay what they are; new ones come."""
    old = await watch.happens(OTHERS[0])
    await watch.clock.sleep(86_400)
    await watch.start()
    first = await watch.happens(OTHERS[1])
    await watch.settle()
    await watch.clock.sleep(600)
    second = await watch.happens(OTHERS[2])
    await watch.settle()
    assert old.linkedid not in await watch.queued()
    await empty(watch.table)
    with capture_logs() as logs:
        await watch.table.write([*old.rows, *first.rows])
        await watch.settle()
        third = await watch.happens(ANSWERED)
        await watch.settle()
    assert told(logs)[0] == "tail.ids_started_anew"
    assert len(told(logs)) <= 2
    await assert_as_if_nothing_had_happened(watch, first, second, third)


async def test_a_backup_that_is_filled_in_row_by_row_brings_no_old_calls(watch: Watch) -> None:
    """mysql < dump takes its time, and each look sees a part of it."""
    old = [watch.begins(call) for call in OTHERS[:6]]
    await watch.table.write([row for call in old for row in call.rows])
    await watch.clock.sleep(86_400)
    await watch.start()
    first = await watch.happens(ANSWERED)
    await watch.settle()
    rows = [row for call in [*old, first] for row in call.rows]
    await empty(watch.table)
    await watch.read()
    with capture_logs() as logs:
        for at in range(0, len(rows), 9):
            await watch.table.write(rows[at : at + 9])
            await watch.clock.sleep(2)
            await watch.read()
        await watch.stop()  # and a restart in the midst of it
        await watch.start()
        second = await watch.happens(OTHERS[7])
        await watch.settle()
    assert told(logs) == ["tail.ids_started_anew", "tail.rows_passed_over"]
    await assert_as_if_nothing_had_happened(watch, first, second)


async def test_a_row_deleted_at_the_place_loses_nothing(watch: Watch) -> None:
    """Somebody removed the very last row read, and wrote others."""
    await watch.start()
    first = await watch.happens(OTHERS[0])
    await watch.settle()
    last = max(await watch.table.ids())
    second = watch.begins(OTHERS[1])
    await watch.table.execute(f"DELETE FROM cel WHERE {watch.table.id_column} = {last}")  # noqa: S608
    await watch.table.write(second.rows, range(last + 1, last + 1 + len(second.rows)))
    await watch.settle()
    assert await watch.stored([second]) == await watch.expected(second)
    assert await watch.queued() == sorted([first.linkedid, second.linkedid])


async def test_an_sqlite_file_that_is_away_for_a_while_is_waited_for(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Asterisk makes the new file with its next reload; open calls keep their rows."""
    watch = Watch(await Table.made("sqlite", request, tmp_path), tmp_path)
    await watch.start()
    call = watch.begins(ANSWERED)
    await watch.table.write(call.rows[:6])
    await watch.read()
    watch.table.path.rename(tmp_path / "master.db.1")
    for _ in range(3):
        with pytest.raises(SourceError, match="No such file"):
            await watch.tail.step()
    await watch.table.create()
    await watch.table.write(call.rows[6:])
    await watch.settle()
    await assert_as_if_nothing_had_happened(watch, call)
    await watch.stop()


@pytest.mark.parametrize("running", [True, False])
async def test_a_sequence_set_back_is_noticed_and_read_by_time(
    postgresql_watch: Watch, running: bool
) -> None:
    """New rows have ids below all others: no query for later ids would ever find them."""
    watch, table = postgresql_watch, postgresql_watch.table
    await table.execute("ALTER SEQUENCE cel_id_seq RESTART WITH 5000")
    await watch.start()
    first = await watch.happens(OTHERS[0])
    await watch.settle()
    if not running:
        await watch.stop()
    await table.execute("ALTER SEQUENCE cel_id_seq RESTART WITH 1")
    await watch.clock.sleep(120)
    with capture_logs() as logs:
        calls = [await watch.happens(OTHERS[1])]
        if not running:
            await watch.clock.sleep(120)
            await watch.start()
        await watch.settle()
        for call in OTHERS[2:5]:
            await watch.clock.sleep(90)
            calls.append(await watch.happens(call))
            await watch.settle()
        await watch.stop()
        calls.append(await watch.happens(OTHERS[5]))
        await watch.start()
        await watch.settle()
    assert told(logs) == ["tail.ids_went_back"]
    assert watch.tail.trace.by_time
    await assert_as_if_nothing_had_happened(watch, first, *calls)
    await table.execute("SELECT setval('cel_id_seq', (SELECT MAX(id) FROM cel))")
    await watch.clock.sleep(120)
    calls.append(await watch.happens(OTHERS[6]))
    await watch.settle()
    await watch.clock.sleep(120)
    await watch.settle()
    assert not watch.tail.trace.by_time
    calls.append(await watch.happens(OTHERS[7]))
    await watch.settle()
    await assert_as_if_nothing_had_happened(watch, first, *calls)


async def test_a_sequence_set_back_in_a_table_without_key_is_noticed(postgresql_watch: Watch) -> None:
    """The documented table has no key: the new rows have ids that are there already."""
    watch, table = postgresql_watch, postgresql_watch.table
    await table.execute("ALTER TABLE cel DROP CONSTRAINT cel_pkey")
    await watch.start()
    first = await watch.happens(OTHERS[0])
    await watch.settle()
    await watch.clock.sleep(3 * 3600)
    await watch.settle()
    await table.execute("ALTER SEQUENCE cel_id_seq RESTART WITH 1")
    second = await watch.happens(OTHERS[1])
    await watch.clock.sleep(61)
    with capture_logs() as logs:
        await watch.settle()
    assert told(logs) == ["tail.ids_went_back"]
    await assert_as_if_nothing_had_happened(watch, first, second)
