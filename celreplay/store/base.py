"""The seam of the store: the same promises whatever keeps them. One contract suite runs over all stores.

Every method that changes something returns only after the change is on disk (commit with fsync). Times are
microseconds since the epoch, UTC. Methods raise StoreError where the store cannot be used.
"""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from celreplay.calls.model import Call
from celreplay.connectors.base import Delivery, OutcomeKind
from celreplay.errors import StoreError
from celreplay.retention import RetentionConfig
from celreplay.sources.base import Position, Trace
from celreplay.store.records import AttemptRecord, DeliveryPage, DeliveryRecord, Place, Rebuilt, Wanted
from celreplay.store.records import Hold as Hold  # noqa: PLC0414 - a word of this seam
from celreplay.store.records import Lane as Lane  # noqa: PLC0414 - a word of this seam
from celreplay.store.records import State as State  # noqa: PLC0414 - a word of this seam
from celreplay.store.retention import Forgotten


class Force(StrEnum):
    """What to do with a delivery that was delivered before."""

    NO = "0"
    """Leave it."""
    YES = "1"
    """Send it again under the same identity."""
    NEW = "new"
    """Make a second record on purpose, under a part of its own (`call:2`, …)."""


class Queued(StrEnum):
    """What queueing a delivery came to."""

    QUEUED = "queued"
    ALREADY_DELIVERED = "already_delivered"
    ALREADY_WAITING = "already_waiting"
    """pending, sending or uncertain: not queued twice."""
    SKIPPED = "skipped"
    MARKED = "marked_delivered"
    CHANGED = "changed"
    """Delivered before, and the call's facts have changed since (another revision); left as it is."""
    UPDATED = "updated"
    """The same, and queued again as an update."""


class NewDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A wish to deliver; the store decides by identity whether it becomes one."""

    connector: str
    part: str = "call"
    lane: Lane = Lane.LIVE
    strand: str | None = None
    """The outside number; None for anonymous and internal calls: no order is kept among them."""
    due_at: int = 0
    payload: bytes = b""
    update: bytes = b""
    """The bytes to send where the call was delivered before and has changed since. Empty: it is left."""
    skip_reason: str = ""
    """Not empty: recorded as skipped for this reason."""
    mark_delivered: bool = False
    """Recorded as delivered elsewhere; nothing is sent."""
    force: Force = Force.NO
    requeue_dead: bool = False
    """A person asked for the call again: a dead delivery starts anew."""


class FinishedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call with the deliveries wished for it."""

    call: Call
    deliveries: Sequence[NewDelivery]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """Where the tail stands; stored in the transaction that stores the calls it read."""

    position: Position
    trace: Trace = Trace()
    open_keys: frozenset[str] = frozenset()
    """linkedids and uniqueids of calls that have begun and not finished: read again after a start."""
    live_since: int
    """The moment live reading began for the first time."""


class Queueing(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one wished delivery."""

    linkedid: str
    connector: str
    part: str
    result: Queued
    reason: str = ""


class ReplayState(StrEnum):
    """Where a replay stands."""

    REQUESTED = "requested"
    """Nobody works on it yet."""
    LOOKING_UP = "looking_up"
    """Calls are being found and queued."""
    DELIVERING = "delivering"
    """All is queued; deliveries of it are waiting."""
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """One request to process calls again: a durable job with its own counters."""

    id: int = 0
    """Given by the store."""
    state: ReplayState = ReplayState.REQUESTED
    requested_at: int
    requested_by: str
    """`api:USER` or `cli:UNIXUSER`."""
    ids: tuple[str, ...] = ()
    start: int | None = None
    """Period [start, end), when no ids were named."""
    end: int | None = None
    force: Force = Force.NO
    connector: str | None = None
    """Only this one; None = all."""
    dry_run: bool = False
    mark_delivered: bool = False
    cursor: Position | None = None
    """Everything up to here is queued: a restart goes on behind it."""
    found: int = 0
    """Calls found."""
    queued: int = 0
    """Deliveries; so are the following counts."""
    already_delivered: int = 0
    already_waiting: int = 0
    marked_delivered: int = 0
    changed: int = 0
    skipped: Mapping[str, int] = {}
    """Reason → deliveries."""
    not_found: tuple[str, ...] = ()
    """Named ids that no row has."""
    in_progress: tuple[str, ...] = ()
    """Linkedids of named calls that are not finished: sent when they are."""
    delivered: int = 0
    """Of `queued`; so are the next two."""
    dead: int = 0
    waiting: int = 0
    finished_at: int | None = None
    error: str = ""


class ReplayStep(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of a replay, stored in the transaction that queues its calls."""

    replay_id: int
    found: int = 0
    """To be added."""
    cursor: Position | None = None
    not_found: tuple[str, ...] = ()
    in_progress: tuple[str, ...] = ()


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery handed to one worker, its attempt journaled."""

    delivery_id: int
    token: int
    """Fencing: a settlement with an older token is refused."""
    delivery: Delivery
    lane: Lane
    probing: bool
    """It was uncertain: ask (or follow the policy) before sending."""
    uncertain_since: int | None = None
    """Start of the attempt that left it uncertain."""
    absent_seen: int = 0
    """How often in a row a probe has said absent."""
    failures: int = 0
    """Attempts that counted so far; what the retry schedule goes by."""


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """The end of an attempt."""

    delivery_id: int
    token: int
    state: State
    reason: str
    kind: OutcomeKind
    ended_at: int
    next_at: int | None = None
    """When it is due again (pending, uncertain)."""
    counts: bool = True
    """False where the attempt said nothing about this call (connector held): it burns no attempt."""
    absent_seen: int = 0
    http_status: int | None = None
    answer: bytes = b""


class Store(Protocol):
    """Calls, outbox, replays, reading position."""

    @property
    def damage(self) -> StoreError | None:
        """Why nothing is written any more: the store is broken. Only another one, from a backup, helps."""
        ...

    # what the tail and replays write
    async def save_calls(
        self,
        calls: Sequence[FinishedCall],
        *,
        now: int,
        reading: Reading | None = None,
        step: ReplayStep | None = None,
    ) -> Sequence[Queueing]:
        """Store calls, queue their deliveries by identity (system, connector, linkedid, part), move the
        reading position and a replay's progress: all of it, or nothing, in one transaction.

        A linkedid in `call.linkedids` other than the call's own had perhaps been a call of its own: its
        deliveries that wait become superseded, the delivered ones too (the reason names the call)."""
        ...

    async def reading(self) -> Reading | None:
        """Where the tail stands; None before the first start."""
        ...

    async def pbx_name(self) -> str | None:
        """The `pbx.name` that this store's deliveries belong to; None before the first start."""
        ...

    async def set_pbx_name(self, name: str) -> None:
        """Bind the store to a PBX (first start, or `--rename`)."""
        ...

    async def once(self, what: str, *, now: int) -> bool:
        """True when this is asked for the first time in the life of the store."""
        ...

    async def call(self, linkedid: str) -> Call | None:
        """A stored call by any of its linkedids."""
        ...

    # what workers do
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
        """Take up to `limit` due deliveries, live before replay, in the order of the calls' start, and
        journal an attempt for each. Never two of one strand at a time, and none while an older one of its
        strand and lane waits, unless that one has been failing for `order_patience` seconds.

        A live one never tried waits for older ones of its strand in the lane replay until `live_patience`
        seconds after it was queued. Neither patience runs while the connector is held. The recorded reason
        says whom a delivery waited for or passed.

        `replay_at_least` of the claims are of the lane replay, if as many are due there, whatever live ones
        wait; never more than `replay_at_most` (None: `limit`)."""
        ...

    async def checkpoint(self, delivery_id: int, token: int, data: bytes) -> bool:
        """Store a step of an exchange; False when the claim is no longer ours."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """End attempts; False for each whose claim is no longer ours (nothing is changed then)."""
        ...

    async def release(self, claims: Sequence[Claim], *, now: int, reason: str) -> None:
        """Give back claims whose request never left: pending again, the attempt does not count."""
        ...

    async def recover(self, *, now: int) -> int:
        """At start: everything that is `sending` was a dead process's; it becomes uncertain. Its count."""
        ...

    async def next_due(self, connector: str, lanes: Collection[Lane] = tuple(Lane)) -> int | None:
        """When the next waiting delivery of these lanes is due; None when none waits."""
        ...

    async def oldest_due(self, connector: str) -> int | None:
        """When the earliest call began that is due and not held up; None when none is."""
        ...

    # connectors
    async def connector_state(self, connector: str) -> dict[str, str]:
        """The connector's durable key-value."""
        ...

    async def set_connector_state(self, connector: str, state: Mapping[str, str]) -> None:
        """Replace it."""
        ...

    async def holds(self) -> Mapping[str, Hold]:
        """Connectors on hold."""
        ...

    async def set_hold(self, connector: str, hold: Hold | None) -> None:
        """Hold a connector, or release it with None."""
        ...

    # replays
    async def add_replay(self, replay: Replay) -> int:
        """Store a request; its id."""
        ...

    async def replay(self, replay_id: int) -> Replay | None:
        """A replay with its counters as of now."""
        ...

    async def replays(self, *, unfinished: bool = False, limit: int = 100) -> Sequence[Replay]:
        """Replays, newest first; `unfinished`: oldest first, only those that still need work."""
        ...

    async def set_replay_state(
        self, replay_id: int, state: ReplayState, *, now: int, error: str = ""
    ) -> None:
        """Move a replay on. `DELIVERING` becomes `DONE` by itself when its last delivery is settled, at
        once when none was queued. Cancelling takes its waiting deliveries off the outbox: skipped, with
        the reason."""
        ...

    async def holds_of_replay(self, replay_id: int) -> Mapping[str, Hold]:
        """Connectors on hold at which deliveries of a replay wait."""
        ...

    async def replay_items(self, replay_id: int, *, limit: int = 1000) -> Sequence[Queueing]:
        """What a replay by id, or a dry run, found for each call, in the order found."""
        ...

    # what people ask
    async def deliveries(
        self,
        *,
        linkedid: str | None = None,
        connector: str | None = None,
        state: State | None = None,
        limit: int = 100,
    ) -> Sequence[DeliveryRecord]:
        """Deliveries, newest change first."""
        ...

    async def list_deliveries(
        self, wanted: Wanted, *, after: Place | None = None, limit: int = 100
    ) -> DeliveryPage:
        """Deliveries, newest change first, behind `after`; one that does not change between two pages is
        neither missed nor met twice. A page may hold fewer than `limit` and still not be the last."""
        ...

    async def delivery(self, delivery_id: int) -> DeliveryRecord | None:
        """One delivery."""
        ...

    async def attempts(self, delivery_id: int) -> Sequence[AttemptRecord]:
        """The journal of a delivery, oldest first."""
        ...

    # what people do about dead deliveries
    async def retry(
        self,
        wishes: Mapping[int, Rebuilt | None],
        *,
        by: str,
        now: int,
        askable: Collection[str] = (),
        whole: bool = False,
    ) -> Mapping[int, str]:
        """Make ended deliveries (dead, or skipped by hand) due at once, under their identity and with their
        journal; None: with the bytes that were stored. One whose last attempt is in doubt becomes uncertain
        where its connector is among `askable`, so that the CRM is asked first. Gives why each other one was
        left as it is; with `whole` nothing changes then."""
        ...

    async def discard(
        self, ids: Collection[int], *, by: str, now: int, whole: bool = False
    ) -> Mapping[int, str]:
        """Take dead deliveries off the list: skipped, and only `force` sends them again. As `retry`."""
        ...

    async def resume(self, connector: str, *, now: int) -> bool:
        """A held connector may get a canary, and has one due; False where it is not held."""
        ...

    async def set_back(self, *, by: int) -> None:
        """The wall clock was set back by so many microseconds: whatever waits, and holds, are moved with it,
        so that no wait is lengthened."""
        ...

    async def wake_late(self, *, now: int, furthest: int) -> int:
        """Make due what is due later than `furthest`: no wait is so long, its moment was worked out while the
        clock was wrong. Its count."""
        ...

    # what is too old
    async def forget(
        self, ages: RetentionConfig, *, now: int, after: Forgotten | None = None, limit: int = 500
    ) -> Forgotten:
        """Remove up to `limit` of what is older than its age, in one short transaction. `after`: what the
        page before came to. Nothing that waits is touched, and the key (system, connector, linkedid, part,
        state, date) of every delivery stays: queueing it again is decided as before."""
        ...

    async def counts(self) -> Mapping[str, Mapping[State, int]]:
        """connector → state → deliveries, from counters, not by counting."""
        ...

    async def aclose(self) -> None:
        """Finish what was accepted, then close."""
        ...
