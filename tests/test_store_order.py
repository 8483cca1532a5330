"""The order of a strand in any history, as a machine of rules: saving, claiming, ending, giving back, holding."""

import asyncio
import tempfile
from pathlib import Path

from factories import START, make_finished
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from celreplay.connectors.base import OutcomeKind
from celreplay.store.base import Claim, Hold, Lane, Settlement, State
from celreplay.store.sqlite import SqliteStore
from celreplay.times import SECOND

PATIENCE = 100.0
OPEN = {State.PENDING, State.SENDING, State.UNCERTAIN}
SECONDS = st.integers(0, 150)


class Queued:
    """A delivery as whoever queued it knows it."""

    def __init__(self, linkedid: str, strand: str | None, lane: Lane, at: int, now: int) -> None:
        self.linkedid = linkedid
        self.strand = strand
        self.lane = lane
        self.at = at
        self.place = (at, int(linkedid))
        self.queued_at = now
        self.failing_since: int | None = None
        self.tried = False

    def goes_before(self, other: "Queued") -> bool:
        """Is it an older call of the same number, which the other must not pass unsaid?"""
        if self.strand is None or self.strand != other.strand:
            return False
        if self.lane is other.lane:
            return self.place < other.place
        return self.lane is Lane.REPLAY and self.at < other.at

    def lets_pass(self, other: "Queued", live_patience: float, now: int) -> bool:
        """Has the patience been used up, holds apart, that the other must have before it passes?"""
        if self.lane is other.lane:
            return self.failing_since is not None and now - self.failing_since >= PATIENCE * SECOND
        if other.tried or now - other.queued_at >= live_patience * SECOND:
            return True
        return self.failing_since is not None and now - self.failing_since >= PATIENCE * SECOND


class Order(RuleBasedStateMachine):
    """Does to a store what workers, tails, replays and admins do, and looks at every claim."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.store = SqliteStore.open(Path(self.folder.name) / "store.db", system="pbx")
        self.now = START + 1000 * SECOND
        self.known: list[Queued] = []
        self.claims: list[Claim] = []
        self.live_patience = 0.0

    @initialize(live_patience=st.sampled_from([0.0, 30.0]))
    def begin(self, live_patience: float) -> None:
        self.live_patience = live_patience

    def of(self, claim: Claim) -> Queued:
        return self.known[int(claim.delivery.linkedid) - 1]

    def state(self, linkedid: str) -> tuple[State, str]:
        [record] = self.runner.run(self.store.deliveries(linkedid=linkedid))
        return record.state, record.reason

    def next_due(self) -> int | None:
        return self.runner.run(self.store.next_due("crm"))

    def take(self, limit: int = 100, least: int = 0, most: int | None = None) -> list[Claim]:
        """A claim, looked at: one of each strand, and nobody passes an older call of his number unsaid."""
        states = {one.linkedid: self.state(one.linkedid)[0] for one in self.known}
        found = self.runner.run(
            self.store.claim(
                "crm",
                limit,
                now=self.now,
                order_patience=PATIENCE,
                live_patience=self.live_patience,
                replay_at_least=least,
                replay_at_most=most,
            )
        )
        self.claims += found
        under_way = [self.of(claim).strand for claim in self.claims]
        numbers = [strand for strand in under_way if strand is not None]
        assert len(numbers) == len(set(numbers))
        for claim in found:
            mine = self.of(claim)
            older = [one for one in self.known if states[one.linkedid] in OPEN and one.goes_before(mine)]
            assert all(one.lets_pass(mine, self.live_patience, self.now) for one in older)
            if older:
                assert "passed" in self.state(mine.linkedid)[1]
        for claim in found:
            self.of(claim).tried = True
        return list(found)

    @rule(
        strand=st.sampled_from(["1", "1", "2", None]),
        lane=st.sampled_from(list(Lane)),
        at=st.integers(0, 20),
        due=st.sampled_from([0, 0, 60]),
    )
    def save(self, strand: str | None, lane: Lane, at: int, due: int) -> None:
        one = Queued(f"{len(self.known) + 1}", strand, lane, START + at * SECOND, self.now)
        self.known.append(one)
        due_at = self.now + due * SECOND
        call = make_finished(one.linkedid, at=one.at, strand=strand, lane=lane, due_at=due_at)
        self.runner.run(self.store.save_calls([call], now=self.now))

    @rule(limit=st.integers(1, 5), least=st.integers(0, 2), most=st.integers(0, 5))
    def claim(self, limit: int, least: int, most: int) -> None:
        found = self.take(limit, least, most)
        assert sum(claim.lane is Lane.REPLAY for claim in found) <= most

    @rule()
    def claim_everything(self) -> None:
        """What is left behind such a claim is not due."""
        self.take()
        due = self.next_due()
        assert due is None or due > self.now

    @rule()
    def look_before_the_next_is_due(self) -> None:
        """A moment before `next_due` nothing can be claimed; at that moment something moves."""
        self.take()
        due = self.next_due()
        if due is None:
            return
        self.now = due - 1
        assert self.take() == []
        self.now = due
        assert self.take() or self.next_due() != due

    @precondition(lambda self: self.claims)
    @rule(
        which=st.integers(0, 4),
        state=st.sampled_from([State.DELIVERED, State.PENDING, State.PENDING, State.UNCERTAIN, State.DEAD]),
        wait=SECONDS,
        counts=st.booleans(),
    )
    def settle(self, which: int, state: State, wait: int, *, counts: bool) -> None:
        claim = self.claims.pop(which % len(self.claims))
        end = Settlement(
            delivery_id=claim.delivery_id,
            token=claim.token,
            state=state,
            reason="by chance",
            kind=OutcomeKind.RETRY,
            ended_at=self.now,
            next_at=self.now + wait * SECOND,
            counts=counts,
        )
        assert self.runner.run(self.store.settle([end, end])) == [True, False]
        assert self.runner.run(self.store.settle([end])) == [False]
        mine = self.of(claim)
        if state in OPEN and counts:
            mine.failing_since = mine.failing_since or self.now

    @precondition(lambda self: self.claims)
    @rule(which=st.integers(0, 4))
    def release(self, which: int) -> None:
        claim = self.claims.pop(which % len(self.claims))
        self.runner.run(self.store.release([claim], now=self.now, reason="stopping"))
        self.of(claim).tried = claim.delivery.attempt > 1

    @rule()
    def recover(self) -> None:
        assert self.runner.run(self.store.recover(now=self.now)) == len(self.claims)
        self.claims = []

    @rule(held=st.booleans())
    def hold(self, *, held: bool) -> None:
        hold = Hold(kind=OutcomeKind.THROTTLE, reason="503", since=self.now, next_canary_at=self.now)
        self.runner.run(self.store.set_hold("crm", hold if held else None))

    @rule(seconds=SECONDS)
    def wait(self, seconds: int) -> None:
        self.now += seconds * SECOND

    def teardown(self) -> None:
        """Nothing is stuck: whatever waits goes in the end, and what is kept beside it is right."""
        try:
            self.hold(held=False)
            self.recover()
            for _ in range(2 * len(self.known) + 5):
                self.take()
                while self.claims:
                    self.settle(0, State.DELIVERED, 0, counts=True)
                due = self.next_due()
                self.now = max(self.now, due or self.now)
            assert not any(self.state(one.linkedid)[0] in OPEN for one in self.known)
            assert self.runner.run(self.store.check()) == []
        finally:
            self.runner.run(self.store.aclose())
            self.runner.close()
            self.folder.cleanup()


Order.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
TestOrder = Order.TestCase
