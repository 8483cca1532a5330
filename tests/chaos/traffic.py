"""The PBX of a run: writes the rows of many calls, each at its moment, many calls at a time."""

import asyncio
import heapq
import random
import time
from itertools import count
from typing import Any

from chaos.kinds import Happening, Maker, Row
from chaos.ledger import Ledger
from chaos.tables import Table

_PAUSE = 0.1
"""Seconds between tries to write while the database is away."""
_LONGEST = 21.0
"""Seconds the longest captured call lasts."""


class Pbx:
    """Writes calls into a table, and into its ledger each call whose last row is there."""

    def __init__(self, table: Table, ledger: Ledger, seed: str) -> None:
        self.table = table
        self.ledger = ledger
        self.maker = Maker(seed)
        self.calls = 0
        self.rows = 0
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
        self.calls += number
        return planned

    async def past(self, calls: int, seconds: float) -> tuple[int, int]:
        """Calls of the past, written at once; the UNIX seconds between which all their rows lie."""
        now = time.time()
        begin = now - seconds - 120
        order = _merged(self._plan(calls, begin, seconds))
        for place in range(0, len(order), 500):
            await self.table.insert(row for _, row, _ in order[place : place + 500])
        self.rows += len(order)
        for happening in {id(each): each for _, _, each in order}.values():
            self._written(happening, history=True)
        return int(begin) - 2, int(begin + seconds + _LONGEST) + 2

    async def live(self, calls: int, seconds: float) -> None:
        """Calls that begin within so many seconds from now; returns when the last row is written."""
        order = _merged(self._plan(calls, time.time() + 1.0, seconds))
        left: dict[int, int] = {}
        for _, _, happening in order:
            left[id(happening)] = left.get(id(happening), 0) + 1
        for moment, row, happening in order:
            await asyncio.sleep(max(0.0, moment - time.time()))
            await self._write(row)
            self.rows += 1
            left[id(happening)] -= 1
            if not left[id(happening)]:
                self._written(happening, history=False)

    async def _write(self, row: Row) -> None:
        """As long as it takes: a row that Asterisk could not write would be lost before celreplay."""
        while True:
            try:
                await self.table.insert([row])
                return
            except ConnectionError:
                await asyncio.sleep(_PAUSE)

    def _written(self, happening: Happening, *, history: bool) -> None:
        now = time.time()
        for truth in happening.truths:
            facts: dict[str, Any] = {"linkedid": truth.linkedid, "others": truth.others, "ended": now}
            self.ledger.write(
                "call",
                **facts,
                call=happening.kind,
                optional=truth.optional,
                history=history,
                number=truth.number,
            )


def _merged(happenings: list[Happening]) -> list[tuple[float, Row, Happening]]:
    """All rows by their moment; those of a call in the order of writing."""
    serial = count()
    streams = [[(moment, next(serial), row, each) for moment, row in each.rows] for each in happenings]
    return [(moment, row, each) for moment, _, row, each in heapq.merge(*streams, key=lambda item: item[:2])]
