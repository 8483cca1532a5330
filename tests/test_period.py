"""What `start_date` and `end_date` mean: the documents' examples, clock changes, and refusals."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celreplay.errors import BadRequestError
from celreplay.period import Period, parse_period
from celreplay.times import DAY, SECOND, Instant

MOSCOW = ZoneInfo("Europe/Moscow")
BERLIN = ZoneInfo("Europe/Berlin")
NOW = Instant.parse("2026-11-23T03:44:05.123456Z")
ZONES = ["Europe/Moscow", "Europe/Berlin", "America/Havana", "Pacific/Apia", "Australia/Lord_Howe", "UTC"]


def spoken(period: Period) -> tuple[str, str]:
    """Both ends as ISO-8601 UTC."""
    return Instant(period.start).iso(), Instant(period.end).iso()


@pytest.mark.parametrize(
    ("start_date", "end_date", "start", "end"),
    [
        pytest.param(
            "2021-05-25 10:30:00",
            "2021-05-25 22:00:00",
            "2021-05-25T07:30:00.000Z",
            "2021-05-25T19:00:01.000Z",
            id="date-time: local, the second of the end is in",
        ),
        pytest.param(
            "1622138519", None, "2021-05-27T18:01:59.000Z", "2026-11-23T03:44:05.123Z", id="UNIX, up to now"
        ),
        pytest.param(
            "1622138519",
            "1622138519",
            "2021-05-27T18:01:59.000Z",
            "2021-05-27T18:02:00.000Z",
            id="UNIX: one second, the second of the end is in",
        ),
        pytest.param(
            "-2",
            "-1",
            "2026-11-20T21:00:00.000Z",
            "2026-11-21T21:00:00.000Z",
            id="exactly the day before yesterday",
        ),
        pytest.param("-7", None, "2026-11-15T21:00:00.000Z", "2026-11-23T03:44:05.123Z", id="a week"),
        pytest.param("-0", None, "2026-11-22T21:00:00.000Z", "2026-11-23T03:44:05.123Z", id="today"),
        pytest.param("-1", "-0", "2026-11-21T21:00:00.000Z", "2026-11-22T21:00:00.000Z", id="yesterday"),
        pytest.param(
            "2021-05-25T10:30:00", "-1", "2021-05-25T07:30:00.000Z", "2026-11-21T21:00:00.000Z", id="T, mixed"
        ),
        pytest.param(
            "2021-05-25",
            "2021-05-25",
            "2021-05-24T21:00:00.000Z",
            "2021-05-25T21:00:00.000Z",
            id="a date alone is the whole day",
        ),
        pytest.param(
            "-0",
            "2026-11-24 00:00:00",
            "2026-11-22T21:00:00.000Z",
            "2026-11-23T21:00:01.000Z",
            id="the end may lie in the future",
        ),
    ],
)
def test_the_forms_of_the_documents(start_date: str, end_date: str | None, start: str, end: str) -> None:
    """Each form means the local time, the second, or the midnight that the documents say."""
    assert spoken(parse_period(start_date, end_date, zone=MOSCOW, now=NOW)) == (start, end)


def test_no_end_date_is_the_moment_of_the_request_to_the_microsecond() -> None:
    """The end of an open period is frozen at the request."""
    assert parse_period("-0", None, zone=MOSCOW, now=NOW).end == NOW


@pytest.mark.parametrize(
    ("zone", "start_date", "end_date", "start", "end"),
    [
        pytest.param(
            "Europe/Berlin",
            "2026-10-25 02:30:00",
            "2026-10-25 02:30:00",
            "2026-10-25T00:30:00.000Z",
            "2026-10-25T01:30:01.000Z",
            id="the hour that comes twice: first instant as start, last as end",
        ),
        pytest.param(
            "Europe/Berlin",
            "2026-03-29 02:30:00",
            "2026-03-29 03:00:00",
            "2026-03-29T01:00:00.000Z",
            "2026-03-29T01:00:01.000Z",
            id="a start that never comes is the change of the clock",
        ),
        pytest.param(
            "Europe/Berlin",
            "2026-03-29 01:59:59",
            "2026-03-29 02:30:00",
            "2026-03-29T00:59:59.000Z",
            "2026-03-29T01:00:00.000Z",
            id="an end that never comes is the change of the clock",
        ),
        pytest.param(
            "America/Sao_Paulo",
            "2018-11-04",
            "2018-11-04",
            "2018-11-04T03:00:00.000Z",
            "2018-11-05T02:00:00.000Z",
            id="a midnight that never comes: the day begins at 01:00",
        ),
        pytest.param(
            "America/Havana",
            "2026-11-01",
            "2026-11-01",
            "2026-11-01T04:00:00.000Z",
            "2026-11-02T05:00:00.000Z",
            id="a midnight that comes twice: the day begins at the first",
        ),
        pytest.param(
            "Australia/Lord_Howe",
            "2026-10-04 02:15:00",
            "2026-10-04 02:30:00",
            "2026-10-03T15:30:00.000Z",
            "2026-10-03T15:30:01.000Z",
            id="a clock that moves by half an hour",
        ),
        pytest.param(
            "Pacific/Apia",
            "2011-12-29",
            "2011-12-30",
            "2011-12-29T10:00:00.000Z",
            "2011-12-30T10:00:00.000Z",
            id="a day that never came has no length",
        ),
    ],
)
def test_clock_changes(zone: str, start_date: str, end_date: str, start: str, end: str) -> None:
    """Local times that come twice or never still mean one instant, the one that loses no call."""
    assert spoken(parse_period(start_date, end_date, zone=ZoneInfo(zone), now=NOW)) == (start, end)


@pytest.mark.parametrize(
    ("now", "hours"),
    [
        pytest.param("2026-03-30T10:00:00Z", 23, id="spring"),
        pytest.param("2026-10-26T10:00:00Z", 25, id="autumn"),
    ],
)
def test_yesterday_has_the_length_it_had(now: str, hours: int) -> None:
    """`-1…-0` goes from midnight to midnight, over a clock change too, and does not count 24 hours."""
    period = parse_period("-1", "-0", zone=BERLIN, now=Instant.parse(now))
    assert period.end - period.start == hours * 3600 * SECOND


def test_days_ago_by_the_midnight_that_never_came() -> None:
    """`-1` in a zone whose midnight was jumped over is the first instant of that day."""
    now = Instant.parse("2018-11-05T12:00:00Z")
    period = parse_period("-1", "-0", zone=ZoneInfo("America/Sao_Paulo"), now=now)
    assert spoken(period) == ("2018-11-04T03:00:00.000Z", "2018-11-05T02:00:00.000Z")


@pytest.mark.parametrize(
    ("start_date", "end_date", "parameter", "told"),
    [
        ("0", None, "start_date", "write -0"),
        ("-1", "0", "end_date", "write -0"),
        ("00", None, "start_date", "write -0"),
        ("7", None, "start_date", "write -7"),
        ("1622138519000", None, "start_date", "milliseconds"),
        ("2021-05-25 22:00:00", "2021-05-25 10:30:00", "end_date", "before"),
        ("-1", "-2", "end_date", "before"),
        ("-1", "-1", "end_date", "end_date=-0"),
        ("-0", "-0", "end_date", "leave end_date out"),
        ("2026-03-29 02:10:00", "2026-03-29 02:20:00", "end_date", "nothing lies between"),
        ("2026-11-24 00:00:00", None, "start_date", "future"),
        ("2026-11-24 00:00:00", "2026-11-25 00:00:00", "start_date", "future"),
        ("2021-02-30 10:00:00", None, "start_date", "calendar"),
        ("2021-05-25 24:00:00", None, "start_date", "calendar"),
        ("2021-05-25 23:59:60", None, "start_date", "calendar"),
        ("0021-05-25 10:00:00", None, "start_date", "year"),
        ("9999-12-31", None, "start_date", "year"),
        ("-999999", None, "start_date", "1970"),
        ("", None, "start_date", "YYYY-MM-DD"),
        ("-1", "", "end_date", "YYYY-MM-DD"),
        ("yesterday", None, "start_date", "YYYY-MM-DD"),
        ("2021-05-25 10:30", None, "start_date", "YYYY-MM-DD"),
        ("2021-05-25  10:30:00", None, "start_date", "YYYY-MM-DD"),
        ("2021-05-25 10:30:00Z", None, "start_date", "YYYY-MM-DD"),
        ("2021-05-25 10:30:00.5", None, "start_date", "YYYY-MM-DD"),
        ("2021-5-25 10:30:00", None, "start_date", "YYYY-MM-DD"),
        ("25.05.2021", None, "start_date", "YYYY-MM-DD"),
        ("1267568856.11", None, "start_date", "YYYY-MM-DD"),
        ("+5", None, "start_date", "YYYY-MM-DD"),
        ("--1", None, "start_date", "YYYY-MM-DD"),
        ("-1.5", None, "start_date", "YYYY-MM-DD"),
        ("-1\n", None, "start_date", "YYYY-MM-DD"),
        (" -1", None, "start_date", "YYYY-MM-DD"),
        ("-١", None, "start_date", "YYYY-MM-DD"),
        ("1" * 5000, None, "start_date", "YYYY-MM-DD"),
    ],
)
def test_what_is_refused(start_date: str, end_date: str | None, parameter: str, told: str) -> None:
    """A wrong date is an error that names its parameter and says what to write instead."""
    with pytest.raises(BadRequestError) as caught:
        parse_period(start_date, end_date, zone=BERLIN, now=NOW)
    assert caught.value.parameter == parameter
    assert told in caught.value.message
    assert len(caught.value.message) < 300


DATE_LIKE = st.from_regex(r"-?[0-9]{1,12}|[0-9]{1,4}-[0-9]{1,2}-[0-9]{1,2}([ T][0-9:]{1,8})?", fullmatch=True)


@given(
    start_date=st.one_of(st.text(), DATE_LIKE),
    end_date=st.one_of(st.none(), st.text(), DATE_LIKE),
    zone=st.sampled_from(ZONES),
)
def test_any_text_is_a_period_or_a_bad_request(start_date: str, end_date: str | None, zone: str) -> None:
    """Whatever is written, the answer is a period with an end not before its start, or BadRequestError."""
    try:
        period = parse_period(start_date, end_date, zone=ZoneInfo(zone), now=NOW)
    except BadRequestError as error:
        assert error.parameter in {"start_date", "end_date"}  # noqa: PT017 - either outcome is right
    else:
        assert period.start <= period.end


WALLS = st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2026, 11, 1))  # noqa: DTZ001 - wall times


@given(first=WALLS, later=st.timedeltas(timedelta(0), timedelta(days=3)), zone=st.sampled_from(ZONES))
def test_a_later_wall_time_never_ends_earlier(first: datetime, later: timedelta, zone: str) -> None:
    """Over any clock change, the end of a later local second is not before the end of an earlier one."""
    ends = []
    for wall in (first, first + later):
        text = wall.strftime("%Y-%m-%d %H:%M:%S")
        ends.append(parse_period("1980-01-01", text, zone=ZoneInfo(zone), now=NOW).end)
    assert ends[0] <= ends[1]


@given(day=st.integers(0, 13000), zone=st.sampled_from(ZONES), now=st.integers(1_700_000_000, 1_800_000_000))
def test_days_join_without_gap_or_overlap(day: int, zone: str, now: int) -> None:
    """`-N…-M` ends exactly where `-M` begins, and `-N` is the first instant of its local day."""
    place, moment = ZoneInfo(zone), now * SECOND
    period = parse_period(f"-{day + 2}", f"-{day}", zone=place, now=moment)
    assert period.end == parse_period(f"-{day}", None, zone=place, now=moment).start
    local = [Instant(period.end + step).utc().astimezone(place).date() for step in (-1, 0)]
    today: date = Instant(moment).utc().astimezone(place).date()
    assert local[0] < local[1]
    assert local[1] >= today - timedelta(days=day)
    assert DAY < period.end - period.start < 3 * DAY
