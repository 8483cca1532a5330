"""What explanations are made of: the facts of a call, and which rows each stands in. Pure."""

from collections.abc import Iterable, Sequence

import msgspec

from celreplay.calls.legs import LegStory, Story
from celreplay.calls.model import Call
from celreplay.calls.numbering import PbxRules
from celreplay.cel.channel import App, Channel, Stay
from celreplay.cel.events import CelEvent

CAUSES = {
    0: "no cause given", 1: "no such number", 3: "no route", 16: "normal clearing", 17: "busy",
    18: "no reply from the phone", 19: "does not answer", 20: "not registered", 21: "rejected",
    22: "number changed", 23: "redirected", 26: "answered elsewhere", 27: "destination out of order",
    28: "number incomplete", 29: "facility rejected", 31: "normal, unspecified", 34: "no line free",
    38: "network out of order", 41: "temporary failure", 42: "switch congested",
    44: "line not available", 58: "no common codec or bearer", 88: "incompatible", 102: "timer expired",
    127: "taken back by the PBX",
}  # fmt: skip
"""Q.850 causes in words, as Asterisk uses them."""


class Reason(msgspec.Struct, frozen=True, gc=False):
    """A sentence, and the rows behind it."""

    text: str
    seqs: list[int]


class Facts:
    """What one call was made of, and where that stands."""

    def __init__(self, story: Story, call: Call, rules: PbxRules) -> None:
        self.story = story
        self.call = call
        self.rules = rules
        self.rows: Sequence[CelEvent] = story.scene.rows
        self.origin = story.family.origin
        self.caller = story.caller.channel

    def event(self, seq: int) -> str:
        """The event's name at `seq`."""
        return self.rows[seq].eventtype if 0 <= seq < len(self.rows) else "a lost row"

    def begin(self, channel: Channel) -> list[int]:
        """Where a channel begins; of one without rows the first under its linkedid and those that name it."""
        if channel.seq >= 0:
            return [channel.seq]
        under = [seq for seq, row in enumerate(self.rows) if row.linkedid == channel.uniqueid]
        naming = [seq for seq in under if channel.name and _names(self.rows[seq], channel.name)]
        return [*under[:1], *naming]

    def first(self, channel: Channel) -> str:
        """A channel's name, and in which row it begins."""
        if channel.seq >= 0:
            return f"{channel.name}, first row {self.event(channel.seq)}"
        return f"{channel.name or 'without a name'}, which has no row of its own and is named by others"

    def end(self, channel: Channel) -> list[int]:
        """HANGUP, else CHAN_END; nothing where the rows stop before."""
        return [] if channel.ended_at is None else [channel.ended_seq]

    def answer(self, channel: Channel) -> list[int]:
        """Its first ANSWER."""
        return [] if channel.answered_at is None else [channel.answered_seq]

    def where(self, channel: Channel, column: str, value: str) -> list[int]:
        """The rows of the channel with this value in a column."""
        own = ((seq, row) for seq, row in enumerate(self.rows) if row.uniqueid == channel.uniqueid)
        return [seq for seq, row in own if getattr(row, column) == value]

    def showing(self, channel: Channel, app: App) -> list[int]:
        """The rows that show an application on a channel."""
        return [seq for seq in self.where(channel, "appdata", app.data) if self._app(seq) == app.name]

    def _app(self, seq: int) -> str:
        return self.rows[seq].appname.lower()

    def talks(self, leg: LegStory) -> list[int]:
        """Where a leg's talks begin and end: its stays in bridges, else its answer and its end."""
        stays = leg.channel.talks
        found = [seq for stay in stays for seq in stay_seqs(stay)]
        return found if stays else [*self.answer(leg.channel), *self.end(leg.channel)]

    def number(self, leg: LegStory) -> list[int]:
        """Where a leg's number stands: the rows of the Dial that called it, and the leg's first row."""
        party = self.story.parties.by_id.get(leg.channel.uniqueid)
        if party is None or party.dialled is None:
            return [leg.channel.seq]
        dialler = self.story.scene.channels[party.dialled.by]
        app = next((app for app in dialler.apps if app.seq == party.dialled.seq), None)
        dialled = [party.dialled.seq] if app is None else self.showing(dialler, app)
        return [*dialled, leg.channel.seq]


def stay_seqs(stay: Stay) -> list[int]:
    """Where a channel's time in a bridge begins and ends."""
    return [stay.seq] if stay.leave is None else [stay.seq, stay.left_seq]


def _names(row: CelEvent, channel: str) -> bool:
    return channel in row.peer or channel in row.extra


def cause_text(cause: int | None) -> str:
    """`cause 17 (busy)`."""
    if cause is None:
        return "no cause in the rows"
    return f"cause {cause} ({CAUSES.get(cause, 'see Q.850')})"


def seconds(since: int, until: int) -> str:
    """`4.0 s`, two instants in microseconds apart."""
    return f"{(until - since) / 1_000_000:.1f} s"


def joined(parts: Iterable[str]) -> str:
    """`a; b; c`."""
    return "; ".join(parts)
