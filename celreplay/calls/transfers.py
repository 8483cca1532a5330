"""How a call came from one party to another: the transfer rows, and what happened without one. Pure."""

from celreplay.calls.dispositions import leg_disposition, result_of
from celreplay.calls.legs import Story
from celreplay.calls.model import Transfer, TransferType
from celreplay.calls.unannounced import unannounced
from celreplay.cel.events import CelEvent, EventType
from celreplay.cel.fold import fields_of, text_of
from celreplay.cel.names import endpoint_of
from celreplay.times import SECOND, Instant

_SOON = 2 * SECOND
_MOVES = (EventType.BLINDTRANSFER, EventType.ATTENDEDTRANSFER, EventType.PARK_START)
_HANDOVERS = (*_MOVES, EventType.PARK_END)


def transfers_of(story: Story) -> list[Transfer]:
    """All transfers of the call in time order."""
    ids = story.ids
    marks = [
        (seq, event)
        for seq, event in story.scene.marks
        if event.uniqueid in ids and event.eventtype in _HANDOVERS and not event.user_defined
    ]
    found: list[tuple[int, Transfer]] = []
    for index, (seq, event) in enumerate(marks):
        until = min((later for later, other in marks[index + 1 :] if _moves(other)), default=1 << 60)
        if event.eventtype == EventType.BLINDTRANSFER and not _parks(seq, event, marks):
            found.append((seq, _blind(story, seq, event, until)))
        elif event.eventtype == EventType.ATTENDEDTRANSFER:
            found.append((seq, _attended(story, seq, event)))
        elif event.eventtype == EventType.PARK_START:
            found.append((seq, _park(story, seq, event, marks)))
    if not any(transfer.type is TransferType.ATTENDED for _, transfer in found):
        found += _merged_into(story, ids)
    if not found:
        found = _folded(story) or unannounced(story)
    return [transfer for _, transfer in sorted(found, key=_seq)]


def _moves(event: CelEvent) -> bool:
    return event.eventtype in _MOVES


def _parks(seq: int, event: CelEvent, marks: list[tuple[int, CelEvent]]) -> bool:
    """A blind transfer to the parking exten: PARK_START of the party transferred follows at once."""
    transferee = text_of(fields_of(event), "transferee_channel_uniqueid")
    return any(
        other.eventtype == EventType.PARK_START
        and later > seq
        and other.eventtime - event.eventtime < _SOON
        and transferee in ("", other.uniqueid)
        for later, other in marks
    )


def _blind(story: Story, seq: int, event: CelEvent, until: int) -> Transfer:
    to = text_of(fields_of(event), "extension") or None
    legs = [leg for leg in story.legs if seq < leg.channel.seq < until]
    if to is None and legs:
        to = legs[0].number
    return Transfer(
        type=TransferType.BLIND,
        at=Instant(event.eventtime),
        by=story.parties.number(event.uniqueid),
        to=to,
        result=result_of(story, legs, seq) or ("failed" if _dials(story, seq, until) else None),
    )


def _dials(story: Story, seq: int, until: int) -> bool:
    """A Dial ran after the transfer. Where nobody was rung, none of its phones could be reached."""
    return any(app.name == "dial" and seq < app.seq < until for one in story.channels for app in one.apps)


def _attended(story: Story, seq: int, event: CelEvent) -> Transfer:
    fields = fields_of(event)
    target = _target(story, seq, event, text_of(fields, "transfer_target_channel_uniqueid"))
    leg = next((leg for leg in story.legs if leg.channel.uniqueid == target), None)
    number = story.parties.number(target)
    if leg is None:
        result = "answered" if number else None
    else:
        result = "answered" if leg.talks else leg_disposition(leg).value
    by = story.parties.number(event.uniqueid)
    return _attended_to(Instant(event.eventtime), by, number, result)


def _target(story: Story, seq: int, event: CelEvent, named: str) -> str:
    """The uniqueid of who got the call. The row may name a Local half, or nobody (`N/A`, a race on 16.28):
    then it is the leg begun last before the transfer that still lives and is not the transferer."""
    channels = story.scene.channels
    if named in story.parties.by_id:
        return named
    first = channels[event.uniqueid].number if event.uniqueid in channels else ""
    for leg in reversed(story.legs):
        channel = leg.channel
        if (
            channel.seq < seq < channel.ended_seq
            and channel.uniqueid != event.uniqueid
            and channel.number != first
        ):
            return channel.uniqueid
    return ""


def _merged_into(story: Story, ids: set[str]) -> list[tuple[int, Transfer]]:
    """An attended transfer whose row stands in the other of two calls that were joined."""
    found = []
    for seq, event in story.scene.marks:
        fields = fields_of(event)
        if event.eventtype != EventType.ATTENDEDTRANSFER or event.user_defined or event.uniqueid in ids:
            continue
        if ids & {text_of(fields, "channel2_uniqueid"), text_of(fields, "transfer_target_channel_uniqueid")}:
            to = story.parties.number(text_of(fields, "transferee_channel_uniqueid"))
            by = story.parties.number(event.uniqueid)
            found.append(
                (
                    seq,
                    _attended_to(Instant(event.eventtime), by, to, "answered" if to else None),
                )
            )
    return found


def _folded(story: Story) -> list[tuple[int, Transfer]]:
    """Tables without transfer rows (Asterisk's sample of cel.conf): that a second line or a retrieving phone
    joined the call tells the transfer."""
    found = []
    family = story.family
    if not family.consultants and not family.joiners:
        return []
    for channel in family.members:
        number = story.parties.number(channel.uniqueid)
        at = Instant(channel.ended_at if channel.ended_at is not None else channel.last_at)
        if channel.uniqueid in family.consultants:
            to = next((leg for leg in story.legs if leg.channel.linkedids[0] == channel.uniqueid), None)
            result = leg_disposition(to).value if to else None
            found.append((channel.seq, _attended_to(at, number, to.number if to else None, result)))
        elif channel.uniqueid in family.joiners and channel.app("parkedcall"):
            by = _talked_last(story, channel.seq)
            park = Transfer(type=TransferType.PARK, at=by[0], by=by[1], to=number, result="answered")
            found.append((channel.seq, park))
    return found


def _attended_to(at: Instant, by: str | None, to: str | None, result: str | None) -> Transfer:
    return Transfer(type=TransferType.ATTENDED, at=at, by=by, to=to, result=result)


def _talked_last(story: Story, seq: int) -> tuple[Instant, str | None]:
    """When the last person who talked before `seq` stopped, and its number."""
    found: tuple[Instant, str | None] = (Instant(story.started_at), None)
    for leg in story.persons:
        if leg.channel.seq < seq and leg.talks[-1][1] >= found[0]:
            found = (Instant(leg.talks[-1][1]), leg.number)
    return found


def _park(story: Story, seq: int, event: CelEvent, marks: list[tuple[int, CelEvent]]) -> Transfer:
    parker = endpoint_of(text_of(fields_of(event), "parker_dial_string"))
    by = _number_of_endpoint(story, parker) if parker else _talked_last(story, seq)[1]
    end = next(
        (
            other
            for later, other in marks
            if later > seq and other.eventtype == EventType.PARK_END and other.uniqueid == event.uniqueid
        ),
        None,
    )
    after = [leg for leg in story.legs if leg.channel.last_seq > seq and leg.channel.seq > seq]
    to: str | None = None
    result: str | None = "no_answer"
    if end is not None:
        retriever = story.parties.by_name.get(text_of(fields_of(end), "retriever"))
        if retriever is not None:
            to, result = retriever.number, "answered"
        elif after:
            to, result = after[0].number, result_of(story, after[:1], seq)
    elif after and after[0].talks:
        to, result = after[0].number, "answered"
    return Transfer(type=TransferType.PARK, at=Instant(event.eventtime), by=by, to=to, result=result)


def _number_of_endpoint(story: Story, endpoint: str) -> str:
    for leg in story.legs:
        if leg.channel.endpoint == endpoint and leg.number:
            return leg.number
    return endpoint


def _seq(item: tuple[int, Transfer]) -> int:
    return item[0]
