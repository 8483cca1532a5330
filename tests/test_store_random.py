"""Claims against the rules written down naively, over random histories."""

import random
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from factories import START, make_call, make_finished

from celreplay.connectors.base import OutcomeKind
from celreplay.retention import RetentionConfig
from celreplay.store.base import Claim, Force, Lane, Settlement, State
from celreplay.store.sqlite import SqliteStore
from celreplay.times import SECOND
from celreplay.units import Duration

PATIENCE = 100.0
LIVE_PATIENCE = 40.0


class Waiting:
    """The rules, by looking at everything that waits."""

    def __init__(self, rows: Sequence[sqlite3.Row], now: int) -> None:
        self.rows = sorted(rows, key=lambda row: (row["started_at"], row["id"]))
        self.now = now
        self.busy = {row["strand"] for row in rows if row["state"] == "sending"}
        self.taken: list[int] = []

    def claimable(self, limit: int, least: int, most: int) -> list[int]:
        """Which may go: ids in the order of the claim."""
        share = self.due(Lane.REPLAY, min(limit, least, most))
        live = self.due(Lane.LIVE, limit - len(share))
        return live + share + self.due(Lane.REPLAY, min(limit - len(share) - len(live), most - len(share)))

    def due(self, lane: Lane, wanted: int) -> list[int]:
        found: list[int] = []
        for row in self.rows:
            if len(found) < wanted and row["lane"] == lane and self.may_go(row):
                found.append(row["id"])
                self.busy |= {row["strand"]} - {None}
                self.taken.append(row["id"])
        return found

    def may_go(self, row: sqlite3.Row) -> bool:
        if row["state"] == "sending" or row["next_at"] > self.now or row["id"] in self.taken:
            return False
        return row["strand"] is None or not (
            row["strand"] in self.busy or self.is_behind(row) or self.waits_for_replayed(row)
        )

    def of_strand(self, strand: str, lane: int) -> list[sqlite3.Row]:
        """Those of a strand and lane that let nobody pass."""
        before = self.now - PATIENCE * SECOND
        return [
            row
            for row in self.rows
            if (row["strand"], row["lane"]) == (strand, lane)
            and not row["yields"]
            and (row["failing_since"] is None or row["failing_since"] > before)
        ]

    def is_behind(self, row: sqlite3.Row) -> bool:
        others = self.of_strand(row["strand"], row["lane"])
        return any((one["started_at"], one["id"]) < (row["started_at"], row["id"]) for one in others)

    def waits_for_replayed(self, row: sqlite3.Row) -> bool:
        if row["lane"] != Lane.LIVE or row["attempts"] or row["impatient"]:
            return False
        replayed = self.of_strand(row["strand"], Lane.REPLAY)
        older = any(one["started_at"] < row["started_at"] for one in replayed)
        return older and bool(row["waiting_since"] > self.now - LIVE_PATIENCE * SECOND)


class History:
    """Does random things to a store, as its users might."""

    def __init__(self, store: SqliteStore, path: Path, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  no secret
        self.store = store
        self.now = START + 1000 * SECOND
        self.claims: list[Claim] = []
        self.saved = 0
        self.reading = sqlite3.connect(path)
        self.reading.row_factory = sqlite3.Row

    async def step(self) -> None:
        self.now += self.random.randint(0, 20) * SECOND
        steps = [self.save, self.save, self.claim, self.claim, self.claim, self.settle, self.settle]
        await self.random.choice(
            [*steps, self.settle, self.release, self.fold, self.again, self.recover, self.forget]
        )()

    async def save(self) -> None:
        self.saved += 1
        strand = self.random.choice(["1", "2", "3", None])
        lane = self.random.choice(list(Lane))
        at = START + self.random.randint(0, 50) * SECOND
        due_at = self.now + self.random.choice([-1, 0, 30]) * SECOND
        call = make_finished(f"{self.saved}", at=at, strand=strand, lane=lane, due_at=due_at)
        await self.store.save_calls([call], now=self.now)

    async def again(self) -> None:
        linkedid = f"{self.random.randint(1, self.saved + 1)}"
        call = make_call(linkedid, at=START + self.random.randint(0, 50) * SECOND, revision="r2")
        force = self.random.choice([Force.NO, Force.YES])
        strand = self.random.choice(["1", "2", None])
        again = make_finished(call=call, strand=strand, force=force, requeue_dead=True)
        await self.store.save_calls([again], now=self.now)

    async def forget(self) -> None:
        ages = RetentionConfig(
            payloads=Duration(20), dead=Duration(60), replays=Duration(9), calls=Duration(60)
        )
        await self.store.forget(ages, now=self.now, limit=self.random.choice([1, 500]))

    async def fold(self) -> None:
        self.saved += 1
        folded = f"{self.random.randint(1, self.saved)}"
        call = make_call(f"{self.saved}", linkedids=[f"{self.saved}", folded])
        await self.store.save_calls([make_finished(call=call, strand="1")], now=self.now)

    async def claim(self) -> None:
        rows = self.reading.execute("SELECT * FROM deliveries WHERE turn IS NOT NULL").fetchall()
        limit = self.random.choice([1, 2, 50])
        least, most = self.random.choice([0, 0, 1, 3]), self.random.choice([0, 1, 50])
        claims = await self.store.claim(
            "crm",
            limit,
            now=self.now,
            order_patience=PATIENCE,
            live_patience=LIVE_PATIENCE,
            replay_at_least=least,
            replay_at_most=most,
        )
        assert [one.delivery_id for one in claims] == Waiting(rows, self.now).claimable(limit, least, most)
        self.claims += claims

    def some(self) -> list[Claim]:
        chosen = [one for one in self.claims if self.random.random() < 0.6]
        self.claims = [one for one in self.claims if one not in chosen]
        return chosen

    async def settle(self) -> None:
        states = [State.DELIVERED, State.PENDING, State.PENDING, State.UNCERTAIN, State.DEAD]
        await self.store.settle(
            [
                Settlement(
                    delivery_id=one.delivery_id,
                    token=one.token,
                    state=self.random.choice(states),
                    reason="by chance",
                    kind=OutcomeKind.RETRY,
                    ended_at=self.now,
                    next_at=self.now + self.random.randint(0, 60) * SECOND,
                    counts=self.random.random() < 0.8,
                )
                for one in self.some()
            ]
        )

    async def release(self) -> None:
        await self.store.release(self.some(), now=self.now, reason="stopping")

    async def recover(self) -> None:
        if self.random.random() < 0.1:
            await self.store.recover(now=self.now)
            self.claims = []


@pytest.mark.parametrize("seed", range(8))
async def test_claims_keep_the_rules_in_any_history(tmp_path: Path, seed: int) -> None:
    """Each claim takes exactly what the rules allow, and the inner counts stay right."""
    store = SqliteStore.open(tmp_path / "store.db", system="pbx")
    history = History(store, tmp_path / "store.db", seed)
    for number in range(250):
        await history.step()
        if number % 10 == 0:
            assert await store.check() == []
    assert history.claims or history.saved
    history.reading.close()
    await store.aclose()
