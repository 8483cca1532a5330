"""Why a call counts as answered, missed, busy or failed, and who ended it. Pure."""

from collections.abc import Callable

from celreplay.calls.dispositions import (
    REFUSALS,
    Because,
    cause_channel,
    judged_legs,
    leg_disposition,
    taken_back,
    verdict_on,
)
from celreplay.calls.explain_facts import Facts, Reason, cause_text, joined, seconds, stay_seqs
from celreplay.calls.hangups import is_turned_away, refusing_legs, source_channel
from celreplay.calls.legs import LegStory
from celreplay.calls.model import Disposition, HangupBy
from celreplay.cel.channel import CONFERENCES

_TAKEN_BACK = {"CANCEL": "the caller gave up", "NOANSWER": "nobody answered within the Dial time-out"}
_TAKEN_BACK |= {"ANSWER": "another phone answered"}


def disposition(facts: Facts) -> Reason:
    """The rule that decided, and its rows."""
    verdict = verdict_on(facts.story)
    return _TOLD[verdict.because](facts, verdict.because)


def _talked(facts: Facts, _: Because) -> Reason:
    leg = facts.story.persons[0]
    channel = leg.channel
    others = len(facts.story.persons) - 1
    more = f"; {others} more talked later" if others else ""
    return Reason(
        f"{channel.name} ({leg.number or 'number unknown'}) talked first, from"
        f" {_offset(facts, leg.talks[0][0])} to {_offset(facts, leg.talks[0][1])}{more}",
        [channel.seq, *facts.answer(channel), *facts.talks(leg)],
    )


def _conferred(facts: Facts, _: Because) -> Reason:
    return Reason(f"entered conference {facts.story.conference or ''}".rstrip(), conference_seqs(facts))


def _left_a_message(facts: Facts, _: Because) -> Reason:
    voicemail = facts.story.voicemail
    data = voicemail.data if voicemail else ""
    return Reason(f"nobody talked; VoiceMail({data}) ran", app_seqs(facts, "voicemail"))


def _left_the_queue(facts: Facts, _: Because) -> Reason:
    text = f"left queue {facts.story.queue} and no agent had talked ({_ended(facts)})"
    return Reason(text, [*app_seqs(facts, "queue", "appqueue"), *facts.end(facts.caller)])


def conference_seqs(facts: Facts) -> list[int]:
    """The caller's stays in conferences, and the rows that show the application."""
    stays = [stay for stay in facts.caller.stays if stay.app in CONFERENCES]
    return [*(seq for stay in stays for seq in stay_seqs(stay)), *_own_app_seqs(facts, *CONFERENCES)]


def app_seqs(facts: Facts, *names: str) -> list[int]:
    """The rows of the call's channels that show an application."""
    return [
        seq
        for channel in facts.story.channels
        if (app := channel.app(*names)) is not None
        for seq in facts.showing(channel, app)
    ]


def _own_app_seqs(facts: Facts, *names: str) -> list[int]:
    app = facts.caller.app(*names)
    return facts.showing(facts.caller, app) if app else []


def _refused(facts: Facts, because: Because) -> Reason:
    judged = judged_legs(facts.story)
    told = [_leg_said(facts, leg) for leg in judged]
    aside = [leg for leg in facts.story.legs if leg not in judged]
    sent_on = [f"{leg.channel.name} only sent the call on" for leg in aside]
    whole = [*told, *sent_on] if len(told) + len(sent_on) > 1 else [*told, "nobody else was rung"]
    seqs = [seq for leg in facts.story.legs for seq in (leg.channel.seq, *facts.end(leg.channel))]
    if because is Because.DIALPLAN:
        result = facts.call.disposition.value
        whole.append(f"{because.value}: {facts.caller.last_exten or 'no exten'}: {result}")
        seqs += [facts.caller.last_seq, *_own_app_seqs(facts, "busy", "congestion")]
    return Reason(joined(whole), [*seqs, *facts.end(facts.caller)])


def _leg_said(facts: Facts, leg: LegStory) -> str:
    channel = leg.channel
    if channel.ended_at is None:
        return f"{channel.name} was rung and the rows stop: {leg_disposition(leg).value}"
    rang = f"rang {seconds(leg.rang_at, channel.ended_at)} and " if leg.rang_at is not None else ""
    words = cause_text(channel.cause)
    if channel.cause is not None and taken_back(channel):
        status = facts.caller.dialstatus
        why = _TAKEN_BACK.get(status, "taken back by the PBX")
        words = f"cause {channel.cause} ({why})"
    ended = "hung up with" if facts.event(channel.ended_seq) == "HANGUP" else "has no HANGUP row:"
    return f"{channel.name} {rang}{ended} {words}: {leg_disposition(leg).value}"


def _rang_nobody(facts: Facts, because: Because) -> Reason:
    caller = facts.caller
    apps = ", ".join(dict.fromkeys(app.name for app in caller.apps)) or "none"
    answered = "was answered by the PBX" if caller.answered_at is not None else "was not answered"
    text = f"{because.value}: {caller.name or 'the caller'} {answered}, ran {apps}, {_ended(facts)}"
    seqs = [*facts.begin(caller), *facts.answer(caller), *(app.seq for app in caller.apps)]
    return Reason(text, [*seqs, *facts.end(caller)])


_TOLD: dict[Because, Callable[[Facts, Because], Reason]] = {
    Because.PERSON: _talked,
    Because.CONFERENCE: _conferred,
    Because.VOICEMAIL: _left_a_message,
    Because.QUEUE: _left_the_queue,
    Because.LEGS: _refused,
    Because.DIALPLAN: _refused,
    Because.ANNOUNCEMENT: _rang_nobody,
    Because.EXTENSION: _rang_nobody,
    Because.REFUSAL: _rang_nobody,
    Because.FAILURE: _rang_nobody,
    Because.CALLER: _rang_nobody,
    Because.PBX: _rang_nobody,
    Because.NOTHING: _rang_nobody,
}


def _ended(facts: Facts) -> str:
    caller = facts.caller
    if caller.ended_at is None:
        return "the rows stop before its end"
    if facts.event(caller.ended_seq) != "HANGUP":
        return f"ended {_offset(facts, caller.ended_at)} without a HANGUP row"
    status = f", dialstatus {caller.dialstatus}" if caller.dialstatus else ""
    return f"ended {_offset(facts, caller.ended_at)} with {cause_text(caller.cause)}{status}"


def _offset(facts: Facts, at: int) -> str:
    return f"+{(at - facts.story.started_at) / 1_000_000:.3f} s"


def cause(facts: Facts) -> Reason:
    """Of the channel that decided."""
    channel = cause_channel(facts.story, facts.call.disposition)
    whose = "the caller's channel" if channel is facts.caller else "the leg that decided"
    if channel.cause is None:
        return Reason(f"no HANGUP row of {channel.name or 'the caller'} has a cause", [])
    return Reason(f"{cause_text(channel.cause)} in the HANGUP of {channel.name}, {whose}", facts.end(channel))


def hangup(facts: Facts) -> Reason:
    """hangupsource."""
    channel = source_channel(facts.story)
    if channel is None:
        return Reason("no HANGUP row has a hangupsource", [])
    source = channel.source or ""
    if is_turned_away(facts.story, source):
        return _turned_away(facts)
    words = {
        HangupBy.CALLER: f"hangupsource of {channel.name} is the caller's channel {source}",
        HangupBy.CALLEE: f"hangupsource of {channel.name} is {source}, not the caller's channel",
        HangupBy.PBX: f"hangupsource of {channel.name} is {source or 'empty'}: the PBX itself",
    }
    by = facts.call.hangup_by
    return Reason(words[by] if by else "", facts.end(channel))


def _turned_away(facts: Facts) -> Reason:
    refusing = [leg.channel for leg in refusing_legs(facts.story)]
    who = ", ".join(channel.name for channel in refusing) or "the PBX"
    ran = _own_app_seqs(facts, *REFUSALS)
    text = f"{facts.caller.name} was turned away before any answer, by {who}"
    return Reason(text, [*ran, *facts.end(facts.caller), *(s for one in refusing for s in facts.end(one))])


def sip(facts: Facts) -> Reason:
    """From the disposition and the causes of the legs."""
    if facts.call.sip_code is None:
        return Reason("the disposition is unknown", [])
    why = disposition(facts)
    legs_causes = ", ".join(str(leg.channel.cause) for leg in facts.story.legs) or "none"
    text = f"stands for {facts.call.disposition.value}"
    if facts.call.disposition is not Disposition.ANSWERED:
        text += f", causes of the legs: {legs_causes}; {why.text}"
        return Reason(text, [*why.seqs, *cause(facts).seqs])
    return Reason(f"{text}: {why.text}", why.seqs)


def legs(facts: Facts) -> Reason:
    """Their beginnings, answers and ends."""
    story = facts.story
    found = [
        seq
        for leg in story.legs
        for seq in (
            *facts.number(leg),
            *facts.answer(leg.channel),
            *facts.talks(leg),
            *facts.end(leg.channel),
        )
    ]
    names = [f"{leg.channel.name}{_began(facts, leg)}" for leg in story.legs]
    if story.conference_talks:
        names.append(f"conference {story.conference}".rstrip())
        found += conference_seqs(facts)
    if story.voicemail is not None:
        names.append("voicemail")
        found += [*app_seqs(facts, "voicemail"), *facts.begin(facts.caller), *facts.end(facts.caller)]
    if not names:
        return Reason("nobody was rung or talked", [])
    return Reason(f"rung or talked: {', '.join(names)}", found)


def _began(facts: Facts, leg: LegStory) -> str:
    started = facts.event(leg.channel.seq)
    return "" if started == "CHAN_START" else f" (first seen at its {started})"
