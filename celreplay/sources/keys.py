"""Keys of a look-up: which ones a database can hold, in portions, and how rows are told apart."""

from collections.abc import Iterable

from celreplay.cel.events import CelEvent

_PORTION = 500  # older SQLite takes 999 parameters; a key may stand in three places


def usable(keys: Iterable[str]) -> set[str]:
    """Keys that a database can hold. The empty text names no call."""
    return {key for key in keys if key and "\0" not in key and key.isprintable()}


def chunks(values: Iterable[object]) -> Iterable[list[object]]:
    ordered = sorted(values, key=str)
    return (ordered[at : at + _PORTION] for at in range(0, len(ordered), _PORTION))


def counted(events: Iterable[CelEvent]) -> Iterable[tuple[CelEvent, object]]:
    """Each event with a name of its own among equal ones: a table without id may hold equal rows."""
    seen: dict[CelEvent, int] = {}
    for event in events:
        seen[event] = seen.get(event, 0) + 1
        yield event, (event, seen[event])
