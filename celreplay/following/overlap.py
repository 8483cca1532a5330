"""Which rows of a repeated read are new, where no id tells. Pure."""

from collections import Counter
from collections.abc import Sequence

from celreplay.cel.events import CelEvent


class Overlap:
    """What the last read gave, to be taken out of the next, which covers a part of the same time.

    A row is known by all of its columns. Equal rows are as many as stand in one read.
    """

    def __init__(self) -> None:
        self._known: Counter[int] = Counter()

    def __len__(self) -> int:
        """Rows of the last read."""
        return self._known.total()

    def new_among(self, rows: Sequence[CelEvent]) -> list[CelEvent]:
        """The rows that the last read did not have. `rows` hold all that it had, as far as they are in the
        time now read."""
        names = [hash(row) for row in rows]
        left = self._known.copy()
        self._known = Counter(names)
        new: list[CelEvent] = []
        for row, name in zip(rows, names, strict=True):
            if left.get(name, 0) > 0:
                left[name] -= 1
            else:
                new.append(row)
        return new
