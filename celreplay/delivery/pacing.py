"""How many requests a second may leave: a token bucket, and a count of those that left. Pure.

The bucket holds at most `burst` tokens and gains `rate` of them a second; each request takes one. Neither
outlives the process: a start begins with a full bucket.
"""

from collections import deque
from math import ceil

import msgspec

from celreplay.times import SECOND

MINUTE = 60


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens as they stood `at` a moment."""

    rate: float
    """Tokens a second."""
    burst: int
    level: float
    at: int

    def moved(self, now: int) -> "Bucket":
        """As it stands now. A clock that was put back fills nothing, and costs no more than that."""
        gained = max(0, now - self.at) / SECOND * self.rate
        return msgspec.structs.replace(self, level=min(self.burst, self.level + gained), at=int(now))

    def less(self, tokens: int) -> "Bucket":
        """After `tokens` were taken, or put back where it is less than 0."""
        return msgspec.structs.replace(self, level=min(self.burst, self.level - tokens))

    @property
    def whole(self) -> int:
        """Requests that may leave at once."""
        return max(0, int(self.level + _TINY))

    @property
    def ready_at(self) -> int:
        """When the next token is there."""
        lacking = max(0.0, 1 - self.level)
        return self.at + (ceil(lacking / self.rate * SECOND) if lacking > _TINY else 0)


_TINY = 1e-6
"""Of a token: instants are whole microseconds, so that a third of a second never makes exactly a third."""


class Meter:
    """Requests of the last minute, counted by the second."""

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()

    def count(self, now: int) -> None:
        """A request leaves."""
        second = now // SECOND
        if not self._seconds or self._seconds[-1][0] != second:
            self.last_minute(now)
            self._seconds.append([second, 0])
        self._seconds[-1][1] += 1

    def last_minute(self, now: int) -> int:
        """Requests of the last 60 s, the present second included."""
        while self._seconds and not 0 <= now // SECOND - self._seconds[0][0] < MINUTE:
            self._seconds.popleft()
        return sum(count for _, count in self._seconds)
