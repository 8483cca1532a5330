"""Reads the captured tables in tests/captures: four forms of one and the same rows."""

import csv
from collections.abc import Iterable
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from celreplay.cel.decode import RowDecoder, columns_of
from celreplay.cel.events import CelEvent
from celreplay.cel.eventtime import EventTimes

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
ROOT = Path(__file__).parent / "captures"
FORMS = {
    "sqlite": "cel.csv",
    "pgsql": "cel_pgsql.csv",
    "freepbx": "cel_freepbx.csv",
    "odbc-utc": "cel_odbc_micro_gmt.csv",
}


def cases() -> list[str]:
    """Every capture that has a truth, by its path below tests/captures."""
    return sorted(str(path.parent.relative_to(ROOT)) for path in ROOT.glob("**/truth.yaml"))


def forms_of(case: str) -> list[str]:
    """The forms that a capture has; all but those in the folders `*-more` have the four."""
    return [form for form, name in FORMS.items() if (ROOT / case / name).exists()]


@cache
def truth_of(case: str) -> dict[str, Any]:
    """What really happened."""
    truth: dict[str, Any] = yaml.load((ROOT / case / "truth.yaml").read_text("utf-8"), Loader=_LOADER)  # noqa: S506 - the safe one, in C
    return truth


def zone_of(case: str, form: str) -> ZoneInfo | None:
    """The zone of the local times; None: they are UTC (`usegmtime=yes`)."""
    if form == "odbc-utc" or (form == "pgsql" and "dateformat" in case):
        return None
    return ZoneInfo("Europe/Berlin" if "dst-fallback" in case else "Europe/Moscow")


def events_of(case: str, form: str) -> list[CelEvent]:
    """The rows of a capture in one of its forms, in the order of the file."""
    return list(_events_of(case, form))


@cache
def _events_of(case: str, form: str) -> list[CelEvent]:
    return read_events(ROOT / case / FORMS[form], zone_of(case, form))


def read_events(path: Path, zone: ZoneInfo | None) -> list[CelEvent]:
    """The rows of a file with a line of column names; `zone` None: its local times are UTC."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        header, *rows = csv.reader(file)
    return decoded(header, rows, zone)


def decoded(header: list[str], rows: Iterable[list[str]], zone: ZoneInfo | None) -> list[CelEvent]:
    """Rows as texts under the columns named in `header`."""
    columns = columns_of(header)
    decode = RowDecoder(list(columns), EventTimes(zone or UTC))
    places = [header.index(column) for column in columns.values()]
    return [decode(tuple(row[place] for place in places)) for row in rows]
