"""Who is at the end of each channel: which side, under which number, dialled by which Dial. Pure."""

import msgspec

from celreplay.calls.numbering import (
    Dialled,
    PbxRules,
    calling_number,
    dials_of,
    inside_number,
    is_inside,
    is_long,
    is_of_group,
    is_outside,
)
from celreplay.cel.channel import Channel, Scene
from celreplay.cel.fold import fields_of, text_of
from celreplay.cel.names import endpoint_of, is_local, is_somebody, local_exten, real_number


class Party(msgspec.Struct, frozen=True, kw_only=True, eq=False, gc=False):
    """A channel with somebody at its end."""

    channel: Channel
    outside: bool | None
    """None: nothing in the rows tells."""
    number: str | None
    called: bool
    """Asterisk called it; else it came by itself."""
    dialled: Dialled | None = None


class Parties(msgspec.Struct, kw_only=True, gc=False):
    """All parties of a group."""

    by_id: dict[str, Party]
    by_name: dict[str, Party]
    dials: list[Dialled]

    def number(self, uniqueid: str) -> str | None:
        """The party's number, None for one unknown."""
        party = self.by_id.get(uniqueid)
        return party.number if party else None


def identify(scene: Scene, rules: PbxRules) -> Parties:
    """Find the party of every real channel."""
    dials = dials_of(scene)
    numbered = {
        dial.target.endpoint
        for dial in dials
        if dial.target.endpoint and (is_long(dial.target.number) if rules.trunks else dial.target.number)
    }
    free: dict[str, list[Dialled]] = {}
    for dial in dials:
        free.setdefault(dial.target.endpoint, []).append(dial)
    parties: dict[str, Party] = {}
    for channel in scene.channels.values():
        if channel.real:
            called = channel.linkedids[0] != channel.uniqueid
            dialled = _dial_of(channel, _candidates(channel, free), scene) if called else None
            parties[channel.uniqueid] = _party(scene, channel, called, dialled, numbered, rules)
    by_name = {party.channel.name: party for party in parties.values()}
    return Parties(by_id=parties, by_name=by_name, dials=dials)


def _party(
    scene: Scene, channel: Channel, called: bool, dialled: Dialled | None, numbered: set[str], rules: PbxRules
) -> Party:
    target = dialled.target if dialled else None
    outside = is_outside(channel, called=called, dialled=target, rules=rules) or (
        not called and channel.endpoint in numbered and not is_inside(channel.number, rules)
    )
    if not outside:
        number = inside_number(channel, rules)
        if target and target.number:
            number = target.number  # a phone behind a proxy: PJSIP/101@proxy
    elif not called:
        number = calling_number(channel)
    else:
        number = real_number(target.number) if target else _local_before(scene, channel)
    return Party(channel=channel, outside=outside, number=number, called=called, dialled=dialled)


def _candidates(channel: Channel, free: dict[str, list[Dialled]]) -> list[Dialled]:
    """The Dials to its endpoint; of a line that a group lent, those to the group."""
    found = free.get(channel.endpoint)
    if found is not None:
        return found
    return next((dials for dials in free.values() if dials and is_of_group(dials[0], channel)), [])


def _dial_of(channel: Channel, free: list[Dialled], scene: Scene) -> Dialled | None:
    """The Dial that made the channel: the first unused one (to its endpoint) that runs when it starts, of
    several numbers at once the one for its own. Where APP_START rows are missing a Dial shows only in later
    rows."""
    found: Dialled | None = None
    for dial in free:
        if dial.seq > channel.seq:
            found = found or dial
            break
        if _runs_at(scene.channels[dial.by], dial.seq, channel.seq):
            if dial.target.number in ("", channel.number):
                found = dial
                break
            found = found or dial
    if found is not None:
        free.remove(found)
    return found


def _runs_at(dialler: Channel, since: int, seq: int) -> bool:
    if dialler.ended_seq < seq:
        return False
    return not any(since < app.seq < seq for app in dialler.apps)


def _local_before(scene: Scene, channel: Channel) -> str | None:
    """The exten of the Local channel begun last before this leg: what was dialled, where no Dial shows."""
    found = None
    for other in scene.channels.values():
        if other.local and other.seq < channel.seq:
            found = local_exten(other.name)
    return found


def ghost_of(scene: Scene, linkedid: str) -> Channel:
    """The channel that began a call and has no row of its own: the database refused them, or they were lost.
    Its name may stand in other channels' rows."""
    family = [channel for channel in scene.channels.values() if channel.linkedids[0] == linkedid]
    name = _unknown_name(scene, linkedid)
    first = min(family, key=_seq)
    return Channel(
        uniqueid=linkedid,
        name=name,
        linkedids=[linkedid],
        seq=-1,
        first_at=first.first_at,
        last_at=first.first_at,
        last_seq=-1,
        real=True,
        local=False,
        endpoint=endpoint_of(name),
    )


def ghost_party(ghost: Channel, rules: PbxRules) -> Party:
    """What the name alone tells."""
    if not ghost.name:
        return Party(channel=ghost, outside=None, number=None, called=False)
    outside = is_outside(ghost, called=False, dialled=None, rules=rules)
    number = None if outside else inside_number(ghost, rules)
    return Party(channel=ghost, outside=outside, number=number, called=False)


def _unknown_name(scene: Scene, linkedid: str) -> str:
    known = {channel.name for channel in scene.channels.values()}
    for row in scene.rows:
        if row.linkedid != linkedid:
            continue
        for name in (*row.peer.split(","), text_of(fields_of(row), "hangupsource")):
            if "/" in name and name not in known and is_somebody(name) and not is_local(name):
                return name if not name.startswith("dialplan/") else ""
    return ""


def _seq(channel: Channel) -> int:
    return channel.seq
