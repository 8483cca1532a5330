"""Several Asterisks in one table: equal ids are told, not merged in silence."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from captures_io import cases, events_of
from cel_rows import row
from live_tables import ALL, ANSWERED, OTHERS, Table, Watch
from structlog.testing import capture_logs

from celreplay.cel.systems import born_twice
from celreplay.demo.data import COLUMNS, CapturedCall


@pytest.fixture(params=ALL)
async def watch(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Watch]:
    watch = Watch(await Table.made(request.param, request, tmp_path), tmp_path)
    yield watch
    await watch.stop()


def under_ids_of(one: CapturedCall, other: CapturedCall) -> list[list[str]]:
    """The rows of one call as a second Asterisk writes them that counts as the first."""
    columns = [COLUMNS.index(name) for name in ("uniqueid", "linkedid")]
    ids = [list(dict.fromkeys(row[columns[0]] for row in call.rows)) for call in (one, other)]
    renamed = dict(zip(ids[0], ids[1], strict=False))
    return [
        [renamed.get(cell, cell) if place in columns else cell for place, cell in enumerate(row)]
        for row in one.rows
    ]


async def test_two_systems_with_the_same_ids_are_told(watch: Watch) -> None:
    """In the log with the remedy, and in the warnings of the call."""
    await watch.start()
    call = watch.begins(ANSWERED)
    second = under_ids_of(watch.begins(OTHERS[0]), call)
    with capture_logs() as logs:
        await watch.table.write([row for pair in zip(call.rows, second, strict=False) for row in pair])
        await watch.table.write([*call.rows[len(second) :], *second[len(call.rows) :]])
        await watch.settle()
    [entry] = [entry for entry in logs if entry["log_level"] == "warning"]
    assert entry["event"] == "tail.two_systems"
    assert entry["uniqueids"][0] == call.linkedid
    assert "systemname in asterisk.conf" in entry["hint"]
    stored = await watch.store.call(call.linkedid)
    assert stored is not None
    assert [text for text in stored.warnings if "systemname" in text]


async def test_two_systems_with_names_are_told_apart(watch: Watch) -> None:
    """With systemname the ids differ, and both calls are whole, however their rows are mixed."""
    await watch.start()
    calls = []
    for name in ("berlin", "munich"):
        call = watch.begins(ANSWERED)
        ids = {
            cell
            for row in call.rows
            for cell in row[COLUMNS.index("uniqueid") : COLUMNS.index("uniqueid") + 2]
        }
        rows = [[f"{name}-{cell}" if cell in ids else cell for cell in row] for row in call.rows]
        calls.append(CapturedCall(live=True, rows=rows))
    with capture_logs() as logs:
        await watch.table.write(
            [row for pair in zip(*(call.rows for call in calls), strict=True) for row in pair]
        )
        await watch.settle()
    assert [entry for entry in logs if entry["log_level"] == "warning"] == []
    assert await watch.stored(calls) == await watch.expected(*calls)


def test_no_captured_call_was_born_twice() -> None:
    """Transfers, pickups, parking and merges give no channel a second birth."""
    assert [case for case in cases() if born_twice(events_of(case, "sqlite"))] == []


def test_a_row_read_twice_or_a_users_event_is_no_second_birth() -> None:
    """Only CHAN_START rows of two names are."""
    one = row(1, "CHAN_START", "1.1", "1.1", channame="PJSIP/a-1")
    own = row(2, "CHAN_START", "1.1", "1.1", channame="PJSIP/b-1", user_defined=True)
    other = row(3, "CHAN_START", "1.1", "1.1", channame="PJSIP/b-1")
    assert born_twice([one, one, own]) == []
    assert born_twice([one, own, other, other]) == ["1.1"]
