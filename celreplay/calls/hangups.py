"""Who ended a call: hangupsource, and where it misleads. Pure."""

from celreplay.calls.dispositions import REFUSALS, judged_legs, taken_back
from celreplay.calls.legs import LegStory, Story
from celreplay.calls.model import HangupBy
from celreplay.cel.channel import Channel, last_talk
from celreplay.times import SECOND

_AFTER = SECOND // 2  # after the last talk both ends hang up within milliseconds


def hangup_by(story: Story) -> HangupBy | None:
    """From hangupsource: a channel's name, or nothing for the PBX."""
    channel = source_channel(story)
    if channel is None:
        return None
    source = channel.source or ""
    if is_turned_away(story, source):
        return HangupBy.CALLEE if refusing_legs(story) else HangupBy.PBX
    if source == story.caller.channel.name:
        return HangupBy.CALLER
    return HangupBy.CALLEE if source and not source.startswith("dialplan/") else HangupBy.PBX


def is_turned_away(story: Story, source: str) -> bool:
    """The caller's channel ended before any answer, and not by the caller. After Busy() and Congestion() its
    hangupsource names the caller, who did no more than acknowledge them."""
    caller = story.caller.channel
    if caller.answered_at is not None or story.persons:
        return False
    return source != caller.name or caller.app(*REFUSALS) is not None


def refusing_legs(story: Story) -> list[LegStory]:
    """All who were called, if all of them refused; else none."""
    legs = judged_legs(story)
    return [] if any(leg.channel.cause is None or taken_back(leg.channel) for leg in legs) else legs


def source_channel(story: Story) -> Channel | None:
    """The channel whose hangupsource tells who hung up: of those who were there last the first that names
    one, else the caller. None where the rows have no hangupsource."""
    caller = story.caller.channel
    if story.caller.outside and caller.source == "" and last_talk(caller) < _last_begin(story):
        return caller  # AMI Redirect took the other side away to somebody else
    there = sorted([caller, *(leg.channel for leg in story.persons)], key=last_talk)[-2:]
    told = [channel for channel in (caller, *there) if channel.source is not None]
    if _handed_over(story):
        told = [channel for channel in told if channel is not caller]
    return next((channel for channel in told if channel.source), told[0] if told else None)


def _handed_over(story: Story) -> bool:
    """An extension that called and has left the others alone, by a transfer: its hangup is not the end."""
    end = story.caller.channel.ended_at
    others = [leg.channel.ended_at for leg in story.persons]
    if story.caller.outside or end is None or None in others:
        return False
    return max((other for other in others if other is not None), default=end) > end + _AFTER


def _last_begin(story: Story) -> int:
    return max((stay.seq for leg in story.persons for stay in leg.channel.talks), default=-1)
