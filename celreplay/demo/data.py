"""The calls of the demo: captured on an Asterisk 22.10.1, moved in time, written as Asterisk writes them.

`cel.csv` holds rows of cel_sqlite3_custom as they were, one call after the other; the column `part` tells
calls of the past from those that happen while one watches.
"""

import csv
import re
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from importlib.resources import files
from itertools import groupby
from pathlib import Path

import msgspec

# fmt: off
COLUMNS = (
    "eventtype", "eventtime", "cidname", "cidnum", "cidani", "cidrdnis", "ciddnid", "context", "exten",
    "channame", "appname", "appdata", "amaflags", "accountcode", "uniqueid", "linkedid", "userfield",
    "peer", "userdeftype", "eventextra", "peeraccount",
)
# fmt: on
PAST_CALLS_APART = 55 * 60
"""Seconds between the calls of the past: together they fill the working day before the demo."""

# eventtime, uniqueid and linkedid, also inside of appdata and extra: epoch seconds, a dot, digits
_EPOCH = re.compile(r"\b(\d{10})\.(\d+)\b")


class CapturedCall(msgspec.Struct, frozen=True, kw_only=True):
    """All rows of one call, in the order of writing."""

    live: bool
    rows: Sequence[Sequence[str]]
    """Cells in the order of COLUMNS."""

    @property
    def linkedid(self) -> str:
        return self.rows[0][COLUMNS.index("linkedid")]

    @property
    def times(self) -> list[float]:
        """`eventtime` of each row, UNIX seconds."""
        return [float(row[COLUMNS.index("eventtime")]) for row in self.rows]

    def beginning_at(self, start: float) -> "CapturedCall":
        """The same call, moved by whole seconds so that it begins at most a second before `start`."""
        shift = int(start - self.times[0])
        rows = [[_moved(cell, shift) for cell in row] for row in self.rows]
        return msgspec.structs.replace(self, rows=rows)


def captured_calls() -> list[CapturedCall]:
    """The calls of the package, at the times of their capture."""
    text = files("celreplay.demo").joinpath("cel.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    return [
        CapturedCall(live=part == "live", rows=[[row[column] for column in COLUMNS] for row in call])
        for (part, _), call in groupby(rows, key=lambda row: (row["part"], row["linkedid"]))
    ]


def calls_before(now: float) -> list[CapturedCall]:
    """The calls of the past, the last of them `PAST_CALLS_APART` seconds before `now` (UNIX seconds)."""
    past = [call for call in captured_calls() if not call.live]
    return [
        call.beginning_at(now - PAST_CALLS_APART * (len(past) - place)) for place, call in enumerate(past)
    ]


def live_calls() -> list[CapturedCall]:
    """The calls that happen during the demo, yet to be moved to their moment."""
    return [call for call in captured_calls() if call.live]


def create_table(path: Path) -> None:
    """A CEL file as cel_sqlite3_custom makes it: untyped columns and a key of its own."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TABLE cel (AcctId INTEGER PRIMARY KEY, {','.join(COLUMNS)})")


def write_rows(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """Append rows the way Asterisk does: one INSERT each, waiting at most a second for a reader."""
    places = ",".join("?" * len(COLUMNS))
    statement = f"INSERT INTO cel ({','.join(COLUMNS)}) VALUES ({places})"  # noqa: S608  # names of ours only
    with closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as database:
        for row in rows:
            database.execute(statement, row)


def _moved(cell: str, shift: int) -> str:
    return _EPOCH.sub(lambda found: f"{int(found[1]) + shift}.{found[2]}", cell)
