"""The contract of `CelSource`, over every form of table and on real databases."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cel_tables import FORMS_READ, Form, Table, filled

from celreplay.cel.events import CelEvent
from celreplay.sources.base import Position
from celreplay.times import SECOND


@pytest.fixture(params=FORMS_READ, ids=lambda form: form.name)
async def table(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Table]:
    form: Form = request.param
    async with filled(form, request, tmp_path) as made:
        yield made


def in_order(table: Table, events: list[CelEvent]) -> list[CelEvent]:
    """Without an id the order among rows of one moment is not known."""
    return events if "id" not in table.form.drop else sorted(events, key=repr)


async def test_a_table_is_read_as_it_was_written(table: Table) -> None:
    """All rows, every field, in the order of writing."""
    rows = list(await table.source.rows_after(Position(), 10_000))
    assert len(rows) > 100
    assert in_order(table, rows) == in_order(table, table.events)


async def test_all_forms_tell_the_same_story(table: Table) -> None:
    """Event, channel, call and second do not depend on the back end."""
    rows = await table.source.rows_after(Position(), 10_000)
    reference = next(form for form in FORMS_READ if form.name == "sqlite")
    from cel_tables import expected  # noqa: PLC0415 - a helper of this test alone

    def told(event: CelEvent) -> tuple[object, ...]:
        return (event.eventtype, event.uniqueid, event.linkedid, event.eventtime // SECOND, event.cid_num)

    assert sorted(map(told, rows)) == sorted(map(told, expected(reference)))


async def test_pages_join_without_gap_or_double(table: Table) -> None:
    """Going on behind the last row gives each row once."""
    rows: list[CelEvent] = []
    position = Position()
    while page := await table.source.rows_after(position, 7):
        rows += page
        position = Position(page[-1].id, page[-1].eventtime)
    assert in_order(table, rows) == in_order(table, table.events)


async def test_rows_of_follows_channels_into_other_calls(table: Table) -> None:
    """A call is all rows that its linkedids and channels lead to, from any of its keys."""
    merged = [event for event in table.events if event.uniqueid != event.linkedid]
    key = merged[-1].uniqueid
    group, size = {key}, 0
    while len(group) != size:
        size = len(group)
        for event in table.events:
            if group & {event.linkedid, event.uniqueid}:
                group |= {event.linkedid, event.uniqueid}
    belonging = [event for event in table.events if group & {event.linkedid, event.uniqueid}]
    assert 0 < len(belonging) < len(table.events)
    assert in_order(table, list(await table.source.rows_of([key]))) == in_order(table, belonging)


async def test_ten_thousand_keys_at_once(table: Table) -> None:
    """Many keys are one look-up; the empty key and impossible ones name nothing."""
    keys = [f"1795396000.{number}" for number in range(10_000)]
    assert await table.source.rows_of([*keys, "", "\0", "\ud800", "'; --", "%s"]) == []
    every = {event.linkedid for event in table.events}
    assert len(await table.source.rows_of([*keys, *every])) == len(table.events)


async def test_a_period_gives_the_calls_that_have_a_row_in_it(table: Table) -> None:
    """Exactly the linkedids of rows in [start, end), resumable after each page."""
    times = sorted(event.eventtime for event in table.events)
    start, end = times[len(times) // 4], times[len(times) // 2]
    inside = {event.linkedid for event in table.events if start <= event.eventtime < end}
    pages = [page async for page in table.source.linkedids_between(start, end)]
    assert {linkedid for page in pages for linkedid in page.linkedids} == inside
    again = [page async for page in table.source.linkedids_between(start, end, pages[-1].last)]
    assert not [linkedid for page in again for linkedid in page.linkedids]
    assert not [
        linkedid
        async for page in table.source.linkedids_between(times[-1] + SECOND, times[-1] + 9 * SECOND)
        for linkedid in page.linkedids
    ]


async def test_a_position_is_before_every_row_of_its_instant(table: Table) -> None:
    """Nothing at or after the instant is at or before the position."""
    times = sorted(event.eventtime for event in table.events)
    for instant in (times[0], times[len(times) // 2], times[-1] + 9 * 3600 * SECOND):
        position = await table.source.position_before(instant)
        behind = await table.source.rows_after(position, 10_000)
        wanted = [event for event in table.events if event.eventtime >= instant]
        assert {event.channame for event in wanted} <= {event.channame for event in behind}
        assert len(behind) >= len(wanted)


async def test_the_description_says_what_the_table_holds(table: Table) -> None:
    """Columns, what is missing, the form of times and both ends."""
    found = await table.source.describe()
    assert set(found.missing) == {name for name in table.form.drop if name != "amaflags"} | (
        {"peeraccount", "userfield"} if "freepbx" in table.form.name else set()
    )
    assert found.last.eventtime // SECOND >= table.events[-1].eventtime // SECOND
    assert found.oldest is not None
    assert found.oldest // SECOND == table.events[0].eventtime // SECOND
    forms = {"sqlite": "epoch", "pgsql": "local time (Europe/Moscow)", "odbc-utc": "UTC"}
    assert found.eventtime_form == forms.get(table.form.rows, "local time (Europe/Moscow)")
    assert "linkedid" in found.indexed or not any(
        "INDEX" in part or part in {"micro", "freepbx"} for part in table.form.ddl
    )


async def test_looking_at_the_table_disturbs_no_reader(table: Table) -> None:
    """Replays describe the table while the tail reads it: nobody meets a description half made."""
    rows = await table.source.rows_after(Position(), 50)

    async def read() -> None:
        for _ in range(4):
            assert await table.source.rows_after(Position(), 50) == rows

    async def look() -> None:
        for _ in range(4):
            assert (await table.source.describe()).last.eventtime > 0

    await asyncio.gather(*(work() for work in (read, look) * 3))


async def test_an_empty_table_is_no_error(table: Table) -> None:
    """A PBX that has had no call yet: no rows, no end; then the first row is read right."""
    await table.execute("DELETE FROM cel")
    assert await table.source.rows_after(Position(), 10) == []
    assert await table.source.position_before(10**15) == Position() or "id" in table.form.drop
    assert [page async for page in table.source.linkedids_between(0, 10**17)] == []
    assert (await table.source.describe()).oldest is None
    assert await table.source.rows_of(["1795396140.1"]) == []
