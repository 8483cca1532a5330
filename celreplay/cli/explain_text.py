"""An explanation as text that fits the terminal."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from celreplay.calls.explain import Explained, FieldReason
from celreplay.calls.explain_rows import BridgeShown, ChannelShown, RowShown, short_bridge
from celreplay.calls.model import Leg, encode
from celreplay.cli.output import fit, local, printable

_NAME = 17  # columns of a field's name
_MARKS = {
    "CHAN_START": "*", "CHAN_END": "x", "HANGUP": "H", "ANSWER": "A", "APP_START": "a", "APP_END": "e",
    "BRIDGE_ENTER": ">", "BRIDGE_EXIT": "<",
}  # fmt: skip
_MOST_COLUMNS = 12
"""Channels with a column of their own; the others share the last one."""


def timeline(rows: Sequence[RowShown], channels: Sequence[ChannelShown], width: int) -> Iterator[str]:
    """The rows: id, seconds from the first, a column per channel, event, detail; then who the columns are."""
    ids = max(3, *(len(str(row.row)) for row in rows))
    columns = min(len(channels), _MOST_COLUMNS)
    heads = "".join(f"{number:>3}" for number in range(1, columns + 1))
    yield f"{'row':>{ids}} {'seconds':>9} {heads}  event"
    alive: set[int] = set()
    for row in rows:
        if row.column is not None:
            alive.add(row.column)
        cells = "".join(_cell(row, column, alive, columns) for column in range(1, columns + 1))
        text = f"{row.row:>{ids}} {row.offset:>9.3f} {cells}  {row.event:<12} {row.detail}"
        yield fit(text, width).rstrip()
        if row.event in ("CHAN_END", "HANGUP"):
            alive.discard(row.column or 0)
    legend = "* begins, A answered, > enters a bridge, < leaves it, a/e application, H hung up, x ends"
    yield from wrapped(legend, width, indent=0)
    for channel in channels:
        under = ", ".join(channel.linkedids)
        who = f"{channel.column:>3}  {channel.name}  endpoint {channel.endpoint or '-'}"
        yield from wrapped(f"{who}  uniqueid {channel.uniqueid}  under {under}", width, indent=5)


def _cell(row: RowShown, column: int, alive: set[int], columns: int) -> str:
    mine = row.column == column or (column == columns and row.column is not None and row.column > columns)
    if mine:
        return f"  {_MARKS.get(row.event, 'o')}"
    return "  |" if column in alive else "   "


def bridges(found: Sequence[BridgeShown], width: int) -> Iterator[str]:
    """Who was in which bridge, from when to when."""
    for bridge in found:
        yield f"{short_bridge(bridge.bridge) or 'unnamed'}  {bridge.technology}".rstrip()
        for stay in bridge.stays:
            until = "the rows stop" if stay.until is None else f"{stay.until:.3f}"
            yield fit(f"  {stay.since:>9.3f} – {until:<9}  {stay.column}  {stay.channel}", width).rstrip()
    if not found:
        yield "none"


def legs(found: Sequence[Leg], width: int) -> Iterator[str]:
    """One line a leg."""
    for leg in found:
        cause = f", cause {leg.hangup_cause}" if leg.hangup_cause is not None else ""
        text = f"{leg.number or '?'}  {leg.kind.value}  {leg.channel}  {leg.disposition.value}{cause}"
        yield from wrapped(f"{text}, talked {leg.talk:.3f} s", width, indent=2)
    if not found:
        yield "none"


def fields(found: dict[str, FieldReason], width: int) -> Iterator[str]:
    """Name, value, reason and rows of each field."""
    for name, field in found.items():
        word = "row" if len(field.rows) == 1 else "rows"
        rows = f" ({word} {ranges(field.rows)})" if field.rows else ""
        value = _value(field.value)
        yield from wrapped(f"{name:<{_NAME}} {value}: {field.reason}{rows}", width, indent=_NAME + 1)


def ranges(ids: Iterable[int]) -> str:
    """`12–15, 19`."""
    runs: list[list[int]] = []
    for id_ in sorted(ids):
        if runs and id_ == runs[-1][1] + 1:
            runs[-1][1] = id_
        else:
            runs.append([id_, id_])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in runs)


def _value(value: object) -> str:
    read = msgspec.json.decode(encode(value))
    if isinstance(read, dict):
        return " ".join(str(one) for one in read.values() if one) or "none"
    if isinstance(read, list):
        plain = all(isinstance(one, str) for one in read)
        return (", ".join(read) if plain else str(len(read))) if read else "none"
    if isinstance(read, bool):
        return str(read).lower()
    return "null" if read is None else str(read) or '""'


def headline(one: Explained) -> str:
    """The call in a line."""
    call = one.call
    parties = f"{call.caller.number or 'anonymous'} → {call.dialed_number or '?'}"
    text = f"{call.linkedid}  {local(call.started_at.utc())}  {call.direction.value}  {parties}"
    return printable(f"{text}  {call.disposition.value}")


def wrapped(text: str, width: int, *, indent: int) -> Iterator[str]:
    """The text in lines of `width`, the later ones indented; nothing that moves the cursor gets through."""
    yield from textwrap.wrap(
        printable(text), max(width, 40), subsequent_indent=" " * indent, break_on_hyphens=False
    )
