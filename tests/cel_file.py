"""A CEL file of cel_sqlite3_custom, filled at once."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from celreplay.demo.data import COLUMNS, CapturedCall, create_table


def fill(path: Path, calls: Iterable[CapturedCall]) -> None:
    """Make the file when it is missing, and append all rows of the calls in one transaction."""
    if not path.exists():
        create_table(path)
    places = ",".join("?" * len(COLUMNS))
    with closing(sqlite3.connect(path)) as database, database:
        database.executemany(
            f"INSERT INTO cel ({','.join(COLUMNS)}) VALUES ({places})",  # noqa: S608  names of ours only
            [row for call in calls for row in call.rows],
        )
