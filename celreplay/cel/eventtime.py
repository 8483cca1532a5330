"""Reading `eventtime`: epoch seconds, UTC or local time, as number, text or datetime. Pure.

Asterisk writes epoch text into SQLite, and local time without an offset into PostgreSQL and MySQL unless
`usegmtime=yes`. Which of the two is in a table is found from the rows: a channel's uniqueid holds the epoch
second of its creation, and its CHAN_START is written within that second.
"""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple

from celreplay.times import SECOND

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive on purpose: what the columns hold
_MICROSECOND = timedelta(microseconds=1)
_QUARTER = 900 * SECOND  # zones change their offset on a quarter of an hour
_QUARTERS_KEPT = 100_000
_LATEST = 253_402_300_800 * SECOND  # the year 10000, where datetime ends
_UNIQUEID = re.compile(r"(?:.*-)?(\d{9,10})\.\d+", re.DOTALL)
_LATE = 5  # seconds CHAN_START may come after its uniqueid was made


def epoch_of(uniqueid: str) -> int | None:
    """The second in which the channel of this uniqueid was made (`[systemname-]epoch.counter`), in
    microseconds; None where the text is no uniqueid of Asterisk."""
    match = _UNIQUEID.fullmatch(uniqueid)
    return int(match[1]) * SECOND if match and match[1].isascii() else None


class EventTimes:
    """Reads values of `eventtime`; naive ones are times of `zone`."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        self._zone = zone
        self._offsets: dict[int, tuple[int, bool]] = {}

    def read(self, value: object) -> tuple[int, bool]:
        """The instant, and whether its local time occurs twice (then it is the first of the two).

        Raises ValueError for what is no time.
        """
        moment = value if type(value) is datetime else moment_of(value)
        if isinstance(moment, int):
            return moment, False
        if moment.tzinfo is not None:
            return (moment - _EPOCH.replace(tzinfo=UTC)) // _MICROSECOND, False
        wall = (moment - _EPOCH) // _MICROSECOND
        offset, twice = self._offsets.get(wall // _QUARTER) or self._offset(wall // _QUARTER, moment)
        return wall - offset, twice

    def written(self, instant: int) -> datetime:
        """The naive time that Asterisk writes for an instant."""
        utc = _EPOCH.replace(tzinfo=UTC) + timedelta(microseconds=instant)
        return utc.astimezone(self._zone).replace(tzinfo=None)

    def _offset(self, quarter: int, moment: datetime) -> tuple[int, bool]:
        if len(self._offsets) >= _QUARTERS_KEPT:
            self._offsets.clear()
        first = moment.replace(tzinfo=self._zone, fold=0).utcoffset() or timedelta()
        second = moment.replace(tzinfo=self._zone, fold=1).utcoffset() or timedelta()
        # where the clock goes forward the two differ the other way round: that hour does not exist
        found = (first // _MICROSECOND, first > second)
        self._offsets[quarter] = found
        return found


def moment_of(value: object) -> int | datetime:
    """Microseconds since the epoch, or the datetime as written. Raises ValueError for what is no time."""
    if isinstance(value, datetime):
        return value
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    text = text.strip()
    seconds, _, fraction = text.partition(".")
    if seconds.isdecimal() and seconds.isascii() and (not fraction or fraction.isdecimal()):
        return _epoch(int(seconds), fraction)
    moment = datetime.fromisoformat(text)
    if moment.year < 1970:  # noqa: PLR2004 - Asterisk is younger than the epoch; `0000-00-00` relatives
        raise ValueError(f"before 1970: {text!r}")
    return moment


def _epoch(number: int, fraction: str) -> int:
    unit = SECOND
    while number * unit >= _LATEST // 2 and unit > 1:  # milli- and microseconds by their size
        unit //= 1000
    instant = number * unit + int(f"{fraction:0<6}"[:6]) * unit // SECOND
    if instant >= _LATEST:
        raise ValueError(f"no time: {number}")
    return instant


class FoundZone(NamedTuple):
    """What the rows of a table say about its naive times."""

    zone: tzinfo
    form: str
    """For people: `UTC`, `local time (Europe/Moscow)`, …"""
    proved: bool
    """False while no row could decide; looking again when there are more rows is right."""


def zone_of(samples: Iterable[tuple[datetime, str]], local: tzinfo, name: str) -> FoundZone:
    """Judge naive times of CHAN_START rows, given with the row's uniqueid, oldest first.

    `local` is the zone of the PBX called `name`. An offset that fits neither UTC nor `local` is used as
    measured, and said in `form`, so that a person sees it.
    """
    pairs = [(wall, epoch) for wall, uniqueid in samples if (epoch := epoch_of(uniqueid)) is not None]
    utc = sum(_fits(wall, epoch, UTC) for wall, epoch in pairs)
    own = sum(_fits(wall, epoch, local) for wall, epoch in pairs)
    here = f"local time ({name})"
    if not pairs:
        return FoundZone(local, f"{here}, taken for granted: no CHAN_START row to compare with", proved=False)
    if max(utc, own) * 2 > len(pairs):
        if utc == own:  # the zone's clock stands at UTC in all rows seen
            return FoundZone(local, here, proved=not _leaves_utc(local))
        return FoundZone(UTC, "UTC", proved=True) if utc > own else FoundZone(local, here, proved=True)
    offset = Counter(_measured(wall, epoch) for wall, epoch in pairs[-100:]).most_common(1)[0][0]
    fixed = timezone(offset)
    return FoundZone(fixed, f"{fixed} as measured, which fits neither UTC nor {here}: set pbx.timezone", True)


def _fits(wall: datetime, epoch: int, zone: tzinfo) -> bool:
    gap = (wall - EventTimes(zone).written(epoch)).total_seconds()
    return -1 < gap < _LATE


def _measured(wall: datetime, epoch: int) -> timedelta:
    gap = wall - EventTimes().written(epoch)
    minutes = round(gap.total_seconds() / 900) * 15
    return timedelta(minutes=max(-14 * 60, min(14 * 60, minutes)))


def _leaves_utc(zone: tzinfo) -> bool:
    return any(datetime(2026, month, 1, tzinfo=zone).utcoffset() for month in (1, 7))
