"""Inside or outside, and under which number: what a channel's names and numbers say about its party. Pure."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache

import msgspec

from celreplay.calls.numberplan import NO_PLAN, NumberPlan, is_callable
from celreplay.cel.channel import Channel, Scene
from celreplay.cel.names import Target, number_sent, real_number, targets_of, technology_of

_INSIDE_NUMBER = re.compile(r"\d{2,6}$")
_OUTSIDE_NUMBER = re.compile(r"\+?\d{7,}$")
_SIGNIFICANT = 5  # digits that two forms of one number share at least
_LINES = frozenset({"DAHDI", "Zap", "mISDN", "CAPI", "Dongle", "Quectel", "Khomp", "SS7", "OOH323", "Motif"})
_SINGLE_LINES = frozenset({"DAHDI", "Zap"})
"""Analog ports, where phones may be too: `DAHDI/5-1`, numbered by the card."""
_SPAN = re.compile(r"i\d+/")
"""`DAHDI/i1/79031110001-1`: of a digital line."""
_GROUP = re.compile(r"[gGrRi]\d+")
_OUTSIDE_WORDS = re.compile(
    r"trunk|pstn|provider|carrier|gateway|\bgw\b|(?:^|[-_])(?:did|external|inbound|incoming|outside)(?:$|[-_])",
    re.IGNORECASE,
)
_INSIDE_WORDS = re.compile(
    r"internal|(?:^|[-_])(?:phones?|users?|exten(?:sion)?s?|local)(?:$|[-_])", re.IGNORECASE
)


class PbxRules(msgspec.Struct, frozen=True, kw_only=True):
    """What the config says about this PBX; empty where names speak for themselves."""

    system: str
    trunks: tuple[str, ...] = ()
    """Globs of channel names or endpoints of outside lines: `PJSIP/trunk-*`, `sipgate*`."""
    extensions: str = ""
    """Regular expression of inside numbers, matched against the whole number."""
    numbers: NumberPlan = NO_PLAN
    """The forms in which numbers are wanted."""
    user_events: Mapping[str, str] = {}
    """Name of a user-defined event → `recording`, or the key under which its text stands in `custom`."""


class Dialled(msgspec.Struct, frozen=True, gc=False):
    """One destination of one Dial that ran on a channel."""

    seq: int
    by: str
    """uniqueid of the channel that dialled."""
    target: Target


def dials_of(scene: Scene) -> list[Dialled]:
    """Every destination of every Dial in the rows, in time order."""
    found = [
        Dialled(app.seq, channel.uniqueid, target)
        for channel in scene.channels.values()
        for app in channel.apps
        if app.name == "dial"
        for target in targets_of(app.data)
    ]
    found.sort(key=_seq)
    return found


def is_of_group(dialled: Dialled, channel: Channel) -> bool:
    """The Dial of a group of lines, `DAHDI/g0/79031110001`, may have made the channel `DAHDI/17-1`."""
    return technology_of(channel.name) in _LINES and bool(_GROUP.fullmatch(dialled.target.endpoint))


def is_trunk(name: str, endpoint: str, rules: PbxRules) -> bool:
    """The config names this channel as an outside line."""
    if not rules.trunks:
        return False
    plain = f"{technology_of(name)}/{endpoint}"
    return any(
        fnmatchcase(name, glob) or fnmatchcase(endpoint, glob) or fnmatchcase(plain, glob)
        for glob in rules.trunks
    )


def is_inside(number: str | None, rules: PbxRules) -> bool:
    """A number of this PBX: by the config's expression, else by its length."""
    if not number:
        return False
    expression = compiled(rules.extensions)
    return bool(expression.fullmatch(number) if expression else _INSIDE_NUMBER.match(number))


def is_configured_extension(text: str, rules: PbxRules) -> bool:
    """The config's expression matches; False where there is none."""
    if not rules.extensions:
        return False
    expression = compiled(rules.extensions)
    return bool(expression and text and expression.fullmatch(text))


@lru_cache(maxsize=8)
def compiled(expression: str) -> re.Pattern[str] | None:
    """The config's expression; None for none, and for one that is no regular expression."""
    try:
        return re.compile(expression) if expression else None
    except re.error:
        return None


def is_outside(channel: Channel, *, called: bool, dialled: Target | None, rules: PbxRules) -> bool:
    """Whether an outside line is at the channel's end.

    The config decides first, then facts (a number was dialled through the endpoint; the endpoint is named as
    its number), at last the look of names and numbers."""
    if is_trunk(channel.name, channel.endpoint, rules):
        return True
    own = channel.number
    if is_configured_extension(channel.endpoint, rules) or is_configured_extension(own, rules):
        return False
    target = dialled if called else None
    if rules.trunks:  # every other channel is a phone, unless a number was plainly sent out through it
        return target is not None and _is_sent_out(target, rules)
    if target is not None:
        return _dialled_outside(channel, target, rules)
    return _named_outside(channel, called=called)


def _named_outside(channel: Channel, *, called: bool) -> bool:
    own = channel.number
    if technology_of(channel.name) in _LINES:
        return _line_outside(channel)
    if _OUTSIDE_WORDS.search(channel.context) and not _INSIDE_NUMBER.match(own) and own != channel.endpoint:
        return True  # whatever the endpoint is called: trunks with short numbers for names
    if _INSIDE_NUMBER.match(channel.endpoint) or (own and own == channel.endpoint):
        return False
    return _looks_outside(channel, called=called)


def _is_sent_out(target: Target, rules: PbxRules) -> bool:
    return is_long(target.number) and not is_configured_extension(target.number, rules)


def _line_outside(channel: Channel) -> bool:
    """A line, or a phone at an analog port: that has a short number of its own."""
    technology, _, rest = channel.name.partition("/")
    if technology not in _SINGLE_LINES or _SPAN.match(rest) or _OUTSIDE_WORDS.search(channel.context):
        return True
    return not _INSIDE_NUMBER.match(channel.number)


def _dialled_outside(channel: Channel, target: Target, rules: PbxRules) -> bool:
    if not target.number:  # Dial(DAHDI/5) rings the phone at a port
        return technology_of(channel.name) in _LINES - _SINGLE_LINES
    return not is_configured_extension(target.number, rules)


def _looks_outside(channel: Channel, *, called: bool) -> bool:
    for text in (channel.endpoint, channel.context):
        if _OUTSIDE_WORDS.search(text):
            return True
        if _INSIDE_WORDS.search(text):
            return False
    if called:
        return real_number(channel.number) is None or bool(_OUTSIDE_NUMBER.match(channel.number))
    return not _INSIDE_NUMBER.match(channel.number)


def inside_number(channel: Channel, rules: PbxRules) -> str | None:
    """The number of the extension at the channel's end: what its first row shows, before the dialplan
    rewrites it, or the endpoint's name."""
    own, endpoint = real_number(channel.number), real_number(channel.endpoint)
    if not channel.started and channel.number != channel.endpoint:
        own, endpoint = endpoint, own  # a later row: its number may be the rewritten one
    choices = [text for text in (own, endpoint) if text]
    for accepts in (_configured, _short, _digits):
        for text in choices:
            if accepts(text, rules):
                return text
    return choices[0] if choices else None


def _configured(text: str, rules: PbxRules) -> bool:
    return is_configured_extension(text, rules)


def _short(text: str, _: PbxRules) -> bool:
    return bool(_INSIDE_NUMBER.match(text))


def _digits(text: str, _: PbxRules) -> bool:
    return text.isdigit()


def calling_number(channel: Channel) -> str | None:
    """The number that an outside caller shows; as sent, `anonymous` too."""
    if channel.started:
        return number_sent(channel.number)
    return number_sent(channel.number) or number_sent(channel.ani)


def outside_number(text: str | None) -> str | None:
    """A number that somebody can be called back under: not `anonymous`, not `Restricted`."""
    return text if is_callable(text) else None


def is_long(number: str | None) -> bool:
    """As long as only numbers of the outside are."""
    return bool(number and _OUTSIDE_NUMBER.match(number))


def same_number(one: str | None, other: str | None) -> bool:
    """Equal but for a prefix that one of them lacks: `+7…`, `9…` to get a line."""
    if not one or not other:
        return False
    short, long = sorted((one.lstrip("+"), other.lstrip("+")), key=len)
    return short == long or (len(short) >= _SIGNIFICANT and long.endswith(short))


def _seq(dialled: Dialled) -> int:
    return dialled.seq
