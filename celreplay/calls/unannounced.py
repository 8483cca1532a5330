"""Handings over that no transfer row announces: forwards, and AMI Redirect. Pure."""

from celreplay.calls.dispositions import leg_disposition, result_of
from celreplay.calls.legs import LegStory, Story
from celreplay.calls.model import Transfer, TransferType
from celreplay.calls.numbering import same_number
from celreplay.cel.channel import Stay
from celreplay.cel.events import EventType
from celreplay.cel.names import is_local, local_exten, local_partner
from celreplay.times import SECOND, Instant

_ALONE = SECOND // 2  # within which a phone that was given up still ends, and those of one group begin


def unannounced(story: Story) -> list[tuple[int, Transfer]]:
    """Forwards by the phone (302) or the dialplan, and AMI Redirect, which writes no row of its own."""
    forward = _forward(story)
    if forward is not None:
        return [forward]
    redirect = _redirect(story)
    return [redirect] if redirect is not None else []


def forwarded_leg(story: Story) -> LegStory | None:
    """The first outside leg that a call from outside, or to an inside number, was sent on to: a FORWARD row,
    or no phone rang beside it when it began. A mobile that rings along with phones is one of a group."""
    told = bool(_forwards(story))
    for leg in story.legs:
        if leg.outside and leg.rang_at is not None and _comes_alone(story, leg, told=told):
            return leg
    return None


def _comes_alone(story: Story, leg: LegStory, *, told: bool) -> bool:
    before = [other for other in story.legs if other.channel.seq < leg.channel.seq and not other.outside]
    if any(other.talks for other in before) or _is_agent(story, leg):
        return False
    return told or not any(_rings_beside(other, leg) for other in story.legs if not other.outside)


def _is_agent(story: Story, leg: LegStory) -> bool:
    """A queue's member at an outside number: the queue called a Local channel of that name."""
    party = story.parties.by_id.get(leg.channel.uniqueid)
    if party is None or party.dialled is None:
        return False
    channels = story.scene.channels
    half = channels[party.dialled.by].name
    return same_number(local_exten(half), leg.number) and any(
        other.name == local_partner(half) and other.app("appqueue") is not None for other in channels.values()
    )


def _rings_beside(other: LegStory, leg: LegStory) -> bool:
    """Still, or from the same moment on, whichever of the two Asterisk called first."""
    begun, other_begun = leg.rang_at or 0, other.rang_at
    if other.channel.seq < leg.channel.seq:
        return other.channel.ended_at is None or other.channel.ended_at > begun + _ALONE
    if other_begun is None or other_begun > begun + _ALONE:
        return False
    return other.channel.seq < leg.channel.ended_seq


def _forward(story: Story) -> tuple[int, Transfer] | None:
    if story.click:
        return None
    leg = forwarded_leg(story) or _sent_on_inside(story)
    if leg is None:
        return None
    before = [other for other in story.legs if other.channel.seq < leg.channel.seq and not other.outside]
    if not before and not story.caller.outside:
        return None
    return leg.channel.seq, Transfer(
        type=TransferType.FORWARD,
        at=Instant(leg.rang_at or 0),
        by=before[-1].number if before else None,
        to=leg.number,
        result=leg_disposition(leg).value,
    )


def _forwards(story: Story) -> list[int]:
    """seq of each FORWARD row."""
    return [
        seq
        for seq, event in story.scene.marks
        if event.eventtype == EventType.FORWARD and not event.user_defined and event.uniqueid in story.ids
    ]


def _sent_on_inside(story: Story) -> LegStory | None:
    """The leg begun next after a FORWARD row."""
    for seq in _forwards(story):
        for leg in story.legs:
            if leg.channel.seq > seq:
                return leg
    return None


def _redirect(story: Story) -> tuple[int, Transfer] | None:
    """The dialplan sent a party elsewhere in the middle of its talk."""
    parties = [story.caller.channel]
    if not story.caller.outside:
        parties += [leg.channel for leg in story.persons]
    sent = [(stay.left_seq, stay) for channel in parties for stay in channel.talks if stay.sent_to]
    if not sent:
        return _cut_off(story)
    seq, stay = min(sent, key=_first)
    legs = [leg for leg in story.legs if leg.channel.seq > seq]
    return seq, _sent_by_pbx(story, stay.leave or 0, stay.sent_to, result_of(story, legs, seq))


def _cut_off(story: Story) -> tuple[int, Transfer] | None:
    """Somebody talked, was cut off by the PBX, and the caller rang another phone."""
    persons = story.persons
    if not persons or is_local(story.caller.channel.name):
        return None
    first = persons[0].channel
    if first.source not in ("", None) or first.ended_at is None:
        return None
    for leg in story.legs:
        channel = leg.channel
        if channel.seq > max((stay.left_seq for stay in first.talks), default=1 << 60) and not (
            story.caller.channel.ended_seq < channel.seq
        ):
            at = max(end for _, end in persons[0].talks)
            return channel.seq, _sent_by_pbx(story, at, leg.number, leg_disposition(leg).value)
    return None


def _sent_by_pbx(story: Story, at: int, to: str | None, result: str | None) -> Transfer:
    """A redirect; in a table without transfer rows, which has no LINKEDID_END either (Asterisk's sample of
    cel.conf), a transfer by who talked."""
    redirect = story.scene.all_events
    kind = TransferType.REDIRECT if redirect else TransferType.BLIND
    by = None if redirect or not story.persons else story.persons[0].number
    return Transfer(type=kind, at=Instant(at), by=by, to=to, result=result)


def _first(item: tuple[int, Stay]) -> int:
    return item[0]
