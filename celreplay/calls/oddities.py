"""What was odd in the rows of a call, in words for the admin of the PBX. Pure."""

from celreplay.calls.legs import Story
from celreplay.cel.events import CelEvent, extra_is_broken
from celreplay.cel.timeline import anchored
from celreplay.times import SECOND

_BACKWARDS = 2 * SECOND


def is_complete(story: Story) -> bool:
    """Every channel of the call has its beginning and its end."""
    origin = story.family.origin
    channels = [channel for channel in story.channels if channel.seq >= 0]
    return origin.started and all(channel.ended_at is not None for channel in channels)


def warnings_of(story: Story, *, complete: bool) -> list[str]:
    """Each oddity once."""
    origin = story.family.origin
    found: list[str] = []
    if not origin.started:
        found.append("no CHAN_START of the caller: its rows were lost or refused by the database")
    if not complete:
        found.append("closed by the time-out: Asterisk died, or rows were lost")
    open_ones = [channel.name for channel in story.channels if channel.seq >= 0 and channel.ended_at is None]
    if open_ones:
        found.append(f"no HANGUP of {', '.join(sorted(open_ones))}")
    ids = {channel.uniqueid for channel in story.channels}
    rows = [row for row in story.scene.rows if row.uniqueid in ids]
    broken = sum(extra_is_broken(row) for row in rows)
    if broken:
        found.append(f"`extra` of {broken} rows is cut or broken: is the column too short?")
    if any(later.eventtime < row.eventtime - _BACKWARDS for row, later in zip(rows, rows[1:], strict=False)):
        found.append("times run backwards between rows: was the clock set?")
    if any(row.ambiguous for row in rows) and not anchored(rows):
        found.append("times ambiguous at the clock change")
    return list(dict.fromkeys([*found, *_said_of_rows(rows)]))


def _said_of_rows(rows: list[CelEvent]) -> list[str]:
    return [warning for row in rows for warning in row.warnings]
