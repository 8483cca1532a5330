"""Missing ids and repeated reads: what is remembered, how much of it, and for how long."""

from collections import Counter
from pathlib import Path

import pytest
from cel_rows import any_rows, row
from hypothesis import given
from hypothesis import strategies as st
from live_tables import ANSWERED, Table

from celreplay.cel.events import CelEvent
from celreplay.cel.grouping import Grouper, groups_of, is_from_before
from celreplay.following.gaps import MOST, PATIENCE, Gaps
from celreplay.following.overlap import Overlap
from celreplay.sources.opening import source_of
from celreplay.sources.reader import _SQL


def test_what_lies_between_two_ids_is_missing() -> None:
    """Also between the last of one page and the first of the next."""
    gaps = Gaps()
    gaps.pass_over(10, [11, 14, 15], 0)
    gaps.pass_over(15, [17], 1)
    assert gaps.missing == [12, 13, 16]
    assert gaps.lowest == 12
    gaps.close([12], 2)
    assert gaps.missing == [13, 16]


def test_a_missing_id_is_waited_for_a_minute_each() -> None:
    """Counted from the moment it was passed over."""
    gaps = Gaps()
    gaps.pass_over(1, [3], 0)
    gaps.pass_over(3, [5], 10)
    gaps.close([], PATIENCE - 1)
    assert gaps.missing == [2, 4]
    gaps.close([], PATIENCE)
    assert gaps.missing == [4]
    gaps.close([], PATIENCE + 10)
    assert (gaps.missing, gaps.lowest) == ([], None)


def test_a_sequence_set_ahead_costs_nothing() -> None:
    """Of a gap of a billion ids only the end is asked for."""
    gaps = Gaps()
    gaps.pass_over(1, [1_000_000_000], 0)
    assert len(gaps.missing) == 100
    assert max(gaps.missing) == 999_999_999


@given(st.lists(st.sets(st.integers(1, 10**6), max_size=50).map(sorted), max_size=60))
def test_memory_is_bounded_whatever_is_missing(pages: list[list[int]]) -> None:
    """Holes everywhere: the latest are kept, and no id that was read is among them."""
    gaps, last, read = Gaps(), 0, set[int]()
    for page in pages:
        ids = [last + id_ for id_ in page]
        gaps.pass_over(last, ids, 0)
        read |= set(ids)
        last = ids[-1] if ids else last
    assert len(gaps.missing) <= MOST
    assert read.isdisjoint(gaps.missing)
    assert all(id_ < last for id_ in gaps.missing)


@given(st.lists(any_rows(), max_size=4))
def test_repeated_reads_give_each_row_once(pages: list[list[CelEvent]]) -> None:
    """Read again with more in it, a read gives what is new in it, equal rows as often as they stand there."""
    overlap, given_, table = Overlap(), Counter[CelEvent](), list[CelEvent]()
    for page in pages:
        table += page
        given_.update(overlap.new_among(table))
    assert given_ == Counter(table)
    assert len(overlap) == (len(table) if pages else 0)


@given(any_rows(), st.data())
def test_a_table_that_counts_anew_in_mid_call_changes_no_group(
    events: list[CelEvent], data: st.DataObject
) -> None:
    """Rows before stay before, rows after come after, and those read again under new ids are taken once."""
    rows = [row for row in {event.id: event for event in events}.values() if row.id is not None]
    rows.sort(key=lambda row: row.id or 0)
    rows = [row for place, row in enumerate(rows) if _content(row) not in map(_content, rows[:place])]
    cut = data.draw(st.integers(0, len(rows)))
    again = data.draw(st.integers(0, cut))
    grouper = Grouper()
    for event in rows[:cut]:
        grouper.add(event, 0)
    grouper.begin_anew()
    for id_, event in enumerate(rows[again:], start=1):
        grouper.add(_under(event, id_), 0)
    found = sorted(([_content(one) for one in group.events] for group in grouper.take_all()), key=repr)
    assert found == sorted(([_content(one) for one in group.events] for group in groups_of(rows)), key=repr)


def test_rows_from_before_are_known_by_their_id() -> None:
    """They stay what they are in the next change as well."""
    grouper = Grouper()
    for number in (7, 8):
        grouper.add(row(number, "CHAN_START", f"1.{number}", "1.7"), 0)
    for _ in range(2):
        grouper.begin_anew()
    [group] = grouper.take_all()
    assert [event.uniqueid for event in group.events] == ["1.7", "1.8"]
    assert all(is_from_before(event) for event in group.events)


def _content(event: CelEvent) -> CelEvent:
    return _under(event, None)


def _under(event: CelEvent, id_: int | None) -> CelEvent:
    return CelEvent(**{name: getattr(event, name) for name in CelEvent.__struct_fields__} | {"id": id_})


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
async def test_missing_ids_are_asked_for_by_the_key(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """EXPLAIN shows look-ups in the primary key, no pass over the table."""
    table = await Table.made(kind, request, tmp_path)
    await table.write([ANSWERED.rows[0]] * 3000)
    source = source_of(table.url, timezone="UTC")
    assert len(await source.rows_with_ids(range(2, 3000, 3))) == 1000
    layout, dialect = source._layout, source._database.dialect  # type: ignore[attr-defined]
    await source.aclose()
    sql = dialect.bind(_SQL["rows_by_id"], layout.names, {"ids": [5, 6, 7]}).sql
    for mark, value in (("$1", "ARRAY[5,6,7]"), ("(?, ?, ?)", "(5,6,7)"), ("(%s, %s, %s)", "(5,6,7)")):
        sql = sql.replace(mark, value)
    if kind != "sqlite":
        await table.execute("ANALYZE cel" if kind == "postgresql" else "ANALYZE TABLE cel")
    plan = str(await table.execute(f"EXPLAIN {'QUERY PLAN ' * (kind == 'sqlite')}{sql}"))
    sought = {"sqlite": "USING INTEGER PRIMARY KEY", "postgresql": "cel_pkey", "mariadb": "'PRIMARY'"}
    assert sought[kind] in plan
    assert "Seq Scan" not in plan
    assert "'ALL'" not in plan
