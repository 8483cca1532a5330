"""Rows folded into channels: a table from event type to a small function. Pure."""

import re
from collections.abc import Callable, Sequence

from celreplay.cel.channel import App, Channel, Scene, Stay
from celreplay.cel.events import CelEvent, EventType, extra_of
from celreplay.cel.names import endpoint_of, is_local, is_message, is_somebody, real_number

_PAIRS = re.compile(r'"(\w+)":\s*(?:"([^"\\]*)"|(-?\d+))')


def fields_of(event: CelEvent) -> dict[str, object]:
    """What is in `extra`; of one that a short column has cut, the pairs that are whole."""
    found = extra_of(event)
    if found or not event.extra:
        return found
    return {key: int(number) if number else text for key, text, number in _PAIRS.findall(event.extra)}


def text_of(fields: dict[str, object], key: str) -> str:
    """A text among the fields; empty where there is none. Asterisk writes `N/A` for one it does not know."""
    value = fields.get(key)
    return value if isinstance(value, str) and value != "N/A" else ""


def read(rows: Sequence[CelEvent]) -> Scene:
    """Fold rows, which must be in the order of writing, into channels."""
    scene = Scene(rows=rows, channels={}, marks=[])
    channels = scene.channels
    for seq, event in enumerate(rows):
        eventtype = "USER_DEFINED" if event.user_defined else event.eventtype
        if eventtype == _LINKEDID_END:
            scene.all_events = True  # and tells nothing about the channel that it names
            continue
        channel = channels.get(event.uniqueid)
        if channel is None:
            if is_message(event.channame):
                continue
            channel = channels[event.uniqueid] = _new(seq, event)
        else:
            _update(channel, seq, event)
        handle = _HANDLERS.get(eventtype)
        if handle is not None:
            handle(scene, channel, seq, event)
    return scene


def _new(seq: int, event: CelEvent) -> Channel:
    name = event.channame
    channel = Channel(
        uniqueid=event.uniqueid,
        name=name,
        linkedids=[event.linkedid],
        seq=seq,
        first_at=event.eventtime,
        last_at=event.eventtime,
        last_seq=seq,
        real=is_somebody(name),
        local=is_local(name),
        endpoint=endpoint_of(name),
        number=event.cid_num,
        caller_name=event.cid_name,
        exten=event.exten,
        context=event.context,
    )
    _update(channel, seq, event)
    return channel


def _update(channel: Channel, seq: int, event: CelEvent) -> None:
    if event.linkedid != channel.linkedids[-1]:
        channel.linkedids.append(event.linkedid)
    channel.last_seq = seq
    channel.last_exten = event.exten
    if event.eventtime > channel.last_at:  # noqa: PLR1730 - max() costs more than all the rest here
        channel.last_at = event.eventtime
    if not channel.dnid:
        channel.dnid = event.cid_dnid
    if not channel.ani:
        channel.ani = event.cid_ani
    if event.accountcode:
        channel.accountcode = event.accountcode
    if event.userfield:
        channel.userfield = event.userfield
    if event.appname:
        name, apps = event.appname.lower(), channel.apps
        if not apps or apps[-1].data != event.appdata or apps[-1].name != name:
            apps.append(App(seq, event.eventtime, name, event.appdata))


def _chan_start(_: Scene, channel: Channel, __: int, event: CelEvent) -> None:
    channel.started = True
    channel.first_at = event.eventtime


def _answer(_: Scene, channel: Channel, seq: int, event: CelEvent) -> None:
    if channel.answered_at is None:
        channel.answered_at = event.eventtime
        channel.answered_seq = seq
        channel.answered_number = event.cid_num


def _hangup(_: Scene, channel: Channel, seq: int, event: CelEvent) -> None:
    fields = fields_of(event)
    cause = fields.get("hangupcause")
    channel.cause = cause if isinstance(cause, int) else None
    if "hangupsource" in fields:
        channel.source = text_of(fields, "hangupsource")
    channel.dialstatus = text_of(fields, "dialstatus")
    channel.ended_at, channel.ended_seq = event.eventtime, seq
    _leave(channel, seq, event.eventtime)


def _chan_end(_: Scene, channel: Channel, seq: int, event: CelEvent) -> None:
    if channel.ended_at is None:
        channel.ended_at, channel.ended_seq = event.eventtime, seq
        _leave(channel, seq, event.eventtime)


def _bridge_enter(scene: Scene, channel: Channel, seq: int, event: CelEvent) -> None:
    scene.bridges = True
    fields = fields_of(event)
    stays = channel.stays
    if stays and stays[-1].enter != event.eventtime:
        _leave(channel, seq, event.eventtime)  # its BRIDGE_EXIT was lost
    channel.stays.append(
        Stay(
            text_of(fields, "bridge_id"),
            text_of(fields, "bridge_technology") or ("holding_bridge" if channel.parking else ""),
            event.appname.lower(),
            seq,
            event.eventtime,
            place=(event.exten, event.context),
        )
    )


def _bridge_exit(scene: Scene, channel: Channel, seq: int, event: CelEvent) -> None:
    stays = channel.stays
    if len(stays) > 1 and stays[-2].leave is None:
        # two begun in one moment, in a table without ids: the bridge's id tells which one ends
        if text_of(fields_of(event), "bridge_id") == stays[-1].bridge:
            stays.reverse()
        stays[-2].leave, stays[-2].left_seq = event.eventtime, seq
    elif stays and stays[-1].leave is None:
        if stays[-1].place not in (None, (event.exten, event.context)):
            stays[-1].sent_to = real_number(event.exten) or ""
        _leave(channel, seq, event.eventtime)
    elif not stays:  # its BRIDGE_ENTER was lost; it cannot have entered before it answered
        fields = fields_of(event)
        since = channel.answered_at if channel.answered_at is not None else channel.first_at
        stay = Stay(text_of(fields, "bridge_id"), "", event.appname.lower(), channel.seq, since)
        stays.append(stay)
        scene.bridges = True
        _leave(channel, seq, event.eventtime)


def _leave(channel: Channel, seq: int, at: int) -> None:
    for stay in channel.stays[-2:]:
        if stay.leave is None:
            stay.leave, stay.left_seq = max(at, stay.enter), seq


def _stream(scene: Scene, channel: Channel, _: int, event: CelEvent) -> None:
    scene.streams = True
    channel.streams.append(event)


def _new_asterisk(scene: Scene, _: Channel, __: int, ___: CelEvent) -> None:
    scene.streams = True


def _park_start(scene: Scene, channel: Channel, seq: int, event: CelEvent) -> None:
    _leave(channel, seq, event.eventtime)
    channel.parking = True
    _mark(scene, channel, seq, event)


def _park_end(scene: Scene, channel: Channel, seq: int, event: CelEvent) -> None:
    channel.parking = False
    _mark(scene, channel, seq, event)


def _mark(scene: Scene, _: Channel, seq: int, event: CelEvent) -> None:
    scene.marks.append((seq, event))


_LINKEDID_END = EventType.LINKEDID_END.value
_BY_TYPE: dict[EventType, Callable[[Scene, Channel, int, CelEvent], None]] = {
    EventType.CHAN_START: _chan_start,
    EventType.ANSWER: _answer,
    EventType.HANGUP: _hangup,
    EventType.CHAN_END: _chan_end,
    EventType.BRIDGE_ENTER: _bridge_enter,
    EventType.BRIDGE_EXIT: _bridge_exit,
    EventType.STREAM_BEGIN: _stream,
    EventType.STREAM_END: _stream,
    EventType.DTMF: _new_asterisk,
    EventType.LOCAL_OPTIMIZE_BEGIN: _new_asterisk,
    EventType.BLINDTRANSFER: _mark,
    EventType.ATTENDEDTRANSFER: _mark,
    EventType.PICKUP: _mark,
    EventType.FORWARD: _mark,
    EventType.PARK_START: _park_start,
    EventType.PARK_END: _park_end,
    EventType.USER_DEFINED: _mark,
}
_HANDLERS = {kind.value: handler for kind, handler in _BY_TYPE.items()}
