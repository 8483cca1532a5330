"""The statements of the SQLite store: each is valid, and those that run often go by an index."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from factories import START, make_finished

from celreplay.connectors.base import OutcomeKind
from celreplay.store.base import Lane, Settlement, State
from celreplay.store.sqlite import SqliteStore, statements
from celreplay.store.sqlite.schema import connect, migrate
from celreplay.store.sqlite.statements import SQL
from celreplay.times import SECOND

# Statements that look at everything on purpose: the check's, renaming's, and small tables' whole content.
WHOLE = {
    "recount",
    "recount_replays",
    "kept_twice",
    "without_bytes",
    "lost_payloads",
    "lost_attempts",
    "lost_aliases",
    "strands",
    "counts",
    "holds",
    "holds_of_replay",
    "set_back",
    "set_back_holds",
    "rename_calls",
    "rename_aliases",
    "rename_deliveries",
    "in_doubt",
    "recover",
    "recent_replays",
    "unfinished_replays",
}


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A store's file without the store."""
    opened = connect(tmp_path / "store.db", busy_timeout=1)
    migrate(opened, tmp_path / "store.db")
    yield opened
    opened.close()


def _values(statement: str) -> dict[str, object]:
    return dict.fromkeys(re.findall(r":(\w+)", statement))


@pytest.mark.parametrize("name", sorted(SQL))
def test_no_statement_of_the_daily_work_scans_a_table(name: str, connection: sqlite3.Connection) -> None:
    """EXPLAIN QUERY PLAN says SEARCH (an index with a bound), not SCAN, for every table but the tiny ones."""
    plan = connection.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", _values(SQL[name])).fetchall()
    lines = [row["detail"] for row in plan]
    scans = [
        line
        for line in lines
        if line.startswith("SCAN")
        and line not in {"SCAN first", "SCAN CONSTANT ROW"}
        and "VIRTUAL TABLE" not in line
    ]
    assert bool(scans) == (name in WHOLE), lines


@pytest.mark.parametrize(
    "name",
    [
        "ready",
        "ready_of_replay",
        "next_replay",
        "strand_head",
        "promote",
        "next_ready",
        "recent_deliveries",
        "deliveries_at",
    ],
)
def test_no_daily_statement_sorts(name: str, connection: sqlite3.Connection) -> None:
    """The order comes from the index: sorting half a million rows to take one would take long."""
    plan = connection.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", _values(SQL[name])).fetchall()
    assert not [row["detail"] for row in plan if "TEMP B-TREE" in row["detail"]]


def test_recovering_goes_by_the_index_of_what_is_being_sent(connection: sqlite3.Connection) -> None:
    """It runs before anything else at a start, over a store of any size."""
    for name in ("recover",):
        plan = connection.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", _values(SQL[name])).fetchall()
        assert "deliveries_sending" in plan[0]["detail"]


def test_two_statements_of_one_name_are_refused() -> None:
    """The second would silently take the place of the first."""
    with pytest.raises(ValueError, match="two statements named a"):
        statements.load("-- a: one\nSELECT 1\n-- a: two\nSELECT 2")


def _steps(connection: sqlite3.Connection, name: str, values: dict[str, object]) -> int:
    """How many thousands of SQLite's own instructions a statement takes: a cost that no machine changes."""
    thousands = 0

    def count() -> int:
        nonlocal thousands
        thousands += 1
        return 0

    connection.set_progress_handler(count, 1000)
    connection.execute(SQL[name], values).fetchone()
    connection.set_progress_handler(None, 0)
    return thousands


async def test_what_is_blocked_or_not_due_costs_a_claim_nothing(tmp_path: Path) -> None:
    """20,000 of one strand and 20,000 not due: finding the next is a few instructions, not a walk."""
    store = SqliteStore.open(tmp_path / "store.db", system="pbx")
    blocked = [make_finished(f"b{n}", at=START + n, strand="1") for n in range(20_000)]
    await store.save_calls(blocked, now=START)
    later = [make_finished(f"l{n}", at=START + n, due_at=START + 10**9) for n in range(20_000)]
    await store.save_calls(later, now=START)
    await store.save_calls([make_finished("next", at=START + 10**6)], now=START)
    found = await store.claim("crm", 2, now=START, order_patience=900)
    assert [one.delivery.linkedid for one in found] == ["b0", "next"]
    again = found[0]
    retry = Settlement(
        delivery_id=again.delivery_id,
        token=again.token,
        state=State.PENDING,
        reason="500",
        kind=OutcomeKind.RETRY,
        ended_at=START,
        next_at=START + 10**9,
    )
    await store.settle([retry])
    reading = connect(tmp_path / "store.db", busy_timeout=1)
    for name in (
        "promote",
        "ready",
        "ready_of_replay",
        "next_replay",
        "next_ready",
        "next_timed",
        "let_pass",
        "strand_head",
        "open_strand",
    ):
        values = {
            **_values(SQL[name]),
            "connector": "crm",
            "lane": int(Lane.LIVE),
            "now": START,
            "most": 1000,
        }
        values |= {"replay_id": 1, "after": 0, "until": 9}
        values |= {"strand": "1", "started_at": START, "id": 1, "failing_since": START - 900 * SECOND}
        assert _steps(reading, name, values) < 2, name
    reading.close()
    await store.aclose()


async def test_a_page_in_the_middle_of_a_long_list_costs_no_walk_to_it(tmp_path: Path) -> None:
    """20,000 deliveries changed in one moment: the page goes on behind its place by the index alone."""
    store = SqliteStore.open(tmp_path / "store.db", system="pbx")
    await store.save_calls([make_finished(f"c{n}") for n in range(20_000)], now=START)
    reading = connect(tmp_path / "store.db", busy_timeout=1)
    values = {"connector": "crm", "state": "pending", "since": 0, "at": START, "id": 10_000}
    for name in ("deliveries_at", "recent_deliveries"):
        assert _steps(reading, name, values) < 2, name
    reading.close()
    await store.aclose()
