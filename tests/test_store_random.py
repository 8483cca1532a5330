"""Claims against the rules written down naively, over random histories."""

import random
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from factories import START, make_call, make_finished

from celreplay.connectors.base import OutcomeKind
from celreplay.store.base import Claim, Force, Lane, Settlement, State
from celreplay.store.sqlite import SqliteStore
from celreplay.times import SECOND

PATIENCE = 100.0


def expected(rows: Sequence[sqlite3.Row], limit: int, now: int) -> list[int]:
    """Which may go, by looking at everything that waits: ids in the order of the claim."""
    taken: list[int] = []
    busy = {row["strand"] for row in rows if row["state"] == "sending"}

    def passable(row: sqlite3.Row) -> bool:
        since = row["failing_since"]
        return bool(row["yields"]) or (since is not None and since <= now - PATIENCE * SECOND)

    def held(row: sqlite3.Row) -> bool:
        place = (row["started_at"], row["id"])
        older = [o for o in rows if (o["strand"], o["lane"]) == (row["strand"], row["lane"])]
        return any((o["started_at"], o["id"]) < place and not passable(o) for o in older)

    for row in sorted(rows, key=lambda r: (r["lane"], r["started_at"], r["id"])):
        if row["state"] == "sending" or row["next_at"] > now or len(taken) == limit:
            continue
        if row["strand"] is not None:
            if row["strand"] in busy or held(row):
                continue
            busy.add(row["strand"])
        taken.append(row["id"])
    return taken


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
        await self.random.choice([*steps, self.settle, self.release, self.fold, self.again, self.recover])()

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

    async def fold(self) -> None:
        self.saved += 1
        folded = f"{self.random.randint(1, self.saved)}"
        call = make_call(f"{self.saved}", linkedids=[f"{self.saved}", folded])
        await self.store.save_calls([make_finished(call=call, strand="1")], now=self.now)

    async def claim(self) -> None:
        rows = self.reading.execute("SELECT * FROM deliveries WHERE turn IS NOT NULL").fetchall()
        limit = self.random.choice([1, 2, 50])
        claims = await self.store.claim("crm", limit, now=self.now, order_patience=PATIENCE)
        assert [one.delivery_id for one in claims] == expected(rows, limit, self.now)
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
