"""Several Asterisks in one table: telling that two of them used the same ids. Pure.

A uniqueid is the second of a channel's birth and a counter that begins anew with each start of Asterisk; only
`systemname` in asterisk.conf tells several apart. Two calls under one linkedid cannot be parted again.
"""

from collections.abc import Iterable

from celreplay.cel.events import CelEvent, EventType

_CHAN_START = EventType.CHAN_START.value
SET_SYSTEMNAME = (
    "several Asterisks write this table with the same ids: set systemname in asterisk.conf of each"
)


def born_twice(events: Iterable[CelEvent]) -> list[str]:
    """The uniqueids under which channels of different names were born, in the order of the rows."""
    names: dict[str, str] = {}
    twice: dict[str, None] = {}
    for event in events:
        if event.eventtype != _CHAN_START or event.user_defined:
            continue
        if names.setdefault(event.uniqueid, event.channame) != event.channame:
            twice[event.uniqueid] = None
    return list(twice)
