"""Arithmetic of intervals: talk and hold. Pure."""

from collections.abc import Iterable, Sequence

from celreplay.cel.channel import Channel, Scene
from celreplay.cel.events import CelEvent, EventType

Interval = tuple[int, int]
# Moving between bridges (a Local channel optimised away, a transfer) takes up to 30 ms on 16.28 and 22.10.
GAP = 50_000  # µs
_PROMPT = 300_000  # µs between music on hold and the transfer prompt of one feature code


def union(intervals: Iterable[Interval], *, gap: int = GAP) -> list[Interval]:
    """The intervals joined where they overlap or are no further apart than `gap` microseconds."""
    result: list[Interval] = []
    ordered = sorted(intervals)
    if len(ordered) < 2:  # noqa: PLR2004 - nothing to join
        return ordered
    for start, end in ordered:
        if result and start <= result[-1][1] + gap:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((start, end))
    return result


def length(intervals: Iterable[Interval]) -> float:
    """Their sum in seconds, to the millisecond."""
    return round(sum(end - start for start, end in intervals) / 1000) / 1000


def common(ones: Sequence[Interval], others: Sequence[Interval]) -> list[Interval]:
    """Where both are."""
    return [
        (max(start, begin), min(end, stop))
        for start, end in ones
        for begin, stop in others
        if max(start, begin) < min(end, stop)
    ]


def up_to(end: int, intervals: Iterable[Interval]) -> list[Interval]:
    """Those begun before `end`, cut off there where they go on: the rows of one hangup are no going on."""
    return [(start, stop if stop <= end + GAP else end) for start, stop in intervals if start <= end]


def talks_of(channel: Channel, scene: Scene, *, conferences: bool = True) -> list[Interval]:
    """Its stays in bridges of conversation; one that the rows leave open goes up to the last row."""
    last = scene.rows[-1].eventtime
    return [
        (stay.enter, max(stay.enter, last) if stay.leave is None else stay.leave)
        for stay in channel.stays
        if not stay.parked and (conferences or stay.app not in ("confbridge", "meetme"))
    ]


def hold_of(scene: Scene, channels: Sequence[Channel], talked: Sequence[Interval]) -> float | None:
    """Music on hold heard in a conversation by any of the channels; None where no row of the kind that only
    Asterisk 18 and later writes is there, so that a hold would leave no trace.

    Music that a transfer feature (`##`, `*2`, AMI Atxfer) starts is no hold: its prompt begins at the same
    moment, or the other party goes to consult on the same channel."""
    if not scene.streams:
        return None
    prompts = [
        event.eventtime
        for channel in scene.channels.values()
        for event in channel.streams
        if "pbx-transfer" in event.extra
    ]
    held: list[Interval] = []
    for channel in channels:
        stays = talks_of(channel, scene) if scene.bridges else list(talked)
        music = [
            (start, end)
            for start, end in _music(channel.streams, scene.rows[-1].eventtime)
            if not any(abs(start - prompt) <= _PROMPT for prompt in prompts)
        ]
        held += common(music, union(stays))
    return length(union(common(union(held, gap=0), talked), gap=0))


def _music(streams: Sequence[CelEvent], last: int) -> list[Interval]:
    """MOH_STREAM_BEGIN..MOH_STREAM_END of one channel."""
    found: list[Interval] = []
    since: int | None = None
    for event in streams:
        if event.eventtype == EventType.STREAM_BEGIN:
            since = event.eventtime if _is_music(event) else since
        elif since is not None and event.userdeftype in ("", "MOH_STREAM_END"):
            found.append((since, max(since, event.eventtime)))
            since = None
    if since is not None:
        found.append((since, max(since, last)))
    return found


def _is_music(event: CelEvent) -> bool:
    return event.userdeftype == "MOH_STREAM_BEGIN" or (not event.userdeftype and '"class"' in event.extra)
