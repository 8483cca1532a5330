"""The PBX of a run: writes the rows of many calls, each at its moment, many calls at a time."""

import asyncio
import functools
import heapq
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from itertools import count

from chaos.kinds import Happening, Maker, Row
from chaos.ledger import Ledger
from chaos.tables import PostgresqlTable, Table

_PAUSE = 0.1
"""Seconds between tries to write while the database is away."""
_LATE_ROWS = 0.02
"""The part of the rows that a second writer holds back."""
_LONGEST = 21.0
"""Seconds the longest captured call lasts."""


class Pbx:
    """Writes calls into a table, and into its ledger each call whose last row is there."""

    def __init__(self, table: Table, ledger: Ledger, seed: str, late: float = 0.0) -> None:
        self.table = table
        self.ledger = ledger
        self.maker = Maker(seed)
        self._late = late
        """Seconds that a row may be seen later than those behind it; 0: as one Asterisk writes."""
        self._random = random.Random(f"{seed} moments")

    def _plan(self, calls: int, begin: float, seconds: float) -> list[Happening]:
        """So many calls (one more where the last two are joined), spread over the time, in clusters too."""
        planned: list[Happening] = []
        moment = begin
        number = 0
        while number < calls:
            if self._random.random() < 0.7:  # else two begin together
                moment = begin + self._random.random() * seconds
            planned.append(self.maker.happening(moment))
            number += len(planned[-1].truths)
        return planned

    async def past(self, calls: int, seconds: float) -> tuple[int, int]:
        """Calls of the past, written at once; the UNIX seconds between which all their rows lie."""
        now = time.time()
        begin = now - seconds - 120
        order = _merged(self._plan(calls, begin, seconds))
        for place in range(0, len(order), 500):
            await self.table.insert(row for _, row, _ in order[place : place + 500])
        for happening in {id(each): each for _, _, each in order}.values():
            self._written(happening, history=True)
        return int(begin) - 2, int(begin + seconds + _LONGEST) + 2

    async def live(self, calls: int, seconds: float) -> None:
        """Calls that begin within so many seconds from now; returns when the last row is written."""
        order = _merged(self._plan(calls, time.time() + 1.0, seconds))
        rest = Counter(id(happening) for _, _, happening in order)
        away: dict[int, list[asyncio.Task[None]]] = defaultdict(list)
        ends = []
        for moment, row, happening in order:
            await asyncio.sleep(max(0.0, moment - time.time()))
            key = id(happening)
            if isinstance(self.table, PostgresqlTable) and self._late and self._random.random() < _LATE_ROWS:
                away[key].append(await self._write_late(self.table, row))
            else:
                await self._write(row)
            rest[key] -= 1
            if not rest[key]:
                ends.append(asyncio.create_task(self._end(happening, away.pop(key, []))))
        await asyncio.gather(*ends)

    async def _end(self, happening: Happening, away: list[asyncio.Task[None]]) -> None:
        for task in away:
            await task
        self._written(happening, history=False, late=time.time() - happening.rows[-1][0] if away else 0.0)

    async def _write(self, row: Row) -> None:
        """As long as it takes: a row that Asterisk could not write would be lost before celreplay."""
        while True:
            try:
                await self.table.insert([row])
                return
            except ConnectionError:
                await asyncio.sleep(_PAUSE)

    async def _write_late(self, table: PostgresqlTable, row: Row) -> asyncio.Task[None]:
        """Its id is taken now; the task ends when it is seen."""

        async def later(commit: Callable[[], Awaitable[None]], seconds: float) -> None:
            await asyncio.sleep(seconds)
            try:
                await commit()
            except ConnectionError:
                await self._write(row)

        try:
            commit = await table.insert_late(row)
        except ConnectionError:
            commit = functools.partial(self._write, row)
        return asyncio.create_task(later(commit, self._random.uniform(0.0, self._late)))

    def _written(self, happening: Happening, *, history: bool, late: float = 0.0) -> None:
        for truth in happening.truths:
            self.ledger.write(
                "call",
                linkedid=truth.linkedid,
                others=truth.others,
                ended=time.time(),
                call=happening.kind,
                optional=truth.optional,
                history=history,
                number=truth.number,
                late=round(late, 3),
            )


def _merged(happenings: list[Happening]) -> list[tuple[float, Row, Happening]]:
    """All rows by their moment; those of a call in the order of writing."""
    serial = count()
    streams = [[(moment, next(serial), row, each) for moment, row in each.rows] for each in happenings]
    return [(moment, row, each) for moment, _, row, each in heapq.merge(*streams, key=lambda item: item[:2])]
