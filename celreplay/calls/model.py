"""The Call: the one contract of command line, API, webhook and store. Field meanings: docs/call.md.

The structs hold no cycles, so that the garbage collector need not look at them (`gc=False`).
"""

from enum import StrEnum

import msgspec

from celreplay.times import Instant


class Direction(StrEnum):
    """Who called whom, seen from the PBX."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"
    INTERNAL = "internal"
    UNKNOWN = "unknown"


class Disposition(StrEnum):
    """What became of the call, or of one leg of it."""

    ANSWERED = "answered"
    """A person, or a conference, talked."""
    NO_ANSWER = "no_answer"
    """Rang and nobody answered, by time-out or because the caller gave up."""
    BUSY = "busy"
    FAILED = "failed"
    ABANDONED = "abandoned"
    """Left a queue unanswered, by whoever's doing."""
    VOICEMAIL = "voicemail"
    IVR_ONLY = "ivr_only"
    """Ended in an IVR or announcement; nobody was rung."""
    UNKNOWN = "unknown"
    """The rows cannot tell."""


class LegKind(StrEnum):
    """What kind of party a leg rang or talked to."""

    EXTENSION = "extension"
    EXTERNAL = "external"
    CONFERENCE = "conference"
    VOICEMAIL = "voicemail"


class TransferType(StrEnum):
    """How a call came to another party."""

    BLIND = "blind"
    ATTENDED = "attended"
    PARK = "park"
    PICKUP = "pickup"
    FORWARD = "forward"
    REDIRECT = "redirect"


class HangupBy(StrEnum):
    """Who ended the call."""

    CALLER = "caller"
    CALLEE = "callee"
    PBX = "pbx"


class Caller(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Who began the call. Click-to-call: the extension."""

    number: str | None = None
    name: str | None = None
    channel: str | None = None


class Leg(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The part of a call in which one party was rung or talked to."""

    number: str | None
    name: str | None = None
    channel: str
    uniqueid: str
    kind: LegKind
    rang_at: Instant | None = None
    answered_at: Instant | None = None
    ended_at: Instant | None = None
    talk: float = 0.0
    disposition: Disposition
    hangup_cause: int | None = None


class Transfer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One handing over of the call; `result` is `answered`, `no_answer`, `failed`, …"""

    type: TransferType
    at: Instant
    by: str | None = None
    to: str | None = None
    result: str | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call. Times are UTC instants (ISO-8601 with milliseconds in JSON), durations seconds."""

    linkedid: str
    linkedids: list[str]
    system: str
    direction: Direction
    disposition: Disposition
    caller: Caller
    dialed_number: str | None = None
    external_number: str | None = None
    answered_by: str | None = None
    extension: str | None = None
    trunk: str | None = None
    queue: str | None = None
    started_at: Instant
    answered_at: Instant | None = None
    ended_at: Instant | None = None
    duration: float | None = None
    wait: float | None = None
    ring: float | None = None
    talk: float = 0.0
    hold: float | None = None
    legs: list[Leg] = msgspec.field(default_factory=list)
    transfers: list[Transfer] = msgspec.field(default_factory=list)
    recordings: list[str] = msgspec.field(default_factory=list)
    voicemail: str | None = None
    conference: str | None = None
    hangup_cause: int | None = None
    hangup_by: HangupBy | None = None
    sip_code: int | None = None
    accountcode: str | None = None
    userfield: str | None = None
    complete: bool = True
    warnings: list[str] = msgspec.field(default_factory=list)
    revision: str = ""
    custom: dict[str, str] = msgspec.field(default_factory=dict)
    """What the dialplan said by user-defined events that the config names: field → text."""


def _to_json(value: object) -> object:
    if isinstance(value, Instant):
        return value.iso()
    raise NotImplementedError(f"no JSON form for {type(value).__name__}")


def _from_json(kind: type, value: object) -> object:
    if kind is Instant and isinstance(value, str):
        return Instant.parse(value)
    raise NotImplementedError(f"no {kind.__name__} in JSON")


encode = msgspec.json.Encoder(enc_hook=_to_json).encode
"""Any structure of this module (or a dict, list of them) as minified JSON bytes."""
decode_call = msgspec.json.Decoder(Call, dec_hook=_from_json).decode
"""A Call of its JSON bytes."""
