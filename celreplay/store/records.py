"""What people see of deliveries, and by what they ask for them."""

from enum import IntEnum, StrEnum

import msgspec

from celreplay.connectors.base import OutcomeKind


class State(StrEnum):
    """Where a delivery stands. Every change has a reason a person can read."""

    PENDING = "pending"
    """Waits for its turn, or for its next attempt."""
    SENDING = "sending"
    """Claimed by a worker; its attempt is journaled."""
    UNCERTAIN = "uncertain"
    """A request left and no answer came back; to be asked about before it is sent again."""
    DELIVERED = "delivered"
    SKIPPED = "skipped"
    """A rule said no when it was queued, or a person took it off the list."""
    SUPERSEDED = "superseded"
    """Its call was folded into another one later."""
    DEAD = "dead"
    """Refused for good, or out of attempts; only a person sends it again."""


class Lane(IntEnum):
    """Live calls go before replayed ones."""

    LIVE = 0
    REPLAY = 1


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A connector that is not sent to, but for a canary now and then."""

    kind: OutcomeKind
    reason: str
    since: int
    next_canary_at: int
    canaries: int = 0
    """How many have failed since; the pause grows with it."""


class DeliveryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as a person sees it."""

    delivery_id: int
    connector: str
    linkedid: str
    part: str
    state: State
    reason: str
    lane: Lane
    attempts: int
    revision: str
    started_at: int
    """When the call began."""
    strand: str | None
    """The outside number."""
    next_at: int | None
    updated_at: int
    delivered_at: int | None
    """When it was first delivered, whatever became of it since."""
    replay_id: int | None


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a delivery's journal."""

    number: int
    started_at: int
    ended_at: int | None
    kind: OutcomeKind | None
    """None: still running, or its worker died."""
    reason: str
    http_status: int | None
    answer: bytes


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries; each given field narrows."""

    states: tuple[State, ...] = ()
    """Empty = any."""
    held: bool = False
    """Only those that wait at a connector on hold."""
    connector: str | None = None
    linkedid: str | None = None
    since: int | None = None
    """Last changed in [since, until)."""
    until: int | None = None
    reason: str = ""
    """A part of the reason, whatever its case."""


class Place(msgspec.Struct, frozen=True):
    """A place in a list of deliveries, newest change first; `str()` and `parse` for those who page."""

    updated_at: int
    delivery_id: int

    def __str__(self) -> str:
        return f"{self.updated_at}-{self.delivery_id}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Raises ValueError for what `str()` has not given."""
        moment, dash, delivery_id = text.partition("-")
        if not (dash and len(text) <= _LONGEST_PLACE and _is_number(moment) and _is_number(delivery_id)):
            raise ValueError("is no place in a list")
        return cls(int(moment), int(delivery_id))


_LONGEST_PLACE = 37  # two numbers of 18 digits: SQLite's integers hold them


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _LONGEST_PLACE // 2


class DeliveryPage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a list."""

    deliveries: list[DeliveryRecord]
    after: Place | None
    """Where the next page begins; None after the last."""


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """New bytes for a delivery, and what of its call they were made from."""

    payload: bytes
    revision: str
    strand: str | None
    started_at: int
