"""What the dialplan's applications say: conference, queue, mailbox. Pure.

With `apps=all` Asterisk 16.28 and 22.10 write no APP_START at all; the application a channel was in stands in
its other rows too.
"""

from collections.abc import Iterable

from celreplay.calls.talk import Interval
from celreplay.cel.channel import CONFERENCES, App, Channel, Scene
from celreplay.cel.events import EventType


def pages(caller: Channel, channels: Iterable[Channel]) -> bool:
    """Page(): its phones are called by no Dial and ring while the caller waits for them in a conference. The
    room is only a means, with a number drawn by chance."""
    if caller.app("page"):
        return True
    entries = [stay.seq for stay in caller.stays if stay.app in CONFERENCES]
    return any(
        channel.seq < entry < min(channel.answered_seq, channel.ended_seq)
        for channel in channels
        if channel.app("appdial2") and channel.real
        for entry in entries[:1]
    )


def conference_of(caller: Channel) -> str | None:
    """The conference the caller was in; empty where its number is unknown, None for none."""
    app = caller.app(*CONFERENCES)
    if app:
        return app.data.partition(",")[0]
    return "" if any(stay.app in CONFERENCES for stay in caller.stays) else None


def conference_talks(caller: Channel, scene: Scene) -> list[Interval]:
    """The caller's time in conferences."""
    last = scene.rows[-1].eventtime
    found = [
        (stay.enter, last if stay.leave is None else stay.leave)
        for stay in caller.stays
        if stay.app in CONFERENCES
    ]
    app = None if found else caller.app(*CONFERENCES)
    if app:  # MeetMe has no bridge
        found = [(app.at, last if caller.ended_at is None else caller.ended_at)]
    return [(start, max(start, end)) for start, end in found]


def voicemail_of(channels: Iterable[Channel]) -> App | None:
    """The first VoiceMail."""
    return _first(channels, "voicemail")


def mailbox_of(voicemail: App | None) -> str | None:
    """`104` of `104@default,u`."""
    if voicemail is None:
        return None
    return voicemail.data.partition(",")[0].partition("&")[0].partition("@")[0]


def queue_of(channels: Iterable[Channel], scene: Scene) -> str | None:
    """The first queue entered. Without application rows the exten of a leg that a queue called names it."""
    channels = list(channels)
    app = _first(channels, "queue")
    if app:
        return app.data.partition(",")[0]
    for channel in channels:
        if channel.app("appqueue"):
            return _queue_exten(scene, channel)
    return None


def _queue_exten(scene: Scene, leg: Channel) -> str:
    for row in scene.rows:
        if row.uniqueid == leg.uniqueid and row.eventtype != EventType.CHAN_START and row.exten.isdigit():
            return row.exten
    return ""


def _first(channels: Iterable[Channel], name: str) -> App | None:
    found = [app for channel in channels if channel.apps and (app := channel.app(name))]
    return min(found, key=_seq) if found else None


def _seq(app: App) -> int:
    return app.seq
