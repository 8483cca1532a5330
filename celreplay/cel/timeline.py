"""Rows in the order in which Asterisk wrote them, each once, with true times. Pure."""

from collections.abc import Iterable, Sequence
from operator import attrgetter

import msgspec

from celreplay.cel.events import CelEvent, EventType
from celreplay.cel.names import epoch_of
from celreplay.times import SECOND

_HOUR = 3600 * SECOND
_id = attrgetter("id")
_SLACK = 2 * SECOND
# The order inside one moment where the table has no id: Asterisk 16.28 and 22.10 write a channel's rows so.
_RANKS = {
    EventType.CHAN_START: 0,
    EventType.APP_START: 1,
    EventType.ANSWER: 2,
    EventType.BRIDGE_ENTER: 4,
    EventType.BRIDGE_EXIT: 5,
    EventType.APP_END: 6,
    EventType.HANGUP: 7,
    EventType.CHAN_END: 8,
    EventType.LINKEDID_END: 9,
}


def in_order(events: Sequence[CelEvent]) -> list[CelEvent]:
    """Each row once, in the order of writing, whatever order they come in.

    By `id`; where the table has none, by time and by what comes first within a moment."""
    ids = [event.id for event in events]
    if None in ids:
        return sorted(set(events), key=_by_time)
    if len(set(ids)) == len(ids):
        return sorted(events, key=_id)
    by_id: dict[int | None, CelEvent] = {}
    for event in events:
        known = by_id.get(event.id)
        if known is None or (known is not event and _content(event) < _content(known)):
            by_id[event.id] = event
    return [by_id[key] for key in sorted(by_id, key=_or_zero)]


def repaired(rows: list[CelEvent]) -> list[CelEvent]:
    """The rows with the hour that happens twice told apart: a row is never much older than the one written
    before it, and never older than the second in its uniqueid and linkedid."""
    if True not in [row.ambiguous for row in rows]:
        return rows
    result: list[CelEvent] = []
    floor = 0
    for row in rows:
        bound = max(floor, (epoch_of(row.uniqueid) or 0) * SECOND, (epoch_of(row.linkedid) or 0) * SECOND)
        if row.ambiguous and row.eventtime + _SLACK < bound <= row.eventtime + _HOUR + _SLACK:
            row = msgspec.structs.replace(row, eventtime=row.eventtime + _HOUR)  # noqa: PLW2901 - the same row
        floor = max(floor, row.eventtime)
        result.append(row)
    return result


def anchored(rows: Iterable[CelEvent]) -> bool:
    """True where a uniqueid tells in which of the two hours the rows are."""
    return any(epoch_of(row.uniqueid) is not None or epoch_of(row.linkedid) is not None for row in rows)


def _or_zero(key: int | None) -> int:
    return key or 0


def _by_time(event: CelEvent) -> tuple[int, int, tuple[object, ...]]:
    return event.eventtime, _RANKS.get(EventType(event.eventtype), 3) if _known(event) else 3, _content(event)


def _known(event: CelEvent) -> bool:
    return not event.user_defined and event.eventtype in _RANKS


def _content(event: CelEvent) -> tuple[str, ...]:
    return tuple(map(repr, msgspec.structs.astuple(event)))
