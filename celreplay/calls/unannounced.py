"""Handings over that no transfer row announces: forwards, and AMI Redirect. Pure."""

from celreplay.calls.dispositions import leg_disposition
from celreplay.calls.legs import LegStory, Story
from celreplay.calls.model import Transfer, TransferType
from celreplay.cel.events import EventType
from celreplay.cel.names import is_local
from celreplay.times import SECOND, Instant

_ALONE = SECOND // 2  # within which a phone that was given up still ends while the next leg begins


def unannounced(story: Story) -> list[tuple[int, Transfer]]:
    """Forwards by the phone (302) or the dialplan, and AMI Redirect, which writes no row of its own."""
    forward = _forward(story)
    if forward is not None:
        return [forward]
    redirect = _redirect(story)
    return [redirect] if redirect is not None else []


def forwarded_leg(story: Story) -> LegStory | None:
    """The first outside leg that a call from outside, or to an inside number, was sent on to: a FORWARD row,
    or no phone rang any more when it began."""
    told = any(
        event.eventtype == EventType.FORWARD and not event.user_defined for _, event in story.scene.marks
    )
    for leg in story.legs:
        if leg.outside and leg.rang_at is not None and _comes_alone(story, leg, told=told):
            return leg
    return None


def _comes_alone(story: Story, leg: LegStory, *, told: bool) -> bool:
    before = [other for other in story.legs if other.channel.seq < leg.channel.seq and not other.outside]
    if any(other.talks for other in before):
        return False
    begun = leg.rang_at or 0
    return told or all(
        other.channel.ended_at is not None and other.channel.ended_at <= begun + _ALONE for other in before
    )


def _forward(story: Story) -> tuple[int, Transfer] | None:
    if story.click or not (story.caller.outside or _called_inside(story)):
        return None
    leg = forwarded_leg(story)
    if leg is None:
        return None
    before = [other for other in story.legs if other.channel.seq < leg.channel.seq and not other.outside]
    return leg.channel.seq, Transfer(
        type=TransferType.FORWARD,
        at=Instant(leg.rang_at or 0),
        by=before[-1].number if before else None,
        to=leg.number,
        result=leg_disposition(leg).value,
    )


def _called_inside(story: Story) -> bool:
    return any(not leg.outside for leg in story.legs)


def _redirect(story: Story) -> tuple[int, Transfer] | None:
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
            # a table without transfer rows has no LINKEDID_END either (Asterisk's sample of cel.conf)
            kind = TransferType.REDIRECT if story.scene.all_events else TransferType.BLIND
            by = None if story.scene.all_events else persons[0].number
            at = Instant(max(end for _, end in persons[0].talks))
            return channel.seq, Transfer(
                type=kind, at=at, by=by, to=leg.number, result=leg_disposition(leg).value
            )
    return None
