"""A row of the CEL table as Asterisk wrote it, whatever the back end.

Names are CEL's own columns. Event types and their numbers as really written by Asterisk 16.28 and 22.10; the
list in the comments of Asterisk's sample `cel_odbc.conf` is of 1.8 and wrong since 12.
"""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

_CLOCK_CHANGE = 3_600_000_000  # an hour in microseconds; what the clock goes back by, but on Lord Howe
_decode_json = msgspec.json.Decoder().decode


class EventType(StrEnum):
    """The values of `eventtype`. Anything else is USER_DEFINED (a dialplan's own name) or from the future."""

    CHAN_START = "CHAN_START"
    CHAN_END = "CHAN_END"
    HANGUP = "HANGUP"
    ANSWER = "ANSWER"
    APP_START = "APP_START"
    APP_END = "APP_END"
    BRIDGE_ENTER = "BRIDGE_ENTER"
    BRIDGE_EXIT = "BRIDGE_EXIT"
    PARK_START = "PARK_START"
    PARK_END = "PARK_END"
    BLINDTRANSFER = "BLINDTRANSFER"
    ATTENDEDTRANSFER = "ATTENDEDTRANSFER"
    USER_DEFINED = "USER_DEFINED"
    LINKEDID_END = "LINKEDID_END"
    PICKUP = "PICKUP"
    FORWARD = "FORWARD"
    LOCAL_OPTIMIZE = "LOCAL_OPTIMIZE"
    LOCAL_OPTIMIZE_BEGIN = "LOCAL_OPTIMIZE_BEGIN"  # since 18
    STREAM_BEGIN = "STREAM_BEGIN"  # since 20
    STREAM_END = "STREAM_END"  # since 20
    DTMF = "DTMF"  # since 20


# A numeric `eventtype` column holds the position in this list, counted from 1.
EVENT_NUMBERS: dict[int, EventType] = dict(enumerate(EventType, start=1))


class CelEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row. Text that a table lacks or holds as NULL is the empty string. The fields up to `extra` are
    what calls are made of; behind it stands how the row was numbered and read (`facts_of`)."""

    eventtype: str
    """A value of `EventType`, or a dialplan's own name of a user-defined event."""
    eventtime: int
    """Microseconds since the epoch, UTC. Order by `id`, not by this: rows run backwards by milliseconds."""
    user_defined: bool = False
    """A USER_DEFINED event, whatever name it has (one may be called ANSWER)."""
    userdeftype: str = ""
    cid_name: str = ""
    cid_num: str = ""
    cid_ani: str = ""
    cid_dnid: str = ""
    exten: str = ""
    context: str = ""
    channame: str = ""
    appname: str = ""
    appdata: str = ""
    accountcode: str = ""
    uniqueid: str = ""
    linkedid: str = ""
    userfield: str = ""
    peer: str = ""
    extra: str = ""
    """JSON as written; may be cut by a short column. Read it with `extra_of`."""
    id: int | None = None
    """The row's key; None where the table has none. Grows in the order of writing."""
    ambiguous: bool = False
    """The local time occurs twice (the clock went back) and `eventtime` is its first occurrence."""
    cid_rdnis: str = ""
    peeraccount: str = ""
    warnings: tuple[str, ...] = ()
    """What was odd in the row as it was read: bytes that are no UTF-8, a time that is none, …"""


_FACTS = CelEvent.__struct_fields__.index("extra") + 1


def facts_of(events: Iterable[CelEvent]) -> list[tuple[object, ...]]:
    """What each row says, whatever its number and however it was read."""
    return [fields[:_FACTS] for fields in map(msgspec.structs.astuple, events)]


def extra_of(event: CelEvent) -> dict[str, object]:
    """The object in `extra`; empty where there is none or where it is broken (see `extra_is_broken`)."""
    if not event.extra:
        return {}
    try:
        value = _decode_json(event.extra)
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def extra_is_broken(event: CelEvent) -> bool:
    """True where `extra` holds something that is no JSON object: a server without strict mode cuts it."""
    return bool(event.extra) and not extra_of(event) and event.extra.strip() != "{}"


def happened_between(event: CelEvent, start: int, end: int) -> bool:
    """True for a row in [start, end). An ambiguous row is in if either of its two instants is."""
    if event.ambiguous:
        return event.eventtime < end and event.eventtime + _CLOCK_CHANGE >= start
    return start <= event.eventtime < end
