"""What an admin means by `start_date` and `end_date`: one rule for the HTTP door and the command line. Pure.

The three forms are those of the documents of `/pbx/read_call`: `YYYY-MM-DD hh:mm:ss` in the PBX's local time,
UNIX seconds, and `-N` days ago (`-0` = today). A date alone is accepted too and means the whole day.
"""

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from celreplay.errors import BadRequestError
from celreplay.times import SECOND, Instant

_DAYS_AGO = re.compile(r"-([0-9]{1,6})")
_UNIX = re.compile(r"[0-9]{1,20}")
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[ T]([0-9]{2}):([0-9]{2}):([0-9]{2}))?")
_FORMS = (
    "write `YYYY-MM-DD hh:mm:ss` in the PBX's local time, `YYYY-MM-DD`, UNIX seconds, "
    "or `-N` for the midnight N days ago (`-0` is today's)"
)
_FIRST_YEAR, _LAST_YEAR = 1970, 2999
_SMALLEST_UNIX = 100_000_000
"""March 1973. A smaller number is a day count whose minus was forgotten; read as UNIX time it would ask for
every call there ever was."""
_LARGEST_UNIX = 32_503_680_000  # 3000-01-01T00:00:00Z
_ONE_DAY = timedelta(days=1)


class Period(msgspec.Struct, frozen=True):
    """A stretch of time, half-open: [start, end), microseconds since the epoch, UTC."""

    start: int
    end: int


def parse_period(start_date: str, end_date: str | None, *, zone: ZoneInfo, now: int) -> Period:
    """The period that the two parameters mean; no `end_date` is up to `now`.

    A date-time or UNIX `end_date` includes that second, a date alone that day; `-N` as `end_date` ends before
    its midnight. A local time that comes twice (the clock goes back) is its first instant as start and its
    last as end; one that never comes (the clock goes forward) is the moment of the change, as both. Raises
    BadRequestError for anything else, for a start in the future and for an end that is not after the start.
    """
    start = _edge("start_date", start_date, zone, now, is_end=False)
    if start > now:
        moment = Instant(start).iso()
        raise BadRequestError(
            f"start_date {start_date} lies in the future ({moment})", parameter="start_date"
        )
    if end_date is None:
        return Period(start, now)
    end = _edge("end_date", end_date, zone, now, is_end=True)
    if end <= start:
        raise BadRequestError(_why_empty(start_date, end_date, start, end), parameter="end_date")
    return Period(start, end)


def parse_edges(
    since: str | None, until: str | None, *, zone: ZoneInfo, now: int
) -> tuple[int | None, int | None]:
    """`since` and `until` in the same forms, each of them optional: [since, until), None = open."""
    start = None if since is None else _edge("since", since, zone, now, is_end=False)
    end = None if until is None else _edge("until", until, zone, now, is_end=True)
    if start is not None and end is not None and end <= start:
        raise BadRequestError(f"nothing lies between since {since} and until {until}", parameter="until")
    return start, end


def _why_empty(start_date: str, end_date: str, start: int, end: int) -> str:
    if end < start:
        return (
            f"end_date {end_date} ({Instant(end).iso()}) lies before "
            f"start_date {start_date} ({Instant(start).iso()})"
        )
    text = f"nothing lies between start_date {start_date} and end_date {end_date}"
    if days := _DAYS_AGO.fullmatch(end_date):
        later = int(days[1]) - 1
        text += f": {end_date} ends before that day begins"
        text += f"; to include it, write end_date=-{later}" if later >= 0 else "; leave end_date out"
    return text


def _edge(parameter: str, text: str, zone: ZoneInfo, now: int, *, is_end: bool) -> int:
    """One edge of the period, microseconds UTC; the end is the first instant that is out."""
    if days := _DAYS_AGO.fullmatch(text):
        return _days_ago(parameter, int(days[1]), zone, now)
    if _UNIX.fullmatch(text):
        return (_unix_seconds(parameter, text) + is_end) * SECOND
    if parts := _DATE.fullmatch(text):
        return _local(parameter, text, parts, zone, is_end=is_end)
    raise BadRequestError(f"{parameter} {_quoted(text)} is no time: {_FORMS}", parameter=parameter)


def _days_ago(parameter: str, days: int, zone: ZoneInfo, now: int) -> int:
    today = Instant(now).utc().astimezone(zone).date()
    try:
        day = today - timedelta(days=days)
    except OverflowError:
        day = date.min
    if day.year < _FIRST_YEAR:
        raise BadRequestError(
            f"{parameter} -{days} is before {_FIRST_YEAR}: -{days} means {days} days ago", parameter=parameter
        )
    return _begin_of(day, zone)


def _unix_seconds(parameter: str, text: str) -> int:
    seconds = int(text)
    if seconds == 0:
        why = "0 is refused, because it could mean today or 1970: for today since midnight write -0"
    elif seconds < _SMALLEST_UNIX:
        why = f"read as UNIX seconds this is {Instant(seconds * SECOND).iso()}; for days ago write -{seconds}"
    elif seconds > _LARGEST_UNIX:
        why = f"read as UNIX seconds this is after the year {_LAST_YEAR}; write seconds, not milliseconds"
    else:
        return seconds
    raise BadRequestError(f"{parameter} {_quoted(text)}: {why}", parameter=parameter)


def _local(parameter: str, text: str, parts: re.Match[str], zone: ZoneInfo, *, is_end: bool) -> int:
    year, month, day, hour, minute, second = (int(part or 0) for part in parts.groups())
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise BadRequestError(
            f"{parameter} {text}: the year must be {_FIRST_YEAR} to {_LAST_YEAR}", parameter=parameter
        )
    try:
        wall = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - a wall time
    except ValueError as error:
        raise BadRequestError(
            f"{parameter} {text} is not in the calendar: {error}", parameter=parameter
        ) from None
    if parts[4] is None:
        return _begin_of(wall.date() + _ONE_DAY if is_end else wall.date(), zone)
    if not is_end:
        return _instant_of(wall, zone, fold=0)
    return _end_of_second(wall, zone)


def _end_of_second(wall: datetime, zone: ZoneInfo) -> int:
    """The first instant after the (last) local second `wall`; the clock change where it never comes."""
    instant = _instant_of(wall, zone, fold=1)
    return instant + SECOND if _exists(wall, zone) else instant


def _begin_of(day: date, zone: ZoneInfo) -> int:
    """The first instant of a local day, also where its midnight comes twice or never."""
    return _instant_of(datetime(day.year, day.month, day.day), zone, fold=0)  # noqa: DTZ001 - a wall time


def _instant_of(wall: datetime, zone: ZoneInfo, *, fold: int) -> int:
    """The instant of a wall time: of two the `fold` one (PEP 495), of none the clock change."""
    if _exists(wall, zone):
        return Instant.of(wall.replace(tzinfo=zone, fold=fold).astimezone(UTC))
    return _clock_change(wall, zone)


def _exists(wall: datetime, zone: ZoneInfo) -> bool:
    there_and_back = wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone)
    return there_and_back.replace(tzinfo=None, fold=0) == wall


def _clock_change(wall: datetime, zone: ZoneInfo) -> int:
    """The instant at which the clock jumped over `wall`.

    In a gap PEP 495 takes the offset before it for fold 0 and the offset after it for fold 1; the change lies
    between these two instants and always at a whole second.
    """
    before = Instant.of(wall.replace(tzinfo=zone, fold=1).astimezone(UTC)) // SECOND
    after = Instant.of(wall.replace(tzinfo=zone, fold=0).astimezone(UTC)) // SECOND
    old_offset = _offset(before, zone)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(middle, zone) == old_offset:
            before = middle
        else:
            after = middle
    return after * SECOND


def _offset(second: int, zone: ZoneInfo) -> timedelta | None:
    return Instant(second * SECOND).utc().astimezone(zone).utcoffset()


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")  # noqa: PLR2004 - enough to recognise it
