"""What both ways of following a table speak in."""

from collections.abc import Sequence

import msgspec

from celreplay.cel.events import CelEvent


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """New rows of the table."""

    rows: Sequence[CelEvent]
    more: bool
    """There are more behind them now."""
    anew: bool = False
    """Ids count anew from here on: those of rows read before say nothing beside them."""


def name_of(row: CelEvent) -> str:
    """What tells the row at an id from another one that has got the same id later."""
    return f"{row.eventtype} {row.uniqueid}"
