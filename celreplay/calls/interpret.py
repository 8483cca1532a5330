"""From the rows of one group to its calls. A pure function of the set of rows; it never raises.

Every rule stands in docs/call.md, each phenomenon in a module of its own: parties, families, legs, talk,
dispositions, transfers.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from celreplay.calls import dispositions
from celreplay.calls.families import families_of
from celreplay.calls.legs import LegStory, Story, tell
from celreplay.calls.model import Call, Caller, Direction, Disposition, Leg, LegKind
from celreplay.calls.numbering import PbxRules, is_inside, outside_number, same_number
from celreplay.calls.oddities import is_complete, warnings_of
from celreplay.calls.parties import identify
from celreplay.calls.recordings import recordings_of
from celreplay.calls.talk import Interval, hold_of, length, union
from celreplay.calls.transfers import forwarded_leg, transfers_of
from celreplay.cel.channel import Channel, Scene, read
from celreplay.cel.events import CelEvent
from celreplay.cel.names import real_number
from celreplay.cel.timeline import in_order, repaired
from celreplay.times import Instant, seconds_between

__all__ = ["INTERPRETER_VERSION", "PbxRules", "calls_of"]

INTERPRETER_VERSION = 1
"""Grows whenever the same rows give another Call than before."""


def calls_of(events: Sequence[CelEvent], rules: PbxRules, *, complete: bool = True) -> list[Call]:
    """The calls in the rows of one group, oldest first; none where the rows are of SIP MESSAGE only.

    The rows may come in any order and twice. `complete` False: the group was closed by the time-out."""
    rows = repaired(in_order(events))
    scene = read(rows)
    if not scene.channels:
        return []
    parties = identify(scene, rules)
    return [
        _call(tell(scene, parties, family), rules, complete=complete)
        for family in families_of(scene, parties, rules)
    ]


def _call(story: Story, rules: PbxRules, *, complete: bool) -> Call:
    disposition = dispositions.call_disposition(story)
    dialed = _dialed_number(story)
    direction = _direction(story, dialed, rules)
    _name_outside_legs(story, direction, dialed)
    persons = story.persons
    conference = story.conference_talks()
    talked = union([*(talk for leg in persons for talk in leg.talks), *conference])
    answered_at = _answered_at(persons, conference)
    ended_at = _ended_at(story, answered=bool(talked))
    caller = story.caller
    return Call(
        linkedid=story.family.linkedid,
        linkedids=story.family.linkedids,
        system=rules.system,
        direction=direction,
        disposition=disposition,
        caller=Caller(
            number=caller.number, name=caller.channel.caller_name or None, channel=caller.channel.name or None
        ),
        dialed_number=dialed,
        external_number=outside_number(_external_number(story, direction, dialed)),
        answered_by=_answered_by(story, persons, conference),
        extension=_extension(story, direction),
        trunk=_trunk(story, direction),
        queue=dispositions.queue_of(story),
        started_at=Instant(story.started_at),
        answered_at=_instant(answered_at),
        ended_at=_instant(ended_at),
        duration=None if ended_at is None else seconds_between(story.started_at, ended_at),
        wait=None if answered_at is None else seconds_between(story.started_at, answered_at),
        ring=_ring(story, direction, persons),
        talk=length(talked),
        hold=hold_of(story.scene, _talkers(story), talked),
        legs=_legs(story, conference),
        transfers=transfers_of(story),
        recordings=recordings_of(story),
        voicemail=dispositions.mailbox_of(story),
        conference=story.conference(),
        hangup_cause=dispositions.deciding_cause(story, disposition),
        hangup_by=dispositions.hangup_by(story),
        sip_code=dispositions.sip_code(story, disposition),
        accountcode=_first_text(story, "accountcode"),
        userfield=_first_text(story, "userfield"),
        complete=complete and is_complete(story),
        warnings=warnings_of(story, complete=complete),
        revision=_revision(story),
    )


def _instant(moment: int | None) -> Instant | None:
    return None if moment is None else Instant(moment)


def _dialed_number(story: Story) -> str | None:
    origin = story.family.origin
    if story.click:
        first = next((leg for leg in story.legs if leg.rang_at is not None), None)
        return first.number if first else None
    exten, dnid = real_number(origin.exten), real_number(origin.dnid)
    return (exten or dnid) if origin.started else (dnid or exten)


def _direction(story: Story, dialed: str | None, rules: PbxRules) -> Direction:
    caller = story.caller
    if caller.outside is None:
        return Direction.UNKNOWN
    if caller.outside:
        return Direction.OUTGOING if story.click else Direction.INCOMING
    lines = [leg for leg in story.legs if leg.outside]
    if story.click:
        return Direction.OUTGOING if lines else Direction.INTERNAL
    if lines:
        reached = any(same_number(leg.number, dialed) for leg in lines)
        inside_first = not story.legs[0].outside
        outgoing = reached or not is_inside(dialed, rules) and not inside_first
        return Direction.OUTGOING if outgoing else Direction.INTERNAL
    outside = dialed is not None and len(dialed.lstrip("+")) >= 7 and dialed.lstrip("+").isdigit()
    return (
        Direction.OUTGOING
        if outside and not story.legs and not is_inside(dialed, rules)
        else Direction.INTERNAL
    )


def _name_outside_legs(story: Story, direction: Direction, dialed: str | None) -> None:
    """Where no row shows the Dial: what an extension dialled is what its outside leg called."""
    if direction is Direction.OUTGOING:
        for leg in story.legs:
            if leg.outside and leg.number is None:
                leg.number = dialed


def _answered_at(persons: list[LegStory], conference: list[Interval]) -> int | None:
    moments = [leg.answered_at for leg in persons if leg.answered_at is not None]
    return min([*moments, *(start for start, _ in conference)], default=None)


def _answered_by(story: Story, persons: list[LegStory], conference: list[Interval]) -> str | None:
    if conference and (not persons or conference[0][0] < (persons[0].answered_at or 0)):
        return f"conference {story.conference()}".strip()
    return persons[0].number if persons else None


def _talkers(story: Story) -> list[Channel]:
    return [story.caller.channel, *(leg.channel for leg in story.persons)]


def _ended_at(story: Story, *, answered: bool) -> int | None:
    """Unanswered: the caller's HANGUP. Answered: the HANGUP of the last one who talked."""
    caller = story.caller.channel
    if caller.seq < 0:  # none of its rows is there
        return max(
            (leg.channel.ended_at for leg in story.legs if leg.channel.ended_at is not None), default=None
        )
    if not answered:
        return caller.ended_at
    last = max((leg.channel for leg in story.persons), key=_last_talk, default=caller)
    ends = [channel.ended_at for channel in (caller, last)]
    return (
        None
        if None in ends and not (caller.ended_at is None and last.ended_at)
        else max(end for end in ends if end is not None)
    )


def _last_talk(channel: Channel) -> int:
    return max((stay.left_seq for stay in channel.talks), default=-1)


def _ring(story: Story, direction: Direction, persons: list[LegStory]) -> float | None:
    """From the first ringing to the first person's answer, or to the end of the last ringing. A call forwarded
    outside rings where it was sent to."""
    caller = story.caller.channel
    rung = [leg for leg in story.legs if leg.rang_at is not None]
    if story.click and not story.legs and caller.answered_at is None:
        return None if caller.ended_at is None else seconds_between(story.started_at, caller.ended_at)
    if direction is not Direction.OUTGOING and (forwarded := forwarded_leg(story)) is not None:
        rung = [leg for leg in rung if leg.channel.seq >= forwarded.channel.seq]
    if not rung:
        return None
    first = min(leg.rang_at for leg in rung if leg.rang_at is not None)
    if persons and persons[0].answered_at is not None:
        return seconds_between(first, persons[0].answered_at)
    ends = [leg.channel.ended_at for leg in rung]
    known = [end for end in ends if end is not None]
    return seconds_between(first, max(known)) if len(known) == len(ends) else None


def _external_number(story: Story, direction: Direction, dialed: str | None) -> str | None:
    if direction is Direction.INCOMING:
        return story.caller.number
    if direction is not Direction.OUTGOING:
        return None
    lines = [leg for leg in story.persons if leg.outside] or [leg for leg in story.legs if leg.outside]
    return (lines[0].number if lines else None) or dialed


def _extension(story: Story, direction: Direction) -> str | None:
    """The inside number that talked last, else rang last; of an outgoing call the caller's, until it leaves."""
    inside = [leg for leg in story.legs if not leg.outside]
    talked = [(_last_talk(leg.channel), leg.channel.seq, leg.number) for leg in inside if leg.talks]
    caller = story.caller
    if direction is Direction.OUTGOING and not caller.outside:
        talked.append((_last_talk(caller.channel), caller.channel.seq, caller.number))
    if talked:
        return max(talked, key=_order)[2]
    return inside[-1].number if inside else None


def _order(item: tuple[int, int, str | None]) -> tuple[int, int]:
    return item[0], item[1]


def _trunk(story: Story, direction: Direction) -> str | None:
    if direction is Direction.INCOMING:
        return story.caller.channel.endpoint or None
    lines = [leg for leg in story.persons if leg.outside] or [leg for leg in story.legs if leg.outside][-1:]
    return lines[0].channel.endpoint or None if lines else None


def _legs(story: Story, conference: list[Interval]) -> list[Leg]:
    legs = [_leg(leg) for leg in story.legs]
    caller = story.caller.channel
    if conference:
        legs.append(
            _service(caller, LegKind.CONFERENCE, story.conference(), conference, Disposition.ANSWERED)
        )
    mailbox = dispositions.mailbox_of(story)
    if mailbox is not None:
        end = caller.ended_at if caller.ended_at is not None else caller.last_at
        app = next(app for channel in story.channels if (app := channel.app("voicemail")))
        legs.append(_service(caller, LegKind.VOICEMAIL, mailbox, [(app.at, end)], Disposition.VOICEMAIL))
    return legs


def _leg(leg: LegStory) -> Leg:
    channel = leg.channel
    return Leg(
        number=leg.number,
        name=channel.caller_name or None,
        channel=channel.name,
        uniqueid=channel.uniqueid,
        kind=LegKind.EXTERNAL if leg.outside else LegKind.EXTENSION,
        rang_at=_instant(leg.rang_at),
        answered_at=_instant(leg.answered_at),
        ended_at=_instant(channel.ended_at),
        talk=length(union(leg.talks)),
        disposition=dispositions.leg_disposition(leg),
        hangup_cause=channel.cause,
    )


def _service(
    caller: Channel, kind: LegKind, number: str | None, talks: list[Interval], disposition: Disposition
) -> Leg:
    answered = disposition is Disposition.ANSWERED
    return Leg(
        number=number or None,
        channel=caller.name,
        uniqueid=caller.uniqueid,
        kind=kind,
        answered_at=Instant(talks[0][0]),
        ended_at=_instant(caller.ended_at),
        talk=length(union(talks)) if answered else 0.0,
        disposition=disposition,
        hangup_cause=caller.cause,
    )


def _first_text(story: Story, field: str) -> str | None:
    for channel in (story.caller.channel, *story.channels):
        text = getattr(channel, field)
        if text:
            return str(text)
    return None


def _revision(story: Story) -> str:
    """A hash of what the rows say: not of how they were read, numbered or worded."""
    ids = {channel.uniqueid for channel in story.channels}
    rows = [msgspec.structs.astuple(row)[1:-1] for row in story.scene.rows if row.uniqueid in ids]
    return hashlib.blake2b(msgspec.msgpack.encode(rows), digest_size=12).hexdigest()
