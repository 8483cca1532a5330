"""Folding: which originating channels of a group are calls of their own, and which joined another. Pure.

A call begun by an extension only to consult, pick up or retrieve from parking is no call of its own. What
came in from an outside line is one always, what set out to one unless it was such a consultation.
"""

import msgspec

from celreplay.calls.numbering import PbxRules
from celreplay.calls.parties import Parties, Party, ghost_of, ghost_party
from celreplay.cel.channel import Channel, Scene
from celreplay.cel.events import EventType
from celreplay.cel.fold import fields_of, text_of
from celreplay.cel.names import age_of


class Family(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """The channels of one call."""

    linkedid: str
    linkedids: list[str]
    """Its own and those folded into it, oldest first."""
    origin: Channel
    members: list[Channel]
    """All other channels, folded origins too, in time order."""
    consultants: set[str] = msgspec.field(default_factory=set)
    """uniqueids of second lines on which somebody already in the call consulted: nobody new."""
    joiners: set[str] = msgspec.field(default_factory=set)
    """uniqueids of origins that picked up or retrieved."""


def families_of(scene: Scene, parties: Parties, rules: PbxRules) -> list[Family]:
    """One family per call, oldest first."""
    members: dict[str, list[Channel]] = {}
    for channel in scene.channels.values():
        members.setdefault(channel.linkedids[0], []).append(channel)
    families = [_family(scene, parties, linkedid, found, rules) for linkedid, found in members.items()]
    if len(families) == 1:
        return families
    families.sort(key=_age)
    return _folded(scene, parties, families)


def _family(scene: Scene, parties: Parties, linkedid: str, members: list[Channel], rules: PbxRules) -> Family:
    origin = scene.channels.get(linkedid)
    if origin is None:
        origin = ghost_of(scene, linkedid)
        parties.by_id[linkedid] = ghost_party(origin, rules)
    rest = [channel for channel in members if channel is not origin]
    return Family(linkedid=linkedid, linkedids=[linkedid], origin=origin, members=rest)


def _folded(scene: Scene, parties: Parties, families: list[Family]) -> list[Family]:
    joining = {family.linkedid: _way_in(scene, parties, family, families) for family in families}
    if all(joining.values()):
        joining[families[0].linkedid] = ""
    calls = [family for family in families if not joining[family.linkedid]]
    for family in families:
        way = joining[family.linkedid]
        if way:
            _join(family, _home_of(family, calls), consulting=way == "consult")
    for call in calls:
        call.members.sort(key=_seq)
        call.linkedids.sort(key=age_of)
        call.linkedid = call.linkedids[0]
    return calls


def _join(family: Family, home: Family, *, consulting: bool) -> None:
    origin = family.origin
    (home.consultants if consulting else home.joiners).add(origin.uniqueid)
    home.members += family.members
    if origin.seq >= 0:
        home.members.append(origin)
    home.linkedids += family.linkedids


def _home_of(family: Family, calls: list[Family]) -> Family:
    """The call that a folded family met: they share a linkedid."""
    own = _all_linkedids(family)
    for call in calls:
        if own & _all_linkedids(call):
            return call
    return calls[0]


def _way_in(scene: Scene, parties: Parties, family: Family, families: list[Family]) -> str:
    """`consult`, `pickup`, `park` or empty for a call of its own."""
    origin = family.origin
    party = parties.by_id.get(origin.uniqueid)
    if party is None or party.outside:
        return ""
    for _, event in scene.marks:
        if event.user_defined:
            continue
        fields = fields_of(event)
        if (
            event.eventtype == EventType.PICKUP
            and text_of(fields, "pickup_channel_uniqueid") == origin.uniqueid
        ):
            return "pickup"
        if event.eventtype == EventType.PARK_END and text_of(fields, "retriever") == origin.name:
            return "park"
        if event.eventtype == EventType.ATTENDEDTRANSFER and _is_second_line(
            origin, event.uniqueid, text_of(fields, "channel2_uniqueid"), families
        ):
            return "consult"
    return _way_by_looks(parties, family, families)


def _is_second_line(origin: Channel, first: str, second: str, families: list[Family]) -> bool:
    """Which of the transferer's two channels began only to consult: the younger of two that both began a
    call, else the one that did. The row stands on the first; one that names no second one tells nothing."""
    if not second or origin.uniqueid not in (first, second) or first == second:
        return False
    origins = {family.origin.uniqueid for family in families}
    both = first in origins and second in origins
    return not both or origin.uniqueid == max(first, second, key=age_of)


def _way_by_looks(parties: Parties, family: Family, families: list[Family]) -> str:
    """Without transfer rows or `extra`: what the origin did, whether its channels moved to an older call."""
    origin = family.origin
    if origin.app("parkedcall"):
        return "park"
    if origin.app("pickup", "pickupchan") or origin.exten.startswith("*8"):
        return "pickup"
    own = _all_linkedids(family)
    met = [other for other in families if _age(other) < _age(family) and own & _all_linkedids(other)]
    if not met:
        return ""
    called_out = any(_is_line(parties.by_id.get(channel.uniqueid)) for channel in family.members)
    if _is_second(parties, origin, met):
        return "consult"
    return "" if called_out else "pickup"  # somebody new: AMI Bridge


def _is_second(parties: Parties, origin: Channel, older: list[Family]) -> bool:
    """The origin's extension was in an older call before: it is its second line."""
    number = parties.number(origin.uniqueid)
    return number is not None and any(
        parties.number(channel.uniqueid) == number
        for family in older
        for channel in (family.origin, *family.members)
    )


def _is_line(party: Party | None) -> bool:
    return party is not None and bool(party.outside)


def _all_linkedids(family: Family) -> set[str]:
    return {linkedid for channel in (family.origin, *family.members) for linkedid in channel.linkedids}


def _age(family: Family) -> tuple[int, int]:
    return age_of(family.linkedid)


def _seq(channel: Channel) -> int:
    return channel.seq
