"""Names that Asterisk writes: channels, endpoints, unique ids, the strings of Dial. Pure."""

import re

import msgspec

_UNIQUEID = re.compile(r"(?:.*-)?(\d{9,11})\.(\d+)$")
# Channels that are nobody: Local halves, announcers and recorders of bridges, shells of masquerades.
_NOBODY = frozenset(
    {
        "Local",
        "Announcer",
        "AsyncGoto",
        "Bridge",
        "CBAnn",
        "CBRec",
        "ConfBridgeRecorder",
        "Message",
        "MulticastRTP",
        "Parked",
        "Recorder",
        "Snoop",
        "Surrogate",
        "UnicastRTP",
    }
)
_NOT_SENT = frozenset({"", "s", "h", "i", "t", "<unknown>"})  # places in the dialplan, Asterisk's own word
_NO_NUMBERS = _NOT_SENT | {"unknown", "asterisk"}
_LONG_NUMBER = re.compile(r"\+?\d{7,}$")


class Target(msgspec.Struct, frozen=True, gc=False):
    """One destination of a Dial: `PJSIP/79031110001@trunk-main` or `PJSIP/101`."""

    endpoint: str
    number: str
    """The number to dial through the endpoint; empty where the endpoint itself is called."""


def technology_of(name: str) -> str:
    """`PJSIP` of `PJSIP/101-00000001`."""
    return name.partition("/")[0]


def endpoint_of(name: str) -> str:
    """`trunk-main` of `PJSIP/trunk-main-00000023`, `i1` of `DAHDI/i1/79031110001-1`."""
    rest = name.partition("/")[2]
    stem, _, _ = rest.rpartition("-")
    return (stem or rest).partition("/")[0]


def is_local(name: str) -> bool:
    """One half of a Local channel."""
    return name.startswith("Local/")


def is_message(name: str) -> bool:
    """The channel that carries SIP MESSAGE: it writes CEL rows and is no call."""
    return name.startswith("Message/")


def is_somebody(name: str) -> bool:
    """A channel with a device or a line at its end."""
    return name.partition("/")[0] not in _NOBODY and not name.endswith("<ZOMBIE>")


def local_partner(name: str) -> str:
    """The other half of a Local channel; empty for every other name."""
    if not name.startswith("Local/") or name[-2:] not in (";1", ";2"):
        return ""
    return name[:-1] + ("2" if name[-1] == "1" else "1")


def local_exten(name: str) -> str:
    """`141` of `Local/141@from-queue-0000000b;1`; empty for every other name."""
    return name[6:].partition("@")[0] if name.startswith("Local/") else ""


def epoch_of(uniqueid: str) -> int | None:
    """The second in which the channel was created, of `[systemname-]epoch.counter`; None in another form."""
    found = _UNIQUEID.match(uniqueid)
    return int(found[1]) if found else None


def age_of(uniqueid: str) -> tuple[int, int]:
    """What unique ids sort by, oldest first; those of another form come last."""
    found = _UNIQUEID.match(uniqueid)
    return (int(found[1]), int(found[2])) if found else (1 << 40, 0)


def real_number(text: str) -> str | None:
    """A number or name that names somebody: `s` and the like are None."""
    text = text.strip()
    return None if text.lower() in _NO_NUMBERS else text


def number_sent(text: str) -> str | None:
    """What a line outside sent as its number: words for a withheld one too, `unknown` or `anonymous`."""
    text = text.strip()
    return None if text.lower() in _NOT_SENT else text


def targets_of(appdata: str) -> list[Target]:
    """The destinations in the data of Dial, in order: `PJSIP/101&SIP/trunk/79031110001,20,tT`."""
    return [_target(part) for part in appdata.partition(",")[0].split("&") if "/" in part]


def _target(text: str) -> Target:
    technology, _, rest = text.strip().partition("/")
    first, _, second = rest.partition("/")
    if technology == "Local":
        return Target("", first.partition("@")[0])
    if second.startswith(("sip:", "sips:")):
        # PJSIP/101/sip:101@192.0.2.7:5060 is a contact of endpoint 101, FreePBX dials phones so
        user = second.partition(":")[2].partition("@")[0]
        return Target(first, user if user != first and _LONG_NUMBER.match(user) else "")
    if "@" in first:
        user, _, endpoint = first.rpartition("@")
        return Target(endpoint, second if technology == "IAX2" else user)
    return Target(first, second if second not in ("n", "b", "j", "m") else "")
