"""Ids that are missing behind the place reached: their rows may come late. Pure.

Two writers of one table take id 100 and 101, and the second commits first. An INSERT that was rolled back
leaves its id missing for ever, a purge leaves many, a Galera cluster (`auto_increment_increment`) some behind
every row: so only the latest are remembered, and none for long.
"""

from collections.abc import Iterable

from celreplay.times import SECOND

PATIENCE = 60 * SECOND
"""A missing id is asked for this long."""
MOST = 1_000
"""Missing ids remembered; the oldest are given up first."""
_OF_ONE_GAP = 100  # those before its end: a sequence that was set ahead leaves thousands


class Gaps:
    """The missing ids that are still waited for. `now`: microseconds of a clock that never jumps."""

    def __init__(self) -> None:
        self._since: dict[int, int] = {}

    def pass_over(self, last: int, ids: Iterable[int], now: int) -> None:
        """Ids were read behind `last`, in their order: remember those that are missing among them."""
        before = last
        for id_ in ids:
            if id_ > before + 1:
                for missing in range(max(before + 1, id_ - _OF_ONE_GAP), id_):
                    self._since[missing] = now
            before = id_
        for oldest in list(self._since)[: max(0, len(self._since) - MOST)]:
            del self._since[oldest]

    def close(self, ids: Iterable[int], now: int) -> None:
        """All were asked for, and these have come; those that have been missing for long never will."""
        for id_ in ids:
            self._since.pop(id_, None)
        # in the order of their `since`: the first that is young ends the old ones
        for missing, since in list(self._since.items()):
            if since + PATIENCE > now:
                break
            del self._since[missing]

    @property
    def missing(self) -> list[int]:
        """What to ask for."""
        return list(self._since)

    def missing_since(self, moment: int) -> list[int]:
        """Those that were noticed after `moment`, in their order."""
        return sorted(id_ for id_, since in self._since.items() if since > moment)

    @property
    def lowest(self) -> int | None:
        """The lowest id that may still come; None when nothing is missing."""
        return min(self._since, default=None)
