"""Instants: whole microseconds since 1970-01-01T00:00:00Z, the unit of every time in celreplay.

An integer is exact (CEL's own times have microseconds), compares and subtracts without a time zone, and is
what SQLite stores. Durations are seconds as float.
"""

from datetime import UTC, datetime, timedelta

SECOND = 1_000_000
DAY = 86_400 * SECOND
FOREVER = 2**63 - 1
"""Later than any instant."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Instant(int):
    """A moment, UTC, in microseconds since the epoch. Arithmetic gives plain ints, also microseconds."""

    __slots__ = ()

    def iso(self) -> str:
        """`2026-11-23T01:09:02.485Z`: milliseconds, cut, never rounded up into the next second."""
        return self.utc().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def utc(self) -> datetime:
        """The aware UTC datetime."""
        return _EPOCH + timedelta(microseconds=int(self))

    @classmethod
    def of(cls, moment: datetime) -> "Instant":
        """The instant of an aware datetime."""
        return cls((moment - _EPOCH) // _MICROSECOND)

    @classmethod
    def parse(cls, text: str) -> "Instant":
        """The instant of an ISO-8601 text with an offset or `Z`. Raises ValueError."""
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(f"no offset in {text!r}")
        return cls.of(moment)


def seconds_between(start: int, end: int) -> float:
    """Seconds from `start` to `end` with milliseconds, never negative: CEL's rows may run backwards by
    some milliseconds around a hangup (observed on Asterisk 16.28 and 22.10)."""
    return max(0, round((end - start) / 1000)) / 1000
