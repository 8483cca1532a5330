"""A channel as its rows tell: what it was, when it lived, which bridges it was in. Pure."""

from collections.abc import Sequence

import msgspec

from celreplay.cel.events import CelEvent

_ENDED_BRIDGES = frozenset({"holding_bridge"})
CONFERENCES = frozenset({"confbridge", "meetme"})


class Stay(msgspec.Struct, gc=False):
    """A channel's time in one bridge."""

    bridge: str
    technology: str
    app: str
    """What ran on the channel when it entered, lower case."""
    seq: int
    enter: int
    leave: int | None = None
    """None: the rows stop while it is there."""
    left_seq: int = 1 << 60
    place: tuple[str, str] | None = None
    """exten and context when it entered; None where that row was lost."""
    sent_to: str = ""
    """The exten another than that when it left: a transfer or AMI Redirect sent the channel there."""

    @property
    def parked(self) -> bool:
        """In a parking lot, or another bridge in which nobody talks."""
        return self.technology in _ENDED_BRIDGES


class App(msgspec.Struct, frozen=True, gc=False):
    """An application a channel was in, as far as rows show it."""

    seq: int
    at: int
    name: str
    """Lower case."""
    data: str


class Channel(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """What the rows of one uniqueid say. `seq` counts the rows of the group in the order of writing."""

    uniqueid: str
    name: str
    linkedids: list[str]
    """Every linkedid it was under, in time order."""
    seq: int
    first_at: int
    last_at: int
    last_seq: int
    real: bool
    local: bool
    endpoint: str
    started: bool = False
    """Its CHAN_START was written."""
    number: str = ""
    """cid_num of its first row: rewritten by the dialplan later on."""
    caller_name: str = ""
    exten: str = ""
    context: str = ""
    dnid: str = ""
    last_exten: str = ""
    ani: str = ""
    accountcode: str = ""
    userfield: str = ""
    answered_at: int | None = None
    answered_seq: int = 1 << 60
    answered_number: str = ""
    """cid_num in the row of its first ANSWER: on a click-to-call what Originate was given as caller id."""
    ended_at: int | None = None
    ended_seq: int = 1 << 60
    cause: int | None = None
    source: str | None = None
    """hangupsource: the channel that hung up, empty for the PBX, None where no row tells."""
    dialstatus: str = ""
    parking: bool = False
    """Between its PARK_START and PARK_END."""
    stays: list[Stay] = msgspec.field(default_factory=list)
    apps: list[App] = msgspec.field(default_factory=list)
    streams: list[CelEvent] = msgspec.field(default_factory=list)
    """STREAM_BEGIN and STREAM_END."""

    def app(self, *names: str) -> App | None:
        """The first application of one of these names (lower case)."""
        for app in self.apps:
            if app.name in names:
                return app
        return None

    @property
    def talks(self) -> list[Stay]:
        """Stays in bridges of conversation."""
        return [stay for stay in self.stays if not stay.parked]


def last_talk(channel: Channel) -> int:
    """seq of the end of its last stay in a bridge of conversation; -1 for none."""
    last = -1
    for stay in channel.stays:
        if stay.left_seq > last and not stay.parked:
            last = stay.left_seq
    return last


class Scene(msgspec.Struct, kw_only=True, gc=False):
    """A group of rows, read."""

    rows: Sequence[CelEvent]
    channels: dict[str, Channel]
    marks: list[tuple[int, CelEvent]]
    """Transfers, pickups, parking, forwards and user events, each with its seq."""
    bridges: bool = False
    """Some BRIDGE_ENTER was written: the table has bridge events."""
    streams: bool = False
    """Rows that only Asterisk 18 and later writes are there."""
    all_events: bool = False
    """LINKEDID_END is there: the table has the events that Asterisk's sample of cel.conf leaves out."""
