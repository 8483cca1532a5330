"""Keys of a look-up: which ones a database can hold, in portions, and how rows are told apart."""

from collections.abc import Iterable
from typing import TypeVar

from celreplay.cel.events import CelEvent

Key = TypeVar("Key")
_PORTION = 500  # keys in one statement, where each may stand in four places


def usable(keys: Iterable[str]) -> set[str]:
    """Keys that a database can hold. The empty text names no call."""
    return {key for key in keys if key and "\0" not in key and key.isprintable()}


def chunks(values: Iterable[Key]) -> Iterable[list[Key]]:
    ordered = sorted(values, key=str)
    return (ordered[at : at + _PORTION] for at in range(0, len(ordered), _PORTION))


def counted(events: Iterable[CelEvent]) -> Iterable[tuple[CelEvent, object]]:
    """Each event with its id, or with a name of its own among equal ones: a table without id may hold equal
    rows."""
    seen: dict[CelEvent, int] = {}
    for event in events:
        if event.id is not None:
            yield event, event.id
            continue
        seen[event] = seen.get(event, 0) + 1
        yield event, (event, seen[event])
