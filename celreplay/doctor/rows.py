"""What the latest rows of the CEL table tell about Asterisk's configuration. Pure."""

import statistics
from collections import defaultdict
from collections.abc import Sequence

from celreplay.cel.events import CelEvent, EventType, extra_is_broken
from celreplay.cel.eventtime import epoch_of
from celreplay.cel.grouping import groups_of
from celreplay.doctor.findings import Finding, error, ok, warning
from celreplay.times import SECOND

ENOUGH = 100
"""Rows below which nothing is said about what is missing among them."""
_CEL_CONF = "the lines `events=` and `apps=` of docs/install.md, then `asterisk -rx 'module reload cel'`"
_NEEDED = {
    EventType.CHAN_START: "calls cannot be put together",
    EventType.CHAN_END: "the end of a call is known late, or never",
    EventType.HANGUP: "causes and who hung up are lost",
    EventType.ANSWER: "answered calls look missed",
}
_WANTED = {
    EventType.LINKEDID_END: "the end of a call is seen only when all of its channels have ended",
    EventType.BRIDGE_ENTER: "who talked to whom is a guess",
    EventType.APP_START: "names of recordings are lost (`apps=all` gives none: list the applications)",
}
_HOUR = 3600 * SECOND
_CLOCK_SLACK = 10.0
_SILENCE = 24 * _HOUR


def about_rows(rows: Sequence[CelEvent], now: int) -> list[Finding]:
    """All findings from rows, the latest ones of the table, in the order of writing."""
    if not rows:
        how = "make a call, then `asterisk -rx 'cel show status'`; see docs/install.md"
        return [error("rows", "the table is empty: Asterisk has written no call yet", how)]
    findings = [_age(rows, now)]
    if len(rows) < ENOUGH:
        findings.append(ok("events", f"only {len(rows)} rows: too few to judge Asterisk's settings by them"))
    else:
        findings += [_events(rows), _ends(rows)]
    return [*findings, _extra(rows), _linkedids(rows), _clock(rows), _collisions(rows), _garbage(rows)]


def _age(rows: Sequence[CelEvent], now: int) -> Finding:
    age = now - max(row.eventtime for row in rows)
    if age < -_CLOCK_SLACK * SECOND:
        return error(
            "clock",
            f"the latest row is {-age / SECOND:.0f} s in the future",
            "set pbx.timezone to the zone of the table's times, and let NTP set both clocks",
        )
    if age > _SILENCE:
        hours = age / _HOUR
        how = "`asterisk -rx 'cel show status'`, and the log of the module that writes the table"
        return warning("rows", f"the latest row is {hours:.0f} hours old", how)
    return ok("rows", f"the latest row is {max(0, age) / SECOND:.0f} s old")


def _events(rows: Sequence[CelEvent]) -> Finding:
    seen = {row.eventtype for row in rows if not row.user_defined}
    lacking = {event: what for event, what in _NEEDED.items() if event not in seen}
    wanted = {event: what for event, what in _WANTED.items() if event not in seen}
    if not lacking and not wanted:
        return ok("events", "all that matter are written")
    text = "; ".join(f"no {event}: {what}" for event, what in (lacking | wanted).items())
    return (error if lacking else warning)("events", f"{text} (in {len(rows)} rows)", _CEL_CONF)


def _ends(rows: Sequence[CelEvent]) -> Finding:
    ended = [group for group in groups_of(rows) if group.ended]
    without = [
        group for group in ended if not any(row.eventtype == EventType.LINKEDID_END for row in group.events)
    ]
    if not ended or not without or len(without) == len(ended):  # none at all: `events` has said so
        return ok("ends", f"{len(ended)} calls that have ended")
    share = 100 * len(without) / len(ended)
    text = f"{share:.0f} % of {len(ended)} calls lack LINKEDID_END"
    return warning(
        "ends", text, "rows are lost: see Asterisk's log for errors of the module that writes them"
    )


def _extra(rows: Sequence[CelEvent]) -> Finding:
    broken = sum(extra_is_broken(row) for row in rows)
    if broken:
        text = f"`extra` is cut in {broken} of {len(rows)} rows: its column is too short"
        return warning("extra", text, "ALTER TABLE cel MODIFY extra VARCHAR(512), or TEXT")
    if not any(row.extra for row in rows):
        text = "`extra` is always empty or has no column: hangup causes, bridges and transfers are lost"
        return error("extra", text, "add the column `extra` to the table, and to the module's configuration")
    return ok("extra", "is written")


def _linkedids(rows: Sequence[CelEvent]) -> Finding:
    without = sum(not row.linkedid for row in rows)
    if not without:
        return ok("linkedid", "is written")
    text = f"{without} of {len(rows)} rows have no linkedid: channels of one call cannot be put together"
    return error("linkedid", text, "add `linkedid` to the table and to the module's list of columns")


def _clock(rows: Sequence[CelEvent]) -> Finding:
    """A channel's uniqueid begins with the second in which it began, by the PBX's own clock."""
    offsets = [
        row.eventtime - epoch
        for row in rows
        if row.eventtype == EventType.CHAN_START and (epoch := epoch_of(row.uniqueid)) is not None
    ]
    if not offsets:
        return ok("zone", "no uniqueid tells the time")
    offset = statistics.median(offsets)
    if abs(offset) < 5 * 60 * SECOND:
        return ok("zone", "times of the rows agree with the uniqueids")
    return error(
        "zone",
        f"times of the rows are {offset / _HOUR:+.2f} hours off the uniqueids",
        "set pbx.timezone to the zone in which the table's times are written",
    )


def _collisions(rows: Sequence[CelEvent]) -> Finding:
    channels = defaultdict(set)
    for row in rows:
        if row.eventtype == EventType.CHAN_START:
            channels[row.uniqueid].add(row.channame)
    twice = [uniqueid for uniqueid, names in channels.items() if len(names) > 1]
    if not twice:
        return ok("systems", "no uniqueid belongs to two channels")
    text = f"{len(twice)} uniqueids belong to two channels ({twice[0]}): two Asterisks write into this table"
    return error("systems", text, "give each a `systemname` in asterisk.conf, [options], and restart it")


def _garbage(rows: Sequence[CelEvent]) -> Finding:
    odd = [row for row in rows if row.warnings]
    if not odd:
        return ok("values", f"{len(rows)} rows are whole")
    text = f"{len(odd)} of {len(rows)} rows are odd, the last: {odd[-1].warnings[0]}"
    return warning("values", text, "compare the table's columns with docs/sources.md")
