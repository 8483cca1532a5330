"""The calls of a period: each once, whole, in constant memory, with and without indexes."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cel_file import fill

from celreplay.cel.grouping import Group
from celreplay.demo.data import captured_calls, create_table, write_rows
from celreplay.errors import SourceError
from celreplay.lookup import Settled, groups_between, groups_of_ids
from celreplay.period import Period
from celreplay.sources.base import CelSource, Position
from celreplay.sources.opening import source_of
from celreplay.times import SECOND

FIRST = 1_795_400_000
CALLS = [
    call.beginning_at(FIRST + 40 * place)
    for place, call in enumerate(call for _ in range(3) for call in captured_calls())
]
NOW = (FIRST + 86_400) * SECOND
WHOLE = Period(start=FIRST * SECOND, end=NOW)


@pytest.fixture(params=[True, False], ids=["indexed", "without index"])
def source(tmp_path: Path, request: pytest.FixtureRequest) -> CelSource:
    path = tmp_path / "cel.sqlite"
    fill(path, CALLS)
    if request.param:
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE INDEX by_linkedid ON cel (linkedid)")
            database.execute("CREATE INDEX by_uniqueid ON cel (uniqueid)")
    return source_of(f"sqlite:///{path}")


async def found(
    source: CelSource, period: Period, *, now: int = NOW, after: Position | None = None
) -> list[Group]:
    groups: list[Group] = []
    async for page in groups_between(source, period, now=now, settled=Settled(), after=after):
        groups += page.groups
    return groups


def linkedids(groups: list[Group]) -> list[str]:
    return sorted(group.events[0].linkedid for group in groups)


async def test_every_call_of_a_period_is_found_once_with_all_its_rows(source: CelSource) -> None:
    """Nothing is missing, nothing comes twice."""
    groups = await found(source, WHOLE)
    assert linkedids(groups) == sorted(call.linkedid for call in CALLS)
    assert sum(len(group.events) for group in groups) == sum(len(call.rows) for call in CALLS)


async def test_a_call_that_crosses_the_edge_belongs_to_the_period_and_is_whole(source: CelSource) -> None:
    """One row in the period is enough, and all rows of the call come along."""
    call = CALLS[5]
    last = round(call.times[-1] * SECOND)
    groups = await found(source, Period(start=last, end=last + SECOND // 2))
    assert linkedids(groups) == [call.linkedid]
    assert len(groups[0].events) == len(call.rows)
    first = round(call.times[0] * SECOND)
    groups = await found(source, Period(start=first - SECOND // 2, end=first + 1))
    assert linkedids(groups) == [call.linkedid]
    assert len(groups[0].events) == len(call.rows)


async def test_a_period_without_calls_is_empty(source: CelSource) -> None:
    """Nothing is found before the first row."""
    assert await found(source, Period(start=(FIRST - 7200) * SECOND, end=(FIRST - 3600) * SECOND)) == []


async def test_a_replay_goes_on_behind_its_cursor(source: CelSource) -> None:
    """Wherever it was interrupted, the rest makes the whole, without a double."""
    cursors: list[Position] = []
    before: list[list[Group]] = []
    async for page in groups_between(source, WHOLE, now=NOW, settled=Settled()):
        cursors.append(page.cursor)
        before.append([*(before[-1] if before else []), *page.groups])
    for cursor, groups in zip(cursors, before, strict=True):
        rest = await found(source, WHOLE, after=cursor)
        assert linkedids([*groups, *rest]) == sorted(call.linkedid for call in CALLS)


@pytest.mark.parametrize("order", [1, -1], ids=["as they were", "latest first"])
async def test_a_replay_in_one_pass_may_be_cut_short_anywhere(tmp_path: Path, order: int) -> None:
    """Cut short behind any page, and again while the rows before it are read anew: what comes afterwards is
    the rest, however the table is ordered; no cursor goes back."""
    path = tmp_path / "cel.sqlite"
    calls = captured_calls()
    many = [calls[n % len(calls)].beginning_at(FIRST + 20 * n) for n in range(300)]
    fill(path, many[::order])
    source = source_of(f"sqlite:///{path}")
    pages = [page async for page in groups_between(source, WHOLE, now=NOW, settled=Settled())]
    assert len(pages) > 2
    before: list[Group] = []
    for page in pages:
        before += page.groups
        rest: list[Group] = []
        async for later in groups_between(source, WHOLE, now=NOW + 1, settled=Settled(), after=page.cursor):
            assert (later.cursor.id or 0) >= (page.cursor.id or 0)
            rest += later.groups
        assert linkedids([*before, *rest]) == sorted(call.linkedid for call in many)


async def test_a_table_that_was_emptied_meanwhile_ends_the_replay(tmp_path: Path) -> None:
    """Where its ids count anew, nobody can tell any more what has been found: said, not guessed."""
    path = tmp_path / "cel.sqlite"
    fill(path, CALLS)
    source = source_of(f"sqlite:///{path}")
    (page,) = [page async for page in groups_between(source, WHOLE, now=NOW, settled=Settled())]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM cel WHERE AcctId > 10")
    with pytest.raises(SourceError, match=r"counts anew.*at 10 \(ask for the rest"):
        await found(source, WHOLE, after=page.cursor)


async def test_a_call_that_is_not_finished_is_left_to_the_tail(tmp_path: Path) -> None:
    """A call of this moment is in progress; the same rows hours later are a call nobody ended."""
    path = tmp_path / "cel.sqlite"
    create_table(path)
    write_rows(path, CALLS[0].rows[:6])
    source = source_of(f"sqlite:///{path}")
    minute_later = round(CALLS[0].times[5] * SECOND) + 60 * SECOND
    (page,) = [page async for page in groups_between(source, WHOLE, now=minute_later, settled=Settled())]
    assert (len(page.groups), len(page.unfinished)) == (0, 1)
    (group,) = await found(source, WHOLE)
    assert not group.ended


async def test_ids_find_their_call_by_linkedid_and_by_any_uniqueid(source: CelSource) -> None:
    """The admin copies whichever id he sees."""
    (group,) = await groups_of_ids(source, [CALLS[0].linkedid])
    other = next(row.uniqueid for row in group.events if row.uniqueid != row.linkedid)
    assert await groups_of_ids(source, [other]) == [group]
    assert await groups_of_ids(source, ["1000000000.1"]) == []


async def test_a_call_that_ended_in_the_future_is_finished(tmp_path: Path) -> None:
    """The PBX's clock is ahead: the call is not in progress until ours has caught up."""
    path = tmp_path / "cel.sqlite"
    create_table(path)
    write_rows(path, CALLS[0].rows)
    source = source_of(f"sqlite:///{path}")
    hour_before = round(CALLS[0].times[0] * SECOND) - 3600 * SECOND
    (group,) = await groups_of_ids(source, [CALLS[0].linkedid])
    assert Settled().is_finished(group, hour_before)
    write_rows(path, CALLS[1].rows[:4])
    (group,) = await groups_of_ids(source, [CALLS[1].linkedid])
    assert not Settled().is_finished(group, hour_before)
