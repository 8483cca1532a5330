"""The parties of one call: who began it, and each party rung or talked to. Pure."""

import msgspec

from celreplay.calls.applications import conference_of, conference_talks, pages, queue_of, voicemail_of
from celreplay.calls.families import Family
from celreplay.calls.parties import Parties, Party
from celreplay.calls.talk import Interval, common, talks_of
from celreplay.cel.channel import App, Channel, Scene
from celreplay.cel.names import age_of, epoch_of, local_partner
from celreplay.times import SECOND

_HALF_A_DAY = 43_200 * SECOND
# Causes of a phone that answered and was let go before it was joined to the caller: an agent who still heard
# the queue's announcement when the caller hung up. Whoever has talked ends with another.
_NEVER_JOINED = frozenset({0, 26, 127})


class LegStory(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """One party rung or talked to."""

    channel: Channel
    outside: bool
    number: str | None
    rang_at: int | None
    talks: list[Interval]
    answered_at: int | None = None


class Story(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """What one call consists of."""

    scene: Scene
    family: Family
    parties: Parties
    caller: Party
    click: bool
    """Begun by the PBX calling the extension first (AMI Originate)."""
    started_at: int
    legs: list[LegStory]
    """In time order, without conferences and voicemail."""

    persons: list[LegStory]
    """Those of the legs who talked, first answered first."""
    channels: list[Channel]
    """All channels of the call, Local halves too."""
    ids: set[str]
    """Their uniqueids."""
    conference: str | None
    conference_talks: list[Interval]
    voicemail: App | None
    queue: str | None


def tell(scene: Scene, parties: Parties, family: Family) -> Story:
    """Find the caller and the legs of a family."""
    origin = family.origin
    caller, click = _caller(parties, family)
    started_at = _start(origin)
    legs = [
        _leg(scene, family, party, started_at)
        for channel in family.members
        if (party := parties.by_id.get(channel.uniqueid))
        and party is not caller
        and channel.uniqueid not in family.consultants
        and (party.called or channel.uniqueid in family.joiners)
    ]
    legs = [leg for leg in legs if leg.talks or leg.rang_at is not None]
    channels = [origin, *family.members]
    paging = pages(caller.channel, [leg.channel for leg in legs])
    return Story(
        scene=scene,
        family=family,
        parties=parties,
        caller=caller,
        click=click,
        started_at=started_at,
        legs=legs,
        persons=sorted((leg for leg in legs if leg.talks), key=_answer),
        channels=channels,
        ids={channel.uniqueid for channel in channels},
        conference=None if paging else conference_of(caller.channel),
        conference_talks=[] if paging else conference_talks(caller.channel, scene),
        voicemail=voicemail_of(channels),
        queue=queue_of(channels, scene),
    )


def listeners(story: Story) -> list[Channel]:
    """Whose music on hold is a hold of the call: the caller's, the persons', and that of the halves of Local
    channels between them. A phone behind Local/…/n that holds makes the half it is bridged with hear it."""
    halves = [channel for channel in story.channels if channel.local]
    return [story.caller.channel, *(leg.channel for leg in story.persons), *halves]


def _caller(parties: Parties, family: Family) -> tuple[Party, bool]:
    origin = family.origin
    party = parties.by_id.get(origin.uniqueid)
    if party is None:  # a Local channel: who is called first at its far end is the one who began
        called = [
            parties.by_id[member.uniqueid] for member in family.members if member.uniqueid in parties.by_id
        ]
        inside = [other for other in called if not other.outside]
        first = (inside or called)[:1]
        return (first[0] if first else Party(channel=origin, outside=None, number=None, called=False)), True
    originated = origin.app("appdial2") is not None or (
        origin.started and origin.exten == "s" and not party.outside
    )
    return party, originated


def _leg(scene: Scene, family: Family, party: Party, started_at: int) -> LegStory:
    channel = party.channel
    joined = channel.uniqueid in family.joiners
    talks = _talks(scene, family, channel)
    origin = family.origin
    before = channel.seq < origin.seq and age_of(channel.uniqueid) < age_of(origin.uniqueid)
    if before:  # it was in a call of its own, into which the caller was transferred
        talks = common(talks, [(_met_at(origin, channel), scene.rows[-1].eventtime)])
    rang_at = None if joined or before else max(started_at, _start(channel))
    answered_at = None
    if talks:
        entered = min(talks)[0]
        answered_at = channel.answered_at
        if answered_at is None or joined or before or answered_at > entered:
            answered_at = entered
    return LegStory(
        channel=channel,
        outside=bool(party.outside),
        number=party.number,
        rang_at=rang_at,
        talks=talks,
        answered_at=answered_at,
    )


def _met_at(caller: Channel, channel: Channel) -> int:
    """When the caller came into a bridge where the channel was; else its last bridge."""
    bridges = {stay.bridge for stay in channel.stays if stay.bridge}
    met = [stay.enter for stay in caller.stays if stay.bridge in bridges] or [
        stay.enter for stay in caller.stays[-1:]
    ]
    return min(met, default=caller.first_at)


def _talks(scene: Scene, family: Family, channel: Channel) -> list[Interval]:
    if scene.bridges or (scene.streams and scene.all_events):  # of all events there are, no bridge: none was
        if not channel.stays:
            return []
        return talks_of(channel, scene) if _is_connected(scene, channel) else []
    origin = family.origin
    if channel.answered_at is None or (origin.answered_at is None and origin.started):
        return []
    if origin.dialstatus not in ("", "ANSWER") or channel.cause in _NEVER_JOINED:
        return []
    end = channel.ended_at if channel.ended_at is not None else scene.rows[-1].eventtime
    return [(channel.answered_at, max(channel.answered_at, end))]


def _is_connected(scene: Scene, channel: Channel) -> bool:
    """False for a phone that answered a Local channel whose other half nobody took: another was faster."""
    bridges = {stay.bridge for stay in channel.stays if stay.bridge}
    others = [
        other
        for other in scene.channels.values()
        if other is not channel and any(stay.bridge in bridges for stay in other.stays)
    ]
    if not others or any(not other.local for other in others):
        return True
    halves = {local_partner(other.name) for other in others} | {other.name for other in others}
    return any(
        other.name in halves and any(stay.bridge not in bridges for stay in other.stays)
        for other in scene.channels.values()
        if other.local
    )


def _start(channel: Channel) -> int:
    """When the channel began. Without its CHAN_START only the second is known, from its uniqueid."""
    if channel.started:
        return channel.first_at
    epoch = epoch_of(channel.uniqueid)
    if epoch is None or not 0 <= channel.first_at - epoch * SECOND < _HALF_A_DAY:
        return channel.first_at
    within = channel.first_at - epoch * SECOND < SECOND
    return channel.first_at if within else epoch * SECOND


def _answer(leg: LegStory) -> tuple[int, int]:
    return (leg.answered_at or 0, leg.channel.answered_seq)
