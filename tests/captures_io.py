"""Reads the captured tables in tests/captures: four forms of one and the same rows."""

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from celreplay.cel.events import EVENT_NUMBERS, CelEvent, EventType
from celreplay.times import SECOND, Instant

ROOT = Path(__file__).parent / "captures"
FORMS = {
    "sqlite": "cel.csv",
    "pgsql": "cel_pgsql.csv",
    "freepbx": "cel_freepbx.csv",
    "odbc-utc": "cel_odbc_micro_gmt.csv",
}
_NAMES = {
    "AcctId": "id",
    "cidname": "cid_name",
    "cidnum": "cid_num",
    "cidani": "cid_ani",
    "cidrdnis": "cid_rdnis",
    "ciddnid": "cid_dnid",
    "eventextra": "extra",
}
_KNOWN = frozenset(EventType)
_TEXTS = frozenset(CelEvent.__struct_fields__) - {
    "id",
    "eventtype",
    "eventtime",
    "ambiguous",
    "user_defined",
    "warnings",
}


def cases() -> list[str]:
    """Every capture that has a truth, by its path below tests/captures."""
    return sorted(str(path.parent.relative_to(ROOT)) for path in ROOT.glob("**/truth.yaml"))


def forms_of(case: str) -> list[str]:
    """The forms that a capture has; all but those in the folders `*-more` have the four."""
    return [form for form, name in FORMS.items() if (ROOT / case / name).exists()]


def truth_of(case: str) -> dict[str, Any]:
    """What really happened."""
    truth: dict[str, Any] = yaml.safe_load((ROOT / case / "truth.yaml").read_text("utf-8"))
    return truth


def zone_of(case: str, form: str) -> ZoneInfo | None:
    """The zone of the local times; None: they are UTC (`usegmtime=yes`)."""
    if form == "odbc-utc" or (form == "pgsql" and "dateformat" in case):
        return None
    return ZoneInfo("Europe/Berlin" if "dst-fallback" in case else "Europe/Moscow")


def events_of(case: str, form: str) -> list[CelEvent]:
    """The rows of a capture in one of its forms, in the order of the file."""
    path = ROOT / case / FORMS[form]
    zone = zone_of(case, form)
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return [event_of(row, zone) for row in csv.DictReader(file)]


def event_of(row: dict[str, str], zone: ZoneInfo | None) -> CelEvent:
    """One row; `zone` None: its local times are UTC."""
    fields = {_NAMES.get(name, name): value for name, value in row.items()}
    written = fields["eventtype"]
    eventtype = EVENT_NUMBERS[int(written)].value if written.isdigit() else written
    user_defined = eventtype not in _KNOWN or eventtype == EventType.USER_DEFINED
    if eventtype == EventType.USER_DEFINED and fields["userdeftype"]:
        eventtype = fields["userdeftype"]
    eventtime, ambiguous = instant_of(fields["eventtime"], zone)
    texts: dict[str, Any] = {name: value for name, value in fields.items() if name in _TEXTS}
    return CelEvent(
        id=int(fields["id"]),
        eventtype=eventtype,
        eventtime=eventtime,
        ambiguous=ambiguous,
        user_defined=user_defined,
        **texts,
    )


def instant_of(text: str, zone: ZoneInfo | None) -> tuple[int, bool]:
    """Microseconds UTC and whether the local time occurs twice."""
    if "-" not in text:
        seconds, _, rest = text.partition(".")
        return int(seconds) * SECOND + int(rest.ljust(6, "0")[:6] or 0), False
    moment = datetime.fromisoformat(text).replace(tzinfo=zone or UTC)
    ambiguous = moment.utcoffset() != moment.replace(fold=1).utcoffset()
    return int(Instant.of(moment)), ambiguous
