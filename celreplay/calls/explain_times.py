"""Why these times. Pure."""

from celreplay.calls.explain_facts import Facts, Reason
from celreplay.calls.explain_outcome import conference_seqs, disposition
from celreplay.calls.legs import listeners
from celreplay.calls.moments import rung_legs, stopped
from celreplay.cel.channel import Channel, last_talk
from celreplay.cel.events import EventType

_NEW = frozenset(
    {EventType.STREAM_BEGIN, EventType.STREAM_END, EventType.DTMF, EventType.LOCAL_OPTIMIZE_BEGIN}
)


def started(facts: Facts) -> Reason:
    """The first row of who began."""
    origin = facts.origin
    seqs = facts.begin(origin)
    if origin.started:
        return Reason(f"CHAN_START of {origin.name}", seqs)
    return Reason(
        f"no CHAN_START of {origin.name or 'the caller'}: the second in its uniqueid, or its first row", seqs
    )


def answered(facts: Facts) -> Reason:
    """The first person's answer."""
    story = facts.story
    if facts.call.answered_at is None:
        return Reason("nobody talked", [])
    if story.conference_talks and story.conference_talks[0][0] == facts.call.answered_at:
        return Reason("the caller entered the conference", conference_seqs(facts))
    leg = story.persons[0]
    channel = leg.channel
    entered = [stay.seq for stay in channel.talks]
    if leg.answered_at == channel.answered_at:
        return Reason(f"ANSWER of {channel.name}, who talked first", [*facts.answer(channel), *entered])
    return Reason(f"{channel.name} entered the bridge", [*facts.answer(channel), *entered])


def ended(facts: Facts) -> Reason:
    """The last HANGUP that counts."""
    story, caller = facts.story, facts.caller
    if facts.call.ended_at is None:
        return Reason("the rows stop before", [])
    channels: list[Channel] = [caller, *(leg.channel for leg in story.legs)]
    at = [channel for channel in channels if channel.ended_at == facts.call.ended_at]
    if not at:
        return Reason("the end of the caller", facts.end(caller))
    last = at[0]
    what = facts.event(last.ended_seq)
    if not story.persons:
        return Reason(f"{what} of {last.name}: nobody talked", facts.end(last))
    talker = max((leg.channel for leg in story.persons), key=last_talk)
    seqs = [*facts.end(last), *facts.end(talker)]
    return Reason(f"{what} of {last.name}, the last end of the caller and of who talked last", seqs)


def duration(facts: Facts) -> Reason:
    """started_at to ended_at."""
    if facts.call.duration is None:
        return Reason("the end is unknown", [])
    first, last = started(facts), ended(facts)
    return Reason(f"from {first.text} to {last.text}", [*first.seqs, *last.seqs])


def wait(facts: Facts) -> Reason:
    """started_at to answered_at."""
    if facts.call.wait is None:
        return Reason("nobody talked", [])
    first, last = started(facts), answered(facts)
    return Reason(f"from {first.text} to {last.text}", [*first.seqs, *last.seqs])


def ring(facts: Facts) -> Reason:
    """The first rung leg's beginning to the answer, or to the last end."""
    story = facts.story
    if facts.call.ring is None:
        cut = any(leg.rang_at is not None for leg in story.legs)
        return Reason("the rows stop while a phone rings" if cut else "no phone was called", [])
    if story.click and not story.legs:
        caller = facts.caller
        seqs = [*facts.begin(facts.origin), *(facts.answer(caller) or facts.end(caller))]
        return Reason(f"the extension's own ringing, {caller.name}: nobody else was called", seqs)
    rung = rung_legs(story, facts.call.direction)
    first = min(rung, key=lambda leg: leg.rang_at or 0)
    begin = f"from {facts.event(first.channel.seq)} of {first.channel.name}"
    if story.persons and story.persons[0].answered_at is not None:
        until = answered(facts) if facts.call.answered_at is not None else Reason("", [])
        channel = story.persons[0].channel
        seqs = [*facts.answer(channel), *(stay.seq for stay in channel.talks), *until.seqs]
        return Reason(f"{begin} to the first answer, {channel.name}", [first.channel.seq, *seqs])
    last = max(rung, key=lambda leg: stopped(leg.channel) or 0).channel
    stop = facts.answer(last) or facts.end(last)
    text = f"{begin} to {facts.event(stop[0])} of {last.name}, who rang last"
    return Reason(text, [first.channel.seq, *stop])


def talk(facts: Facts) -> Reason:
    """The talks laid over each other."""
    story = facts.story
    seqs = [seq for leg in story.persons for seq in facts.talks(leg)]
    if story.conference_talks:
        seqs += conference_seqs(facts)
    if not seqs:
        why = disposition(facts)
        return Reason(f"nobody talked: {why.text}", why.seqs)
    who = [leg.channel.name for leg in story.persons]
    who += ["the conference"] if story.conference_talks else []
    return Reason(f"time in bridges of conversation: {', '.join(who)}", seqs)


def hold(facts: Facts) -> Reason:
    """Music on hold heard in a talk."""
    if facts.call.hold is None:
        return Reason("no row of a kind that only Asterisk 18 and later writes: a hold leaves no trace", [])
    new = [seq for seq, row in enumerate(facts.rows) if row.eventtype in _NEW and not row.user_defined]
    ids = {channel.uniqueid for channel in listeners(facts.story)}
    heard = [seq for seq in new if facts.rows[seq].uniqueid in ids and "STREAM" in facts.rows[seq].eventtype]
    if facts.call.hold:
        talks = [seq for leg in facts.story.persons for seq in facts.talks(leg)]
        return Reason("music on hold heard during the talk", [*heard, *talks])
    return Reason(f"{len(new)} rows show that holds leave a trace, and none is a hold", new)
