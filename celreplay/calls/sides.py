"""Inside and outside of a call: direction, the numbers on either side, the line between them. Pure."""

from celreplay.calls.legs import LegStory, Story
from celreplay.calls.model import Direction
from celreplay.calls.numbering import PbxRules, is_inside, is_long, same_number
from celreplay.calls.parties import Party
from celreplay.calls.talk import GAP
from celreplay.cel.channel import Channel, last_talk
from celreplay.cel.names import real_number

_OPEN = 1 << 62


def dialed_number(story: Story) -> str | None:
    """What the caller dialled. Click-to-call: the number that was called when the extension had answered."""
    return _clicked_number(story) if story.click else dialed_in(story.family.origin)[1]


def dialed_in(origin: Channel) -> tuple[str, str | None]:
    """The column of the first channel that tells what was dialled, and the number: `exten` of its CHAN_START;
    in later rows `cid_dnid` goes first, since their `exten` is where the dialplan is."""
    found = {"exten": real_number(origin.exten), "cid_dnid": real_number(origin.dnid)}
    order = ("exten", "cid_dnid") if origin.started else ("cid_dnid", "exten")
    return next(((column, found[column]) for column in order if found[column]), (order[0], None))


def _clicked_number(story: Story) -> str | None:
    first = next((leg for leg in story.legs if leg.rang_at is not None), None)
    if first is None or first.number is not None:
        return first.number if first else None
    given = real_number(story.caller.channel.answered_number)  # no Dial shows: the caller id of Originate
    return given if given != story.caller.number else None


def direction_of(story: Story, dialed: str | None, rules: PbxRules) -> Direction:
    """Who called whom: by the side of the caller and of what was dialled, never by the context of a leg (the
    outgoing leg of a trunk carries the context of incoming calls)."""
    caller = story.caller
    if caller.outside is None:
        return Direction.UNKNOWN
    if caller.outside:
        return Direction.OUTGOING if story.click else Direction.INCOMING
    return Direction.OUTGOING if _went_out(story, dialed, rules) else Direction.INTERNAL


def _went_out(story: Story, dialed: str | None, rules: PbxRules) -> bool:
    lines = [leg for leg in story.legs if leg.outside]
    if story.click:
        return bool(lines)
    if any(same_number(leg.number, dialed) for leg in lines):
        return True
    if is_inside(dialed, rules):
        return False
    if lines:
        return story.legs[0].outside
    return not story.legs and is_long(dialed)


def name_outside_legs(story: Story, direction: Direction, dialed: str | None) -> None:
    """Where no row shows the Dial: what an extension dialled is what its outside leg called."""
    if direction is Direction.OUTGOING:
        for leg in story.legs:
            if leg.outside and leg.number is None:
                leg.number = dialed


def answered_by(story: Story) -> str | None:
    """Number of the first person; a conference by its number."""
    persons, conference = story.persons, story.conference_talks
    if conference and (not persons or conference[0][0] < (persons[0].answered_at or 0)):
        return f"conference {story.conference}".strip()
    return persons[0].number if persons else None


def external_number(story: Story, direction: Direction, dialed: str | None) -> str | None:
    """The outside party's number: the caller's, or what was reached or tried outside."""
    if direction is Direction.INCOMING:
        return story.caller.number
    if direction is not Direction.OUTGOING:
        return None
    if story.caller.outside:  # the PBX called the line first
        return story.caller.number
    lines = lines_of(story)
    return (lines[0].number if lines else None) or dialed


def extension_of(story: Story, direction: Direction) -> str | None:
    """The inside number that talked last, else rang last; outgoing: the caller, until it leaves."""
    party = extension_party(story, direction)
    return party.number if party else None


def extension_party(story: Story, direction: Direction) -> LegStory | Party | None:
    """Who `extension` is."""
    inside = [leg for leg in story.legs if not leg.outside]
    talked: list[LegStory | Party] = [leg for leg in inside if leg.talks and _met_caller(story, leg)]
    if direction is Direction.OUTGOING and not story.caller.outside:
        talked.append(story.caller)
    return _last_of(talked) if talked else (inside[-1] if inside else None)


def _met_caller(story: Story, leg: LegStory) -> bool:
    """A caller from outside was still there."""
    end = story.caller.channel.ended_at if story.caller.outside else None
    return end is None or leg.talks[0][0] <= end


def _last_of(talked: list[LegStory | Party]) -> LegStory | Party:
    """Who talked to the end; of those who did so together the one begun last: it was handed the call."""
    if len(talked) == 1:
        return talked[0]
    last = max(talked, key=_order)
    since = _talked_until(last) - GAP
    return max((one for one in talked if _talked_until(one) >= since), key=_begun, default=last)


def _talked_until(party: LegStory | Party) -> int:
    stays = party.channel.talks
    return max((_OPEN if stay.leave is None else stay.leave for stay in stays), default=-1)


def trunk_of(story: Story) -> str | None:
    """The endpoint of the outside line: the caller's, or the one that answered, else the last one tried."""
    if story.caller.outside:
        return story.caller.channel.endpoint or None
    line = trunk_leg(story)
    return line.channel.endpoint or None if line else None


def trunk_leg(story: Story) -> LegStory | None:
    """The outside leg that answered, else the last one tried."""
    lines = lines_of(story)
    return (lines[0] if lines[0].talks else lines[-1]) if lines else None


def lines_of(story: Story) -> list[LegStory]:
    """The outside legs that talked, else all of them."""
    return [leg for leg in story.persons if leg.outside] or [leg for leg in story.legs if leg.outside]


def _begun(party: LegStory | Party) -> int:
    return party.channel.seq


def _order(party: LegStory | Party) -> tuple[int, int]:
    return last_talk(party.channel), party.channel.seq
