"""Whose turn it is among due deliveries: live ones by their calls' start, others by replay.

A replay of a million calls leaves the next place to one that was asked for later: both make progress.
"""

import sqlite3
from collections import deque
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import ExitStack, closing
from itertools import islice

from celreplay.store.base import Lane
from celreplay.store.sqlite.statements import SQL

Served = MutableMapping[str, int]
"""connector → the replay that had the latest turn; 0 for what no replay asked for (any more)."""


class Turns:
    """Chooses deliveries of one connector for one claim, never two of a strand."""

    def __init__(self, connection: sqlite3.Connection, connector: str, served: Served) -> None:
        self._connection = connection
        self._connector = connector
        self._served = served
        self._chosen: set[int] = set()
        self._strands: set[str] = set()

    def live(self, limit: int) -> Sequence[sqlite3.Row]:
        """Up to `limit` live ones."""
        values = {"connector": self._connector, "lane": int(Lane.LIVE)}
        with closing(self._connection.execute(SQL["ready"], values)) as cursor:
            return list(islice(self._free(cursor), max(limit, 0)))

    def replayed(self, limit: int) -> Sequence[sqlite3.Row]:
        """Up to `limit` replayed ones, one of each replay in turn."""
        rows: list[sqlite3.Row] = []
        with ExitStack() as cursors:
            streams: deque[tuple[int, Iterator[sqlite3.Row]]] = deque()
            replays = self._replays()
            while len(rows) < limit:
                if (replay_id := next(replays, None)) is not None:
                    stream = self._of_replay(replay_id, cursors)
                elif streams:
                    replay_id, stream = streams.popleft()
                else:
                    break
                if (row := next(stream, None)) is not None:
                    self._served[self._connector] = replay_id
                    rows.append(row)
                    streams.append((replay_id, stream))
        return rows

    def _free(self, cursor: Iterator[sqlite3.Row]) -> Iterator[sqlite3.Row]:
        """Those whose strand has none chosen yet, each with what its worker needs."""
        for row in cursor:
            if row["id"] in self._chosen or row["strand"] in self._strands:
                continue
            self._chosen.add(row["id"])
            if row["strand"] is not None:
                self._strands.add(row["strand"])
            yield self._connection.execute(SQL["candidate"], {"id": row["id"]}).fetchone()

    def _of_replay(self, replay_id: int, cursors: ExitStack) -> Iterator[sqlite3.Row]:
        values = {"connector": self._connector, "replay_id": replay_id or None}
        cursor = self._connection.execute(SQL["ready_of_replay"], values)
        return self._free(cursors.enter_context(closing(cursor)))

    def _replays(self) -> Iterator[int]:
        """Those with something due, from the one behind the latest turn on, then around."""
        last = self._served.get(self._connector, 0)
        yield from self._between(last, 2**62)
        yield 0
        yield from self._between(0, last)

    def _between(self, after: int, until: int) -> Iterator[int]:
        while True:
            values = {"connector": self._connector, "after": after, "until": until}
            row = self._connection.execute(SQL["next_replay"], values).fetchone()
            if row is None:
                return
            after = int(row["replay_id"])
            yield after
