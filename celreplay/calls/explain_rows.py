"""What the rows of a group show, row by row: its channels, its bridges, what each event says. Pure."""

from collections.abc import Callable, Sequence

import msgspec

from celreplay.calls.explain_facts import cause_text
from celreplay.cel.channel import Scene
from celreplay.cel.events import CelEvent, EventType
from celreplay.cel.fold import fields_of, text_of

_SHORT = 8  # signs of a bridge's id that are enough to tell it


class ChannelShown(msgspec.Struct, frozen=True, kw_only=True):
    """One channel of the group; `column` is its number in the timeline."""

    column: int
    name: str
    endpoint: str
    uniqueid: str
    linkedids: list[str]


class StayShown(msgspec.Struct, frozen=True, kw_only=True):
    """A channel's time in a bridge; offsets are seconds from the first row."""

    channel: str
    column: int
    since: float
    until: float | None
    """None: the rows stop while it is there."""


class BridgeShown(msgspec.Struct, frozen=True, kw_only=True):
    """One bridge."""

    bridge: str
    technology: str
    stays: list[StayShown]


class RowShown(msgspec.Struct, frozen=True, kw_only=True):
    """One row."""

    row: int
    offset: float
    """Seconds from the first row; rows run backwards by milliseconds."""
    column: int | None
    """Of the channel; None where no channel is meant."""
    event: str
    detail: str
    uniqueid: str
    linkedid: str


def channels_shown(scene: Scene) -> list[ChannelShown]:
    """Every channel in the order of its first row."""
    return [
        ChannelShown(
            column=column,
            name=channel.name,
            endpoint=channel.endpoint,
            uniqueid=channel.uniqueid,
            linkedids=channel.linkedids,
        )
        for column, channel in enumerate(scene.channels.values(), start=1)
    ]


def bridges_shown(scene: Scene) -> list[BridgeShown]:
    """Every bridge in the order in which it was first entered."""
    zero = scene.rows[0].eventtime
    found: dict[str, BridgeShown] = {}
    stays = [
        (stay.seq, stay, column, channel.name)
        for column, channel in enumerate(scene.channels.values(), start=1)
        for stay in channel.stays
    ]
    for _, stay, column, name in sorted(stays, key=_seq):
        bridge = found.setdefault(
            stay.bridge, BridgeShown(bridge=stay.bridge, technology=stay.technology, stays=[])
        )
        until = None if stay.leave is None else _offset(stay.leave, zero)
        bridge.stays.append(
            StayShown(channel=name, column=column, since=_offset(stay.enter, zero), until=until)
        )
    return list(found.values())


def rows_shown(scene: Scene, ids: Sequence[int]) -> list[RowShown]:
    """Every row in the order of writing; `ids` are what they are called."""
    columns = {uniqueid: column for column, uniqueid in enumerate(scene.channels, start=1)}
    zero = scene.rows[0].eventtime
    return [
        RowShown(
            row=id_,
            offset=_offset(row.eventtime, zero),
            column=columns.get(row.uniqueid) if row.eventtype != EventType.LINKEDID_END else None,
            event=row.eventtype,
            detail=detail_of(row),
            uniqueid=row.uniqueid,
            linkedid=row.linkedid,
        )
        for id_, row in zip(ids, scene.rows, strict=True)
    ]


def detail_of(row: CelEvent) -> str:
    """What is essential in a row of its kind."""
    fields = fields_of(row)
    if row.user_defined or row.eventtype == EventType.USER_DEFINED:
        return text_of(fields, "extra") or row.extra
    if row.eventtype in _MOVES:
        return _moved(row.eventtype, fields)
    tell = _DETAILS.get(row.eventtype)
    return tell(row, fields) if tell else ""


def _began(row: CelEvent, _: dict[str, object]) -> str:
    called = f" calls {row.exten}" if row.exten not in ("", "s") else ""
    return f"{row.cid_num or 'no number'}{called}"


def _app(row: CelEvent, _: dict[str, object]) -> str:
    return f"{row.appname}({row.appdata})" if row.appname else ""


def _bridge(_: CelEvent, fields: dict[str, object]) -> str:
    return f"{short_bridge(text_of(fields, 'bridge_id'))} {text_of(fields, 'bridge_technology')}".strip()


def _linkedid(row: CelEvent, _: dict[str, object]) -> str:
    return row.linkedid


def _stream(row: CelEvent, fields: dict[str, object]) -> str:
    told = (text_of(fields, key) for key in ("sound", "class", "digit"))
    return f"{row.userdeftype} {''.join(told)}".strip()


_MOVES = {
    EventType.BLINDTRANSFER: ("to", "extension"),
    EventType.ATTENDEDTRANSFER: ("to", "transfer_target_channel_name"),
    EventType.PICKUP: ("by", "pickup_channel"),
    EventType.FORWARD: ("to", "forward"),
    EventType.PARK_START: ("by", "parker_dial_string"),
    EventType.PARK_END: ("", "reason"),
    EventType.LOCAL_OPTIMIZE: ("with", "local_two"),
    EventType.LOCAL_OPTIMIZE_BEGIN: ("with", "local_two"),
}


def _moved(eventtype: str, fields: dict[str, object]) -> str:
    word, key = _MOVES[EventType(eventtype)]
    retriever = text_of(fields, "retriever")
    return f"{word} {text_of(fields, key) or '?'}{f' by {retriever}' if retriever else ''}".strip()


def _hung_up(_: CelEvent, fields: dict[str, object]) -> str:
    cause = fields.get("hangupcause")
    said = [cause_text(cause if isinstance(cause, int) else None)]
    status, source = text_of(fields, "dialstatus"), text_of(fields, "hangupsource")
    said += [f"dialstatus {status}"] if status else []
    said += [f"by {source}"] if source else []
    return ", ".join(said)


_DETAILS: dict[str, Callable[[CelEvent, dict[str, object]], str]] = {
    EventType.CHAN_START: _began,
    EventType.APP_START: _app,
    EventType.APP_END: _app,
    EventType.ANSWER: _app,
    EventType.BRIDGE_ENTER: _bridge,
    EventType.BRIDGE_EXIT: _bridge,
    EventType.HANGUP: _hung_up,
    EventType.LINKEDID_END: _linkedid,
    EventType.STREAM_BEGIN: _stream,
    EventType.STREAM_END: _stream,
    EventType.DTMF: _stream,
}


def short_bridge(bridge: str) -> str:
    """Enough of a bridge's id to tell it from others."""
    return bridge[:_SHORT]


def _offset(at: int, zero: int) -> float:
    return round((at - zero) / 1000) / 1000


def _seq(item: tuple[int, object, int, str]) -> int:
    return item[0]
