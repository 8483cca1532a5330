"""The store in one SQLite file: a thread that writes, a thread that reads."""

import asyncio
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from celreplay.calls.model import Call
from celreplay.errors import StoreError
from celreplay.retention import RetentionConfig
from celreplay.store.base import (
    Claim,
    FinishedCall,
    Hold,
    Lane,
    Queueing,
    Reading,
    Replay,
    ReplayState,
    ReplayStep,
    Settlement,
    State,
)
from celreplay.store.records import AttemptRecord, DeliveryPage, DeliveryRecord, Place, Rebuilt, Wanted
from celreplay.store.retention import Forgotten
from celreplay.store.sqlite import (
    asking,
    byhand,
    check,
    listing,
    queueing,
    renaming,
    replays,
    retention,
    schema,
)
from celreplay.store.sqlite import claims as claiming
from celreplay.store.sqlite.asking import Patience
from celreplay.store.sqlite.copying import create
from celreplay.store.sqlite.errors import is_damage, store_error
from celreplay.store.sqlite.jsontext import json_text
from celreplay.store.sqlite.statements import SQL
from celreplay.store.sqlite.thread import Damage, DatabaseThread


class SqliteStore:
    """See `Store` for what each method promises. The file may be open in several processes at once."""

    def __init__(self, path: Path, system: str, interpreter: str, busy_timeout: float) -> None:
        self.path = path
        self._system = system
        self._interpreter = interpreter
        self._served: dict[str, int] = {}
        self._patience: dict[str, Patience] = {}
        schema.refuse_unknown(path)
        writing = schema.connect(path, busy_timeout=busy_timeout)
        try:
            schema.migrate(writing, path)
            reading = schema.connect(path, busy_timeout=busy_timeout, query_only=True)
        except BaseException:
            writing.close()
            raise
        self._damage = Damage(str(path))
        self._writer = DatabaseThread(writing, str(path), self._damage, writes=True)
        self._reader = DatabaseThread(reading, str(path), self._damage, writes=False)

    @classmethod
    def open(
        cls, path: str | Path, *, system: str, interpreter: str = "", busy_timeout: float = 10.0
    ) -> "SqliteStore":
        """Open the store, or make it (mode 0600; its folder must exist), and migrate it. `system` is
        `pbx.name`, a part of each delivery's identity; `interpreter` is stored beside each call, to tell
        later by which rules it was understood. Blocks; raises StoreError."""
        path = Path(path)
        create(path)
        try:
            return cls(path, system, interpreter, busy_timeout)
        except (sqlite3.Error, OSError) as error:
            found = check.first_damage(str(path)) if is_damage(error) else ""
            raise store_error(error, str(path), found) from None

    @property
    def damage(self) -> StoreError | None:
        return self._damage.error

    async def save_calls(
        self,
        calls: Sequence[FinishedCall],
        *,
        now: int,
        reading: Reading | None = None,
        step: ReplayStep | None = None,
    ) -> Sequence[Queueing]:
        def work(connection: sqlite3.Connection) -> Sequence[Queueing]:
            return queueing.save_calls(connection, self._system, self._interpreter, calls, now, reading, step)

        return await self._writer.run(work)

    async def reading(self) -> Reading | None:
        return await self._reader.run(asking.reading)

    async def pbx_name(self) -> str | None:
        return await self._reader.run(partial(asking.meta, key="pbx_name"))

    async def set_pbx_name(self, name: str) -> None:
        """Calls and deliveries move to the new name with the store. Raises StoreError while deliveries are in
        doubt: the CRM knows them by the old name."""
        await self._writer.run(lambda connection: renaming.rename(connection, name, str(self.path)))
        self._system = name

    async def once(self, what: str, *, now: int) -> bool:
        values = {"key": f"once:{what}", "value": str(int(now))}
        return await self._writer.run(lambda connection: connection.execute(SQL["once"], values).rowcount > 0)

    async def call(self, linkedid: str) -> Call | None:
        return await self._reader.run(lambda connection: asking.call(connection, linkedid, self._system))

    async def claim(
        self,
        connector: str,
        limit: int,
        *,
        now: int,
        order_patience: float,
        live_patience: float = 0.0,
        replay_at_least: int = 0,
        replay_at_most: int | None = None,
    ) -> Sequence[Claim]:
        self._patience[connector] = Patience(order_patience, live_patience)
        share = (replay_at_least, replay_at_most)
        terms = claiming.Terms(connector, limit, order_patience, live_patience, *share)
        return await self._writer.run(lambda connection: claiming.claim(connection, terms, now, self._served))

    async def checkpoint(self, delivery_id: int, token: int, data: bytes) -> bool:
        return await self._writer.run(
            lambda connection: claiming.checkpoint(connection, delivery_id, token, data)
        )

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return await self._writer.run(lambda connection: claiming.settle(connection, settlements))

    async def release(self, claims: Sequence[Claim], *, now: int, reason: str) -> None:
        await self._writer.run(lambda connection: claiming.release(connection, claims, now, reason))

    async def recover(self, *, now: int) -> int:
        return await self._writer.run(lambda connection: claiming.recover(connection, now))

    async def next_due(self, connector: str, lanes: Collection[Lane] = tuple(Lane)) -> int | None:
        """None also where all that waits must wait for one that is being sent: its settling is the moment
        to claim again. The end of a patience counts as soon as a claim has told how long it is."""
        patience = self._patience.get(connector)
        return await self._reader.run(
            lambda connection: asking.next_due(connection, connector, patience, lanes)
        )

    async def oldest_due(self, connector: str) -> int | None:
        return await self._reader.run(partial(asking.oldest_due, connector=connector))

    async def connector_state(self, connector: str) -> dict[str, str]:
        return await self._reader.run(partial(asking.connector_state, connector=connector))

    async def set_connector_state(self, connector: str, state: Mapping[str, str]) -> None:
        values = {"connector": connector, "state": json_text(dict(state))}
        await self._execute("set_connector_state", values)

    async def holds(self) -> Mapping[str, Hold]:
        return await self._reader.run(asking.holds)

    async def set_hold(self, connector: str, hold: Hold | None) -> None:
        values: dict[str, object] = {"connector": connector}
        if hold is None:
            await self._execute("release_hold", values)
        else:
            values |= {"hold": json_text(hold), "since": hold.since}
            await self._execute("set_hold", values)

    async def add_replay(self, replay: Replay) -> int:
        return await self._writer.run(lambda connection: replays.add_replay(connection, replay))

    async def replay(self, replay_id: int) -> Replay | None:
        return await self._reader.run(lambda connection: replays.get_replay(connection, replay_id))

    async def replays(self, *, unfinished: bool = False, limit: int = 100) -> Sequence[Replay]:
        return await self._reader.run(
            lambda connection: replays.list_replays(connection, unfinished=unfinished, limit=limit)
        )

    async def set_replay_state(
        self, replay_id: int, state: ReplayState, *, now: int, error: str = ""
    ) -> None:
        await self._writer.run(
            lambda connection: replays.set_replay_state(connection, replay_id, state, now, error)
        )

    async def holds_of_replay(self, replay_id: int) -> Mapping[str, Hold]:
        return await self._reader.run(lambda connection: asking.holds(connection, replay_id))

    async def replay_items(self, replay_id: int, *, limit: int = 1000) -> Sequence[Queueing]:
        return await self._reader.run(lambda connection: asking.replay_items(connection, replay_id, limit))

    async def deliveries(
        self,
        *,
        linkedid: str | None = None,
        connector: str | None = None,
        state: State | None = None,
        limit: int = 100,
    ) -> Sequence[DeliveryRecord]:
        states = () if state is None else (state,)
        wanted = Wanted(linkedid=linkedid, connector=connector, states=states)
        return (await self.list_deliveries(wanted, limit=limit)).deliveries

    async def list_deliveries(
        self, wanted: Wanted, *, after: Place | None = None, limit: int = 100
    ) -> DeliveryPage:
        return await self._reader.run(
            lambda connection: listing.page(connection, self._system, wanted, after, limit)
        )

    async def delivery(self, delivery_id: int) -> DeliveryRecord | None:
        return await self._reader.run(lambda connection: listing.delivery(connection, delivery_id))

    async def attempts(self, delivery_id: int) -> Sequence[AttemptRecord]:
        return await self._reader.run(lambda connection: listing.attempts(connection, delivery_id))

    async def retry(
        self,
        wishes: Mapping[int, Rebuilt | None],
        *,
        by: str,
        now: int,
        askable: Collection[str] = (),
        whole: bool = False,
    ) -> Mapping[int, str]:
        return await self._writer.run(
            lambda connection: byhand.retry(connection, wishes, by, now, askable, whole=whole)
        )

    async def discard(
        self, ids: Collection[int], *, by: str, now: int, whole: bool = False
    ) -> Mapping[int, str]:
        return await self._writer.run(
            lambda connection: byhand.discard(connection, ids, by, now, whole=whole)
        )

    async def resume(self, connector: str, *, now: int) -> bool:
        return await self._writer.run(lambda connection: byhand.resume(connection, connector, now))

    async def set_back(self, *, by: int) -> None:
        await self._writer.run(lambda connection: byhand.set_back(connection, by))

    async def wake_late(self, *, now: int, furthest: int) -> int:
        return await self._writer.run(lambda connection: byhand.wake_late(connection, now, furthest))

    async def forget(
        self, ages: RetentionConfig, *, now: int, after: Forgotten | None = None, limit: int = 500
    ) -> Forgotten:
        return await self._writer.run(
            lambda connection: retention.forget(connection, ages, now, after or Forgotten(), limit)
        )

    async def counts(self) -> Mapping[str, Mapping[State, int]]:
        return await self._reader.run(asking.counts)

    async def check(self) -> list[str]:
        """What is wrong inside the store, by looking at everything; empty when nothing is. Takes long."""
        return await self._reader.run(check.findings)

    async def aclose(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._reader.close()
        self._writer.close()

    async def _execute(self, name: str, values: Mapping[str, object]) -> None:
        await self._writer.run(lambda connection: connection.execute(SQL[name], dict(values)).close())
