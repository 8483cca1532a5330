"""Rows of any CEL table become events; what is broken in a row becomes a warning."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celreplay.cel.decode import FIELDS, RowDecoder, columns_of, kind_of
from celreplay.cel.events import EVENT_NUMBERS, CelEvent
from celreplay.cel.eventtime import EventTimes, epoch_of, zone_of
from celreplay.errors import SourceError
from celreplay.times import SECOND

BERLIN = ZoneInfo("Europe/Berlin")
UID = "1795396140.7"
BORN = 1795396140 * SECOND


def decoded(zone: Any = UTC, **values: object) -> CelEvent:
    row = {
        "id": 1,
        "eventtype": "ANSWER",
        "eventtime": "1795396140.267208",
        "uniqueid": UID,
        "linkedid": UID,
    } | values
    return RowDecoder(tuple(row), EventTimes(zone))(tuple(row.values()))


@pytest.mark.parametrize(
    "written",
    [
        "1795396140.267208",
        "1795396140267208",
        "2026-11-23 01:09:00.267208",
        "2026-11-23T01:09:00.267208Z",
        " 2026-11-23 04:09:00.267208+03:00",
        b"1795396140.267208",
        Decimal("1795396140.267208"),
        1795396140.267208,
        datetime(2026, 11, 23, 1, 9, 0, 267208),  # noqa: DTZ001 - what drivers give
        datetime(2026, 11, 23, 4, 9, 0, 267208, tzinfo=timezone(timedelta(hours=3))),
    ],
    ids=repr,
)
def test_every_way_of_writing_a_time(written: object) -> None:
    """All mean the same microsecond."""
    event = decoded(eventtime=written)
    assert (event.eventtime, event.ambiguous, event.warnings) == (BORN + 267208, False, ())


def test_whole_seconds_are_enough() -> None:
    """FreePBX's DATETIME and int64 have no fraction."""
    assert decoded(eventtime=1795396140).eventtime == BORN
    assert decoded(eventtime="2026-11-23 01:09:00").eventtime == BORN


def test_the_hour_that_comes_twice_is_marked() -> None:
    """Its first occurrence is taken, and said to be a guess."""
    event = decoded(BERLIN, eventtime="2026-10-25 02:59:56")
    assert (event.eventtime, event.ambiguous) == (1792889996 * SECOND, True)
    before, after = (
        decoded(BERLIN, eventtime="2026-10-25 01:59:59"),
        decoded(BERLIN, eventtime="2026-10-25 03:00:00"),
    )
    assert (before.ambiguous, after.ambiguous) == (False, False)
    assert after.eventtime - before.eventtime == 3601 * SECOND + 3600 * SECOND


def test_the_hour_that_does_not_exist_is_not_ambiguous() -> None:
    """In March the clock jumps over it."""
    assert not decoded(BERLIN, eventtime="2026-03-29 02:30:00").ambiguous


@pytest.mark.parametrize(
    "written",
    [None, "", "0000-00-00 00:00:00", "soon", b"\xff", "9" * 40, -5, float("nan"), float("inf"), 10**30],
)
def test_a_time_that_is_none_is_taken_from_the_uniqueid(written: object) -> None:
    """The second of the channel's birth is better than no row."""
    event = decoded(eventtime=written, uniqueid="pbx-7-1795396140.7")
    assert event.eventtime == BORN
    assert "is no time" in event.warnings[0]
    assert decoded(eventtime=written, uniqueid="odd").eventtime == BORN  # from the linkedid


def test_null_and_absent_columns_are_empty_text() -> None:
    """NULL, as in tables without NOT NULL."""
    event = decoded(cid_num=None, extra=None)
    assert (event.cid_num, event.extra, event.peer, event.warnings) == ("", "", "", ())


def test_bytes_and_nuls_are_replaced_and_told() -> None:
    """Neither stops the reading, both are seen."""
    event = decoded(cid_name=b"\xc8\xe2\xe0\xed", appdata="a\0b", exten=b"101")
    assert (event.cid_name, event.appdata, event.exten) == ("\ufffd" * 4, "a\ufffdb", "101")
    assert event.warnings == ("cid_name holds bytes that are no UTF-8", "appdata holds NUL bytes")


@pytest.mark.parametrize(("number", "name"), EVENT_NUMBERS.items())
def test_numbers_of_events_are_those_asterisk_writes(number: int, name: str) -> None:
    """As number or as text of the number."""
    if name != "USER_DEFINED":
        assert kind_of(number) == kind_of(str(number)) == (name, False)


@pytest.mark.parametrize(
    ("eventtype", "eventenum", "userdeftype", "expected"),
    [
        ("CRM_ROUTE", None, "CRM_ROUTE", ("CRM_ROUTE", True)),
        ("CRM_ROUTE", None, "", ("CRM_ROUTE", True)),
        ("USER_DEFINED", None, "CRM_ROUTE", ("CRM_ROUTE", True)),
        (13, None, "CRM_ROUTE", ("CRM_ROUTE", True)),
        (13, None, "", ("USER_DEFINED", True)),
        ("CRM_ROUTE", "USER_DEFINED", "", ("CRM_ROUTE", True)),
        ("ANSWER", "USER_DEFINED", "", ("ANSWER", True)),
        ("ANSWER", 13, "", ("ANSWER", True)),
        ("ANSWER", None, "ANSWER", ("ANSWER", True)),
        ("ANSWER", "ANSWER", "", ("ANSWER", False)),
        ("STREAM_BEGIN", None, "MOH_STREAM_BEGIN", ("STREAM_BEGIN", False)),
        (22, None, "", ("22", False)),
        (None, None, "", ("", False)),
    ],
)
def test_user_defined_events(
    eventtype: object, eventenum: object, userdeftype: str, expected: object
) -> None:
    """The three ways of writing them; one may have the name of a real event."""
    event = decoded(eventtype=eventtype, eventenum=eventenum, userdeftype=userdeftype)
    assert (event.eventtype, event.user_defined) == expected
    assert kind_of(eventtype, eventenum, userdeftype) == expected


def test_column_names_of_old_and_new_tables() -> None:
    """The names of samples, FreePBX and the config, in any case of letters."""
    assert columns_of(["AcctId", "CIDNUM", "eventextra"]) == {
        "id": "AcctId",
        "cid_num": "CIDNUM",
        "extra": "eventextra",
    }
    assert columns_of(["cid_num", "caller"], {"cid_num": "Caller"}) == {"cid_num": "caller"}
    with pytest.raises(SourceError, match=r"columns\.extra: the table has no column 'nope'"):
        columns_of(["extra"], {"extra": "nope"})
    with pytest.raises(SourceError, match="CEL has no field 'color'"):
        columns_of(["color"], {"color": "color"})


@pytest.mark.parametrize(
    ("uniqueid", "second"),
    [
        (UID, 1795396140),
        ("pbx-2-1795396140.7", 1795396140),
        ("x.1", None),
        ("", None),
        ("1795396140.7a", None),
    ],
)
def test_the_second_in_a_uniqueid(uniqueid: str, second: int | None) -> None:
    """`[systemname-]epoch.counter`; the name may hold dashes."""
    assert epoch_of(uniqueid) == (None if second is None else second * SECOND)


def samples(offset: float, seconds: int = 0) -> list[tuple[datetime, str]]:
    births = range(1795396140, 1795396240, 10)
    shift = timedelta(hours=offset, seconds=seconds)
    return [(datetime.fromtimestamp(born, UTC).replace(tzinfo=None) + shift, f"{born}.1") for born in births]


def test_local_or_utc_is_found_by_the_uniqueids() -> None:
    """Rows tell it; what fits neither is measured and told."""
    moscow = ZoneInfo("Europe/Moscow")
    assert zone_of(samples(3), moscow, "Europe/Moscow").form == "local time (Europe/Moscow)"
    assert zone_of(samples(0), moscow, "Europe/Moscow").form == "UTC"
    odd = zone_of(samples(5.5), moscow, "Europe/Moscow")
    assert (odd.zone.utcoffset(None), odd.proved) == (timedelta(hours=5.5), True)
    assert "fits neither UTC nor local time (Europe/Moscow)" in odd.form


def test_london_in_winter_cannot_be_told_from_utc_yet() -> None:
    """Then the local zone is taken, and looked at again later."""
    found = zone_of(samples(0), ZoneInfo("Europe/London"), "Europe/London")
    assert (found.form, found.proved) == ("local time (Europe/London)", False)
    assert zone_of(samples(0), ZoneInfo("UTC"), "UTC").proved
    assert not zone_of([], BERLIN, "Europe/Berlin").proved


anything = st.one_of(
    st.none(), st.text(), st.binary(), st.integers(), st.floats(), st.decimals(), st.datetimes(),
    st.booleans(), st.datetimes(timezones=st.just(UTC)), st.sampled_from(["", "\0", "13", UID]),
)  # fmt: skip


@given(
    row=st.lists(anything, min_size=len(FIELDS), max_size=len(FIELDS)), zone=st.sampled_from([UTC, BERLIN])
)
def test_no_row_whatsoever_raises(row: list[object], zone: Any) -> None:
    """Every row becomes an event whose fields have their types."""
    event = RowDecoder(FIELDS, EventTimes(zone))(tuple(row))
    assert isinstance(event.eventtime, int)
    texts = set(CelEvent.__struct_fields__) - {"id", "eventtime", "ambiguous", "user_defined", "warnings"}
    assert all(type(getattr(event, name)) is str and "\0" not in getattr(event, name) for name in texts)
