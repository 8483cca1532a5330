"""Why a call is what it is: for each field its value, the reason, and the rows that decided it. Pure.

Nothing is interpreted anew: the facts are those the call was made of (`stories_of`), chosen by the same
functions, and each carries its rows as `seq`, the place in the rows of its group.
"""

from collections.abc import Callable, Sequence

import msgspec

from celreplay.calls.explain_facts import Facts, Reason
from celreplay.calls.explain_outcome import cause, disposition, hangup, legs, sip
from celreplay.calls.explain_sides import (
    accountcode,
    answered_by,
    caller,
    dialed,
    direction,
    extension,
    external,
    linkedid,
    linkedids,
    trunk,
    userfield,
)
from celreplay.calls.explain_times import answered, duration, ended, hold, ring, started, talk, wait
from celreplay.calls.explain_traces import (
    complete,
    conference,
    custom,
    queue,
    recordings,
    revision,
    system,
    transfers,
    voicemail,
    warnings,
)
from celreplay.calls.interpret import stories_of
from celreplay.calls.legs import Story
from celreplay.calls.model import Call
from celreplay.calls.numbering import PbxRules
from celreplay.cel.events import CelEvent


class FieldReason(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a call, explained."""

    value: object
    """As in the call."""
    reason: str
    """One sentence."""
    rows: list[int]
    """What decided: ids; in a table without ids the places in the order of writing, from 1."""


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a group, explained."""

    call: Call
    story: Story
    fields: dict[str, FieldReason]
    """In the order of the call's fields, every one of them."""


FIELDS: dict[str, Callable[[Facts], Reason]] = {
    "linkedid": linkedid,
    "linkedids": linkedids,
    "system": system,
    "direction": direction,
    "disposition": disposition,
    "caller": caller,
    "dialed_number": dialed,
    "external_number": external,
    "answered_by": answered_by,
    "extension": extension,
    "trunk": trunk,
    "queue": queue,
    "started_at": started,
    "answered_at": answered,
    "ended_at": ended,
    "duration": duration,
    "wait": wait,
    "ring": ring,
    "talk": talk,
    "hold": hold,
    "legs": legs,
    "transfers": transfers,
    "recordings": recordings,
    "voicemail": voicemail,
    "conference": conference,
    "hangup_cause": cause,
    "hangup_by": hangup,
    "sip_code": sip,
    "accountcode": accountcode,
    "userfield": userfield,
    "complete": complete,
    "warnings": warnings,
    "revision": revision,
    "custom": custom,
}


def explained(
    events: Sequence[CelEvent], rules: PbxRules, *, complete: bool = True, asked: str = ""
) -> list[Explained]:
    """The calls of one group, each with its reasons: the one that `asked` names (a linkedid or uniqueid)
    first, then the oldest."""
    found = [
        Explained(call=call, story=story, fields=_fields(Facts(story, call, rules)))
        for story, call in stories_of(events, rules, complete=complete)
    ]
    return sorted(found, key=lambda one: asked not in (*one.call.linkedids, *one.story.ids))


def row_ids(rows: Sequence[CelEvent]) -> list[int]:
    """What each row is called: its id, in a table without ids its place from 1."""
    ids = [row.id for row in rows if row.id is not None]
    return ids if len(ids) == len(rows) else list(range(1, len(rows) + 1))


def _fields(facts: Facts) -> dict[str, FieldReason]:
    ids = row_ids(facts.rows)
    found = {}
    for name, explain in FIELDS.items():
        reason = explain(facts)
        rows = [ids[seq] for seq in sorted(set(reason.seqs)) if 0 <= seq < len(ids)]
        value = getattr(facts.call, name)
        found[name] = FieldReason(value=value, reason=reason.text, rows=rows)
    return found
