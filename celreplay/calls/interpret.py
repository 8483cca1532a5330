"""From the rows of one group to its calls. A pure function of the set of rows; it never raises.

Every rule stands in docs/call.md, each phenomenon in a module of its own: parties, families, legs,
applications, talk, sides, moments, dispositions, transfers, recordings, user events, forms of numbers.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from celreplay.calls.applications import mailbox_of
from celreplay.calls.dispositions import deciding_cause, sip_code, verdict_on
from celreplay.calls.entries import instant, legs_of
from celreplay.calls.families import families_of
from celreplay.calls.hangups import hangup_by
from celreplay.calls.legs import Story, listeners, tell
from celreplay.calls.model import Call, Caller
from celreplay.calls.moments import answered_at, ended_at, ring_of, talked_of
from celreplay.calls.numbering import PbxRules, outside_number
from celreplay.calls.numberplan import NO_PLAN, in_plan
from celreplay.calls.oddities import is_complete, warnings_of
from celreplay.calls.parties import identify
from celreplay.calls.recordings import recordings_of
from celreplay.calls.sides import (
    answered_by,
    dialed_number,
    direction_of,
    extension_of,
    external_number,
    name_outside_legs,
    trunk_of,
)
from celreplay.calls.talk import hold_of, length
from celreplay.calls.transfers import transfers_of
from celreplay.calls.userevents import custom_of
from celreplay.cel.events import CelEvent, facts_of
from celreplay.cel.fold import read
from celreplay.cel.timeline import in_order, repaired
from celreplay.times import Instant, seconds_between

__all__ = ["INTERPRETER_VERSION", "PbxRules", "calls_of", "stories_of"]

_packed = msgspec.msgpack.Encoder().encode
INTERPRETER_VERSION = 3
"""Grows whenever the same rows give another Call than before."""


def calls_of(events: Sequence[CelEvent], rules: PbxRules, *, complete: bool = True) -> list[Call]:
    """The calls in the rows of one group, oldest first; none where the rows are of SIP MESSAGE only.

    The rows may come in any order and twice. `complete` False: the group was closed by the time-out."""
    return [call for _, call in stories_of(events, rules, complete=complete)]


def stories_of(
    events: Sequence[CelEvent], rules: PbxRules, *, complete: bool = True
) -> list[tuple[Story, Call]]:
    """Each call with the facts it was made of, whose `seq` are places in `story.scene.rows`."""
    scene = read(repaired(in_order(events)))
    if not scene.channels:
        return []
    parties = identify(scene, rules)
    stories = [tell(scene, parties, family) for family in families_of(scene, parties, rules)]
    revision = _revision(scene.rows)
    calls = [_call(story, rules, revision, complete=complete) for story in stories]
    if rules.numbers != NO_PLAN:
        calls = [in_plan(call, rules.numbers) for call in calls]
    return list(zip(stories, calls, strict=True))


def _call(story: Story, rules: PbxRules, revision: str, *, complete: bool) -> Call:
    disposition = verdict_on(story).disposition
    dialed = dialed_number(story)
    direction = direction_of(story, dialed, rules)
    name_outside_legs(story, direction, dialed)
    talked = talked_of(story)
    answer, end, caller = answered_at(story), ended_at(story), story.caller
    return Call(
        linkedid=story.family.linkedid,
        linkedids=story.family.linkedids,
        system=rules.system,
        direction=direction,
        disposition=disposition,
        caller=_caller(story),
        dialed_number=dialed,
        external_number=outside_number(external_number(story, direction, dialed)),
        answered_by=answered_by(story),
        extension=extension_of(story, direction),
        trunk=trunk_of(story),
        queue=story.queue,
        started_at=Instant(story.started_at),
        answered_at=instant(answer),
        ended_at=instant(end),
        duration=None if end is None else seconds_between(story.started_at, end),
        wait=None if answer is None else seconds_between(story.started_at, answer),
        ring=ring_of(story, direction),
        talk=length(talked),
        hold=hold_of(story.scene, listeners(story), talked),
        legs=legs_of(story),
        transfers=transfers_of(story),
        recordings=recordings_of(story, rules.user_events),
        voicemail=mailbox_of(story.voicemail),
        conference=story.conference,
        hangup_cause=deciding_cause(story, disposition),
        hangup_by=hangup_by(story),
        sip_code=sip_code(story, disposition),
        accountcode=_first_text([channel.accountcode for channel in (caller.channel, *story.channels)]),
        userfield=_first_text([channel.userfield for channel in (caller.channel, *story.channels)]),
        complete=complete and is_complete(story),
        warnings=warnings_of(story, complete=complete),
        revision=revision,
        custom=custom_of(story, rules.user_events) if rules.user_events else {},
    )


def _caller(story: Story) -> Caller:
    caller = story.caller
    channel = caller.channel
    return Caller(number=caller.number, name=channel.caller_name or None, channel=channel.name or None)


def _first_text(texts: Sequence[str]) -> str | None:
    return next((text for text in texts if text), None)


def _revision(rows: Sequence[CelEvent]) -> str:
    """A hash of what the rows of a group say: not of how they were read, numbered, or written twice, nor of
    which of them belong to which of its calls, where the config has a part in that."""
    facts = list(dict.fromkeys(facts_of(rows)))
    return hashlib.blake2b(_packed(facts), digest_size=12).hexdigest()
