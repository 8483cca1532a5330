"""When a call was answered, when it ended, how long it rang. Pure."""

from itertools import combinations

from celreplay.calls.legs import LegStory, Story
from celreplay.calls.model import Direction
from celreplay.calls.talk import Interval, common, talks_of, union, up_to
from celreplay.calls.unannounced import forwarded_leg
from celreplay.cel.channel import Channel, last_talk
from celreplay.times import seconds_between


def answered_at(story: Story) -> int | None:
    """The first person's answer; the entry into a conference."""
    moments = [leg.answered_at for leg in story.persons[:1]] + [start for start, _ in story.conference_talks]
    return min((moment for moment in moments if moment is not None), default=None)


def ended_at(story: Story) -> int | None:
    """Unanswered: the caller's HANGUP. Answered: the HANGUP of the last one who talked. None where the rows
    stop before."""
    caller = story.caller.channel
    if caller.seq < 0:  # none of its rows is there
        ends = [leg.channel.ended_at for leg in story.legs]
        return max((end for end in ends if end is not None), default=None)
    if not story.persons:
        return caller.ended_at
    last = max((leg.channel for leg in story.persons), key=last_talk)
    if last.ended_at is None or caller.ended_at is None:
        return last.ended_at
    return max(last.ended_at, caller.ended_at)


def talked_of(story: Story) -> list[Interval]:
    """The conversation of the party that stays, joined: what others say without a caller from outside is none
    of it, nor is the waiting of a side that the PBX called through a Local channel before the other."""
    talks = [*(talk for leg in story.persons for talk in leg.talks), *story.conference_talks]
    caller = story.caller.channel
    if story.caller.outside and caller.ended_at is not None:
        talks = up_to(caller.ended_at, talks)
    elif story.family.origin.local and (own := talks_of(caller, story.scene)):
        sides = [union(own), *(union(leg.talks) for leg in story.persons)]
        talks = [talk for one, other in combinations(sides, 2) for talk in common(one, other)]
    return union(talks)


def ring_of(story: Story, direction: Direction) -> float | None:
    """From the first ringing to the first person's answer, or to the end of the last ringing."""
    if story.click and not story.legs:
        return _own_ring(story)
    rung = rung_legs(story, direction)
    if not rung:
        return None
    first = min(leg.rang_at for leg in rung if leg.rang_at is not None)
    persons = story.persons
    if persons and persons[0].answered_at is not None:
        return seconds_between(first, persons[0].answered_at)
    ends = [stopped(leg.channel) for leg in rung]
    known = [end for end in ends if end is not None]
    return seconds_between(first, max(known)) if len(known) == len(ends) else None


def stopped(channel: Channel) -> int | None:
    """A phone that answered, and was let go before it met the caller, rang up to its answer."""
    return channel.answered_at if channel.answered_at is not None else channel.ended_at


def rung_legs(story: Story, direction: Direction) -> list[LegStory]:
    """The legs whose ringing counts: a call forwarded outside rings where it was sent to."""
    rung = [leg for leg in story.legs if leg.rang_at is not None]
    if direction is not Direction.OUTGOING and (forwarded := forwarded_leg(story)) is not None:
        rung = [leg for leg in rung if leg.channel.seq >= forwarded.channel.seq]
    return rung


def _own_ring(story: Story) -> float | None:
    """Click-to-call whose own extension was called and nobody else."""
    caller = story.caller.channel
    end = caller.answered_at if caller.answered_at is not None else caller.ended_at
    return None if end is None else seconds_between(story.started_at, end)
