"""How fast a replay goes, and when it will have been sent: from what its watchers have seen."""

from collections import deque

import msgspec

from celreplay.store.base import Replay, ReplayState
from celreplay.times import SECOND

WINDOW = 60 * SECOND
"""A rate is one of so long, as far as somebody has been looking."""
_BETWEEN = SECOND


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Of one replay at one moment."""

    rate: float | None = None
    """Deliveries settled a second; None where it cannot be told yet."""
    ends_at: int | None = None
    """When the last one will be settled at this rate, microseconds UTC; None: it cannot be told."""


class Pace:
    """Remembers the looks at replays that go on."""

    def __init__(self) -> None:
        self._seen: dict[int, deque[tuple[int, int]]] = {}

    def seen(self, replay: Replay, now: int) -> Progress:
        """Note how far it is at `now`. The first look goes by all the time since the request."""
        settled = replay.delivered + replay.dead
        if replay.finished_at is not None:
            self._seen.pop(replay.id, None)
            return Progress(rate=_rate(settled, replay.finished_at - replay.requested_at))
        looks = self._seen.setdefault(replay.id, deque([(replay.requested_at, 0)]))
        while len(looks) > 1 and looks[1][0] <= now - WINDOW:
            looks.popleft()
        since, before = looks[0]
        rate = _rate(settled - before, now - since)
        if now - looks[-1][0] >= _BETWEEN:
            looks.append((now, settled))
        if not rate or replay.state is not ReplayState.DELIVERING:
            return Progress(rate=rate)
        return Progress(rate=rate, ends_at=now + round(replay.waiting / rate * SECOND))


def _rate(settled: int, microseconds: int) -> float | None:
    return None if microseconds <= 0 else round(settled / microseconds * SECOND, 3)
