"""What was odd in the rows of a call, in words for the admin of the PBX. Pure."""

from operator import sub

from celreplay.calls.legs import Story
from celreplay.cel.systems import SET_SYSTEMNAME, born_twice
from celreplay.cel.timeline import anchored
from celreplay.times import SECOND

_BACKWARDS = 2 * SECOND
_WHOLE = ("", "}")  # what `extra` ends with
_NAMED = 5  # channels in one warning
BACKWARDS = "times run backwards between rows: was the clock set?"


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
    open_ones = sorted(
        channel.name for channel in story.channels if channel.seq >= 0 and channel.ended_at is None
    )
    if open_ones:
        more = f" and {len(open_ones) - _NAMED} more" if len(open_ones) > _NAMED else ""
        found.append(f"no HANGUP of {', '.join(open_ones[:_NAMED])}{more}")
    return list(dict.fromkeys([*found, *_said_of_rows(story)]))


def _said_of_rows(story: Story) -> list[str]:
    rows = story.scene.rows
    odd = [row for row in rows if row.warnings or row.ambiguous or row.extra[-1:] not in _WHOLE]
    found = [warning for row in odd for warning in row.warnings]
    times = [row.eventtime for row in rows]
    if times != sorted(times) and min(map(sub, times[1:], times)) < -_BACKWARDS:
        found.append(BACKWARDS)
    if twice := born_twice(rows):
        found.append(f"two channels were born as {twice[0]}: {SET_SYSTEMNAME}")
    broken = len([row for row in odd if row.extra[-1:] not in _WHOLE])
    if broken:
        found.append(f"`extra` of {broken} rows is cut or broken: is the column too short?")
    if any(row.ambiguous for row in odd) and not anchored(rows):
        found.append("times ambiguous at the clock change")
    return found
