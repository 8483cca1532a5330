"""Why these numbers, names and lines. Pure."""

from celreplay.calls.explain_facts import Facts, Reason
from celreplay.calls.explain_outcome import conference_seqs
from celreplay.calls.legs import LegStory
from celreplay.calls.model import Direction
from celreplay.calls.sides import dialed_in, extension_party, lines_of, trunk_leg
from celreplay.cel.channel import Channel, last_talk


def linkedid(facts: Facts) -> Reason:
    """The oldest channel's uniqueid."""
    origin = facts.origin
    seqs = facts.begin(origin)
    if origin.seq < 0:
        return Reason("the linkedid of its rows; the channel that began it has no row", seqs)
    first = facts.event(origin.seq)
    return Reason(f"the linkedid of the channel that began the call, {origin.name}, first row {first}", seqs)


def linkedids(facts: Facts) -> Reason:
    """The first row under each; of channels that moved, where."""
    ids = facts.call.linkedids
    seqs = []
    for one in ids:
        seqs += [seq for seq, row in enumerate(facts.rows) if row.linkedid == one][:1]
    moved = [channel for channel in facts.story.channels if len(channel.linkedids) > 1]
    for channel in moved:
        seqs += [seq for later in channel.linkedids[1:] for seq in facts.where(channel, "linkedid", later)]
    if len(ids) == 1:
        return Reason(f"one linkedid, first in a {facts.event(min(seqs, default=-1))} row", seqs)
    names = ", ".join(f"{channel.name} moved to {channel.linkedids[1]}" for channel in moved)
    return Reason(f"{len(ids)} linkedids of one call: {names or 'a pickup or transfer row joins them'}", seqs)


def direction(facts: Facts) -> Reason:
    """Both sides."""
    story, caller = facts.story, facts.caller
    if story.caller.outside is None:
        return Reason("no row tells who began the call", [])
    side = "outside" if story.caller.outside else "inside"
    lines = [leg for leg in story.legs if leg.outside]
    what = f"{facts.first(caller)}, is {side}"
    if story.click:
        what += ", called first by the PBX"
    told = ", ".join(leg.channel.name for leg in lines) or "no outside line"
    seqs = [*facts.begin(caller), *(seq for leg in lines for seq in facts.number(leg))]
    if facts.call.direction is Direction.INCOMING:
        return Reason(f"{what}, by its name {caller.endpoint} and how it came", facts.begin(caller))
    seqs += facts.begin(facts.origin)
    return Reason(f"{what} and dialled {facts.call.dialed_number or 'nothing'}; rung outside: {told}", seqs)


def caller(facts: Facts) -> Reason:
    """Its first row."""
    channel = facts.caller
    if channel.seq < 0:
        return Reason("its own rows are missing; its name stands in rows of others", facts.begin(channel))
    first = facts.event(channel.seq)
    more = facts.where(channel, "cid_ani", channel.ani)[:1] if first != "CHAN_START" and channel.ani else []
    text = f"cid_num {channel.number or 'empty'}, cid_name {channel.caller_name or 'empty'}"
    return Reason(f"{text} in the {first} of {channel.name}", [channel.seq, *more])


def dialed(facts: Facts) -> Reason:
    """exten or cid_dnid of the caller; click-to-call: the first leg's number."""
    story, origin = facts.story, facts.origin
    if facts.call.dialed_number is None:
        return Reason("no row shows a number that was dialled", [])
    if story.click:
        first = next((leg for leg in story.legs if leg.rang_at is not None), None)
        seqs = facts.number(first) if first else []
        name = first.channel.name if first else facts.caller.name
        if first is None or story.parties.number(first.channel.uniqueid) is None:
            return Reason(
                f"click-to-call to {name}: the caller id of Originate", [*seqs, *facts.answer(facts.caller)]
            )
        return Reason(f"click-to-call: what was called for the extension, {name}", seqs)
    column, _ = dialed_in(origin)
    own = origin.exten if column == "exten" else origin.dnid
    seqs = facts.where(origin, column, own)[:1] or facts.begin(origin)
    return Reason(f"{column} in the {facts.event(seqs[0])} of {origin.name}", seqs)


def external(facts: Facts) -> Reason:
    """The outside party."""
    if facts.call.external_number is None:
        internal = facts.call.direction is Direction.INTERNAL
        return Reason("an internal call" if internal else "no number to call back", [])
    if facts.story.caller.outside:
        why = caller(facts)
        return Reason(f"the caller: {why.text}", why.seqs)
    lines = lines_of(facts.story)
    if lines and lines[0].number:
        why = _leg_number(facts, lines[0])
        return Reason(why.text, [*why.seqs, *dialed(facts).seqs])
    why = dialed(facts)
    return Reason(f"the number dialled: {why.text}", why.seqs)


def _leg_number(facts: Facts, leg: LegStory) -> Reason:
    party = facts.story.parties.by_id.get(leg.channel.uniqueid)
    seqs = facts.number(leg)
    source = "its own first row"
    if party and party.dialled:
        dial = party.dialled
        row = facts.event(dial.seq)
        source = f"the Dial in the {row} row of {facts.story.scene.channels[dial.by].name}"
    return Reason(f"the number of {leg.channel.name}, by {source}", seqs)


def answered_by(facts: Facts) -> Reason:
    """The first person; a conference."""
    value = facts.call.answered_by
    if value is None:
        some = bool(facts.story.persons)
        return Reason("who talked has no number in the rows" if some else "nobody talked", [])
    if value.startswith("conference"):
        return Reason("the caller entered the conference", conference_seqs(facts))
    leg = facts.story.persons[0]
    why = _leg_number(facts, leg)
    return Reason(
        f"{leg.channel.name} talked first; {why.text}",
        [*why.seqs, *facts.answer(leg.channel), *facts.talks(leg)],
    )


def extension(facts: Facts) -> Reason:
    """Who inside had the call last."""
    party = extension_party(facts.story, facts.call.direction)
    if party is None:
        return Reason("no phone inside was rung or talked", [])
    channel = party.channel
    talked = last_talk(channel) >= 0
    did = "talked last" if talked else "began it" if channel is facts.caller else "rang last"
    seqs = [*facts.begin(channel), *(seq for stay in channel.talks for seq in (stay.seq, stay.left_seq))]
    return Reason(f"{facts.first(channel)}, inside, {did}", seqs)


def trunk(facts: Facts) -> Reason:
    """The outside channel's name."""
    if facts.call.trunk is None:
        return Reason("no outside line took part", [])
    leg = trunk_leg(facts.story)
    channel = facts.caller if facts.story.caller.outside or leg is None else leg.channel
    return Reason(f"endpoint of the channel {facts.first(channel)}", facts.begin(channel))


def accountcode(facts: Facts) -> Reason:
    """As last set on the first channel that has one."""
    return _last_set(facts, "accountcode")


def userfield(facts: Facts) -> Reason:
    """As last set on the first channel that has one."""
    return _last_set(facts, "userfield")


def _last_set(facts: Facts, column: str) -> Reason:
    for channel in (facts.caller, *facts.story.channels):
        value = str(getattr(channel, column))
        if value:
            return _set_on(facts, channel, column, value)
    return Reason(f"no row has a {column}", [])


def _set_on(facts: Facts, channel: Channel, column: str, value: str) -> Reason:
    seqs = facts.where(channel, column, value)
    return Reason(f"{column} of {channel.name}, in {len(seqs)} rows", seqs)
