"""Which rows belong together: those that share a linkedid or a uniqueid, transitively. Pure.

A channel's linkedid changes in mid-call (attended transfer, pickup, parking retrieval, merge) and no row
announces it, so the linkedids of a call are joined by the channels that were under both.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from celreplay.cel.events import CelEvent, EventType
from celreplay.cel.names import is_message
from celreplay.cel.timeline import in_order
from celreplay.times import SECOND

# HANGUP stands directly before CHAN_END in every call seen (16.28, 22.10) and tables may lack CHAN_END.
_ENDS = frozenset({EventType.CHAN_END.value, EventType.HANGUP.value})
_CHAN_START = EventType.CHAN_START.value
_LINKEDID_END = EventType.LINKEDID_END.value


class Group(msgspec.Struct, frozen=True, gc=False):
    """The rows of one call, or of calls that have met."""

    keys: frozenset[str]
    """Their linkedids and uniqueids."""
    events: tuple[CelEvent, ...]
    """Each row once, in the order of writing."""
    ended: bool
    """Every channel has its HANGUP or CHAN_END, under whatever linkedid."""


def is_from_before(event: CelEvent) -> bool:
    """True for a row that was held when its table began to count anew (`Grouper.begin_anew`)."""
    return event.id is not None and event.id < 0


class _Open:
    """A group that still grows."""

    __slots__ = ("alive", "begun", "ended", "events", "keys", "linkedids", "seen_at", "whole")

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.events: dict[int | CelEvent, CelEvent] = {}
        self.linkedids: set[str] = set()
        self.begun: set[str] = set()
        self.alive: set[str] = set()
        self.ended: set[str] = set()
        self.seen_at = 0
        self.whole = False

    @property
    def has_ended(self) -> bool:
        return bool(self.ended) and not self.alive

    @property
    def lacks_head(self) -> bool:
        return not self.whole and not self.linkedids <= self.begun

    def absorb(self, other: "_Open") -> None:
        self.keys |= other.keys
        self.events |= other.events
        self.linkedids |= other.linkedids
        self.begun |= other.begun
        self.ended |= other.ended
        self.alive = (self.alive | other.alive) - self.ended
        self.seen_at = max(self.seen_at, other.seen_at)

    def close(self) -> Group:
        return Group(frozenset(self.keys), tuple(in_order(list(self.events.values()))), self.has_ended)


class Grouper:
    """Groups rows as they come, in any order. Holds open groups only."""

    def __init__(self) -> None:
        self._by_key: dict[str, _Open] = {}
        self._open: dict[_Open, None] = {}
        self._held: Counter[CelEvent] = Counter()

    def begin_anew(self) -> None:
        """The table counts anew (rotated, emptied, put back): rows that are held stay before all later ones,
        and are known by what is in them, so that none is taken twice when it comes under another id."""
        held = [event for group in self._open for event in group.events.values()]
        highest = max((event.id for event in held if event.id is not None), default=0)
        for group in self._open:
            events = [_moved(event, -1 - max(0, highest)) for event in group.events.values()]
            group.events = {event if event.id is None else event.id: event for event in events}
        self._held = Counter(map(_without_id, held))

    def add(self, event: CelEvent, seen_at: int, *, whole: bool = False) -> None:
        """Take a row read at `seen_at` (microseconds). A row that is there already changes nothing but that.
        `whole`: the table has been asked for all rows of its call.

        Rows of SIP MESSAGE are no call and are left out."""
        uniqueid, linkedid = event.uniqueid, event.linkedid
        if is_message(event.channame) or (self._held and self._is_held(event)):
            return
        group = self._by_key.get(uniqueid)
        if group is None or (linkedid and linkedid not in group.keys):
            group = self._join(uniqueid, linkedid)
        group.events.setdefault(event if event.id is None else event.id, event)
        if seen_at > group.seen_at:  # noqa: PLR1730 - max() costs as much as all the rest of this row
            group.seen_at = seen_at
        group.whole |= whole
        eventtype = event.eventtype
        if eventtype == _CHAN_START:
            group.begun.add(uniqueid)
        if uniqueid in group.ended:
            return
        if eventtype in _ENDS and not event.user_defined:
            group.ended.add(uniqueid)
            group.alive.discard(uniqueid)
        elif eventtype != _LINKEDID_END or event.user_defined:
            # a LINKEDID_END comes while its channel lives on in an older call: it begins and ends nothing
            group.alive.add(uniqueid)

    def _is_held(self, event: CelEvent) -> bool:
        """True for a row that is here under an older id; it is counted off."""
        row = _without_id(event)
        if is_from_before(event) or not self._held[row]:
            return False
        self._held[row] -= 1
        return True

    def _join(self, uniqueid: str, linkedid: str) -> _Open:
        keys = {key for key in (uniqueid, linkedid) if key} or {""}
        found = sorted({self._by_key[key] for key in keys if key in self._by_key}, key=_size)
        if found:
            group = found.pop()
        else:
            group = _Open()
            self._open[group] = None
        group.keys |= keys
        if linkedid:
            group.linkedids.add(linkedid)
        for other in found:
            group.absorb(other)
            keys |= other.keys
            del self._open[other]
        for key in keys:
            self._by_key[key] = group
        return group

    def take_finished(self, *, now: int, grace: float, stale_after: float) -> list[Group]:
        """Give away groups that have ended and were last added to `grace` seconds before `now` or earlier,
        and those that have not ended and got nothing for `stale_after` seconds (Asterisk died)."""
        quiet, stale = now - round(grace * SECOND), now - round(stale_after * SECOND)
        return self._take(
            [
                group
                for group in self._open
                if group.seen_at <= stale or (group.seen_at <= quiet and group.has_ended)
            ]
        )

    def take_headless(self, *, now: int, grace: float) -> list[Group]:
        """Give away groups that lack the first row of a call of theirs, have not ended and got nothing for
        `grace` seconds: a call that had begun before we read, or late rows of one that has finished."""
        quiet = now - round(grace * SECOND)
        return self._take(
            [
                group
                for group in self._open
                if group.seen_at <= quiet and group.lacks_head and not group.has_ended
            ]
        )

    def take_all(self) -> list[Group]:
        """Give away whatever is left."""
        return self._take(list(self._open))

    def open_keys(self) -> frozenset[str]:
        """The linkedids and uniqueids of all open groups."""
        return frozenset(self._by_key)

    def __len__(self) -> int:
        return len(self._open)

    def _take(self, groups: list[_Open]) -> list[Group]:
        for group in groups:
            del self._open[group]
            for key in group.keys:
                del self._by_key[key]
        return [group.close() for group in groups]


def groups_of(events: Iterable[CelEvent]) -> list[Group]:
    """All groups of the rows, in the order of their first row."""
    grouper = Grouper()
    for event in events:
        grouper.add(event, 0)
    return grouper.take_all()


def _without_id(event: CelEvent) -> CelEvent:
    return msgspec.structs.replace(event, id=None)


def _moved(event: CelEvent, by: int) -> CelEvent:
    return event if event.id is None else msgspec.structs.replace(event, id=event.id + by)


def _size(group: _Open) -> int:
    return len(group.events)
