"""The legs of a call as its contract shows them. Pure."""

from celreplay.calls.applications import mailbox_of
from celreplay.calls.dispositions import leg_disposition
from celreplay.calls.legs import LegStory, Story
from celreplay.calls.model import Disposition, Leg, LegKind
from celreplay.calls.talk import Interval, length, union
from celreplay.times import Instant


def legs_of(story: Story) -> list[Leg]:
    """Each party rung or talked to in time order, conference and voicemail behind them."""
    legs = [_leg(leg) for leg in sorted(story.legs, key=_begin)]
    if story.conference_talks:
        legs.append(_conference(story, story.conference_talks))
    if story.voicemail is not None:
        legs.append(_voicemail(story, story.voicemail.at))
    return legs


def instant(moment: int | None) -> Instant | None:
    """The same moment as the contract's type."""
    return None if moment is None else Instant(moment)


def _begin(leg: LegStory) -> int:
    return (leg.rang_at if leg.rang_at is not None else leg.answered_at) or 0


def _leg(leg: LegStory) -> Leg:
    channel = leg.channel
    return Leg(
        number=leg.number,
        name=channel.caller_name or None,
        channel=channel.name,
        uniqueid=channel.uniqueid,
        kind=LegKind.EXTERNAL if leg.outside else LegKind.EXTENSION,
        rang_at=instant(leg.rang_at),
        answered_at=instant(leg.answered_at),
        ended_at=instant(channel.ended_at),
        talk=length(union(leg.talks)),
        disposition=leg_disposition(leg),
        hangup_cause=channel.cause,
    )


def _conference(story: Story, talks: list[Interval]) -> Leg:
    caller = story.caller.channel
    return Leg(
        number=story.conference or None,
        channel=caller.name,
        uniqueid=caller.uniqueid,
        kind=LegKind.CONFERENCE,
        answered_at=Instant(talks[0][0]),
        ended_at=Instant(talks[-1][1]),
        talk=length(union(talks)),
        disposition=Disposition.ANSWERED,
        hangup_cause=caller.cause,
    )


def _voicemail(story: Story, at: int) -> Leg:
    caller = story.caller.channel
    return Leg(
        number=mailbox_of(story.voicemail) or None,
        channel=caller.name,
        uniqueid=caller.uniqueid,
        kind=LegKind.VOICEMAIL,
        answered_at=Instant(at),
        ended_at=instant(caller.ended_at),
        disposition=Disposition.VOICEMAIL,
        hangup_cause=caller.cause,
    )
