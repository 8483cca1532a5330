"""What became of a call and of each leg: hangup causes, who hung up, the code a CRM knows. Pure."""

from enum import StrEnum
from typing import NamedTuple

from celreplay.calls.legs import LegStory, Story
from celreplay.calls.model import Disposition
from celreplay.cel.channel import App, Channel

# Asterisk's causes (Q.850). A leg that the PBX takes back ends with 0, 16, 26 or 127, whatever the version.
_TAKEN_BACK = frozenset({0, 16, 26, 127})
_USER_BUSY = 17
_NO_USER = 18
_NO_ANSWER = 19
_REJECTED = 21
_REDIRECTED = 23
REFUSALS = {"busy": "busy", "congestion": "failed"}  # by applications of the dialplan
_FAILURES = frozenset({"CONGESTION", "CHANUNAVAIL"})  # of DIALSTATUS
# hangup causes to SIP codes, the way back of chan_pjsip and chan_sip
_SIP = {
    1: 404, 2: 404, 3: 404, 17: 486, 18: 408, 19: 480, 20: 480, 21: 403, 22: 410, 27: 502, 28: 484, 29: 501,
    34: 503, 38: 500, 42: 503, 44: 503, 58: 488, 88: 488, 102: 504,
}  # fmt: skip
_SPEAKING = frozenset(
    {"background", "playback", "echo", "read", "ivrdemo", "sayalpha", "saynumber", "voicemailmain"}
)


def leg_disposition(leg: LegStory) -> Disposition:
    """Answered, or by the leg's cause: the boundaries differ between phones and outside lines."""
    if leg.talks:
        return Disposition.ANSWERED
    cause = leg.channel.cause
    if cause is None or taken_back(leg.channel):
        return Disposition.NO_ANSWER
    if cause == _USER_BUSY or (cause == _REJECTED and not leg.outside):
        return Disposition.BUSY
    if cause == _NO_ANSWER or (cause == _NO_USER and not leg.outside):
        return Disposition.NO_ANSWER
    return Disposition.FAILED


def taken_back(channel: Channel) -> bool:
    """Whether the PBX ended a leg that was not answered. On chan_pjsip a side that refuses is its own
    hangupsource; a leg taken back names nobody, and may show the cause of an earlier leg's refusal, which the
    caller's channel has kept. chan_sip names nobody in either case."""
    return channel.cause in _TAKEN_BACK or (channel.source == "" and channel.name.startswith("PJSIP/"))


class Because(StrEnum):
    """Which line of the rules decided: see the table of dispositions in docs/call.md."""

    PERSON = "a person talked"
    CONFERENCE = "the caller entered a conference"
    VOICEMAIL = "VoiceMail ran"
    QUEUE = "a queue was left"
    LEGS = "the causes of the legs"
    DIALPLAN = "no leg has a cause, the dialplan tells the result"
    ANNOUNCEMENT = "an IVR or announcement, and nobody was rung"
    EXTENSION = "the extension of a click-to-call did not take it"
    REFUSAL = "the caller's channel was refused as busy"
    FAILURE = "the caller's channel ended with a failure"
    CALLER = "the caller gave up before anybody was rung"
    PBX = "the PBX hung up before anybody was rung"
    NOTHING = "no row tells"


class Verdict(NamedTuple):
    """What became of a call, and by which rule."""

    disposition: Disposition
    because: Because


def verdict_on(story: Story) -> Verdict:
    """The first of: somebody talked, voicemail, a queue, what the phones said, what the dialplan did."""
    if story.persons:
        return Verdict(Disposition.ANSWERED, Because.PERSON)
    if story.conference is not None:
        return Verdict(Disposition.ANSWERED, Because.CONFERENCE)
    if story.voicemail is not None:
        return Verdict(Disposition.VOICEMAIL, Because.VOICEMAIL)
    if story.queue is not None:
        return Verdict(Disposition.ABANDONED, Because.QUEUE)
    if story.legs:
        return _of_legs(story)
    return _without_legs(story)


def _of_legs(story: Story) -> Verdict:
    legs = judged_legs(story)
    if all(leg.channel.cause is None for leg in legs):
        told = _told_by_dialplan(story)
        if told is not None:
            return Verdict(told, Because.DIALPLAN)
    found = {leg_disposition(leg) for leg in legs}
    for disposition in (Disposition.NO_ANSWER, Disposition.BUSY):
        if disposition in found:
            return Verdict(disposition, Because.LEGS)
    return Verdict(Disposition.FAILED, Because.LEGS)


def judged_legs(story: Story) -> list[LegStory]:
    """The legs whose refusals decide where nobody talked: not phones that only sent the call on."""
    return [leg for leg in story.legs if not _forwarded(leg)] or story.legs


def _forwarded(leg: LegStory) -> bool:
    """302: the phone sent the call on. Asterisk 16 has no cause for it: the phone ended by itself, with 0."""
    channel = leg.channel
    return channel.cause == _REDIRECTED or (channel.cause == 0 and channel.source == channel.name)


def _told_by_dialplan(story: Story) -> Disposition | None:
    """Without causes: the application or the exten (`s-BUSY`, a habit of FreePBX) the caller went to."""
    caller = story.caller.channel
    status = caller.last_exten.partition("s-")[2] if caller.last_exten.startswith("s-") else ""
    if caller.app("busy") or status == "BUSY":
        return Disposition.BUSY
    if status == "NOANSWER":
        return Disposition.NO_ANSWER
    if caller.app("congestion") or status in _FAILURES:
        return Disposition.FAILED
    return None


def _without_legs(story: Story) -> Verdict:
    caller = story.caller.channel
    if story.click:
        return _of_extension(caller)
    refused = caller.app(*REFUSALS)
    if refused:
        busy = refused.name == "busy"
        return Verdict(Disposition(REFUSALS[refused.name]), Because.REFUSAL if busy else Because.FAILURE)
    if caller.answered_at is not None or caller.app(*_SPEAKING):
        return Verdict(Disposition.IVR_ONLY, Because.ANNOUNCEMENT)
    return _never_rung(caller)


def _of_extension(channel: Channel) -> Verdict:
    """A click-to-call whose own extension was called and nobody else."""
    if channel.answered_at is not None and channel.app(*_SPEAKING) is not None:
        return Verdict(Disposition.IVR_ONLY, Because.ANNOUNCEMENT)
    return Verdict(Disposition.NO_ANSWER, Because.EXTENSION)


def _never_rung(caller: Channel) -> Verdict:
    """By the caller's own end."""
    if caller.cause == _USER_BUSY or caller.dialstatus == "BUSY":
        return Verdict(Disposition.BUSY, Because.REFUSAL)
    if caller.cause in _SIP or caller.dialstatus in _FAILURES:
        return Verdict(Disposition.FAILED, Because.FAILURE)
    if caller.source == caller.name:
        return Verdict(Disposition.NO_ANSWER, Because.CALLER)
    if caller.source is not None or caller.app("dial"):
        return Verdict(Disposition.FAILED, Because.PBX)
    return Verdict(Disposition.UNKNOWN, Because.NOTHING)


def deciding_cause(story: Story, disposition: Disposition) -> int | None:
    """The cause of the channel that decided."""
    return cause_channel(story, disposition).cause


def cause_channel(story: Story, disposition: Disposition) -> Channel:
    """The caller's channel; where a leg's refusal decided, the leg's: the caller's may show another cause."""
    if disposition in (Disposition.BUSY, Disposition.FAILED):
        for leg in reversed(story.legs):
            if leg.channel.cause is not None and leg_disposition(leg) is disposition:
                return leg.channel
    persons = story.persons
    caller = story.caller.channel
    if caller.cause is not None and not (persons and persons[-1].channel.ended_seq > caller.ended_seq + 8):
        return caller
    last = max((leg.channel for leg in story.legs), key=_ended_seq, default=caller)
    return last if last.cause is not None else caller


def result_of(story: Story, legs: list[LegStory], since: int) -> str | None:
    """What became of a call handed over at row `since` to these legs; None where nobody was rung, as in an
    IVR."""
    dispositions = [leg_disposition(leg).value for leg in legs]
    for result in ("answered", "no_answer", "busy"):
        if result in dispositions:
            return "voicemail" if result != "answered" and story.voicemail is not None else result
    if story.voicemail is not None:
        return "voicemail"
    if story.conference is not None:
        return "answered"
    if dispositions:
        return "failed"
    if story.queue is not None:
        return "no_answer"
    return next((REFUSALS[app.name] for app in _apps_since(story, since) if app.name in REFUSALS), None)


def _apps_since(story: Story, since: int) -> list[App]:
    return [app for channel in story.channels for app in channel.apps if app.seq > since]


def sip_code(story: Story, disposition: Disposition) -> int | None:
    """The code that CRMs of telephony know: 200, 304 for missed, else what the refusing side said."""
    if disposition is Disposition.ANSWERED:
        return 200
    if disposition is Disposition.UNKNOWN:
        return None
    causes = [leg.channel.cause for leg in story.legs]
    if disposition is Disposition.BUSY:
        return 603 if _REJECTED in causes and _USER_BUSY not in causes else 486
    if disposition is Disposition.FAILED:
        cause = deciding_cause(story, disposition)
        return _SIP.get(cause, 503) if cause is not None else 503
    return 480 if disposition is Disposition.NO_ANSWER and causes and set(causes) == {_NO_ANSWER} else 304


def _ended_seq(channel: Channel) -> int:
    return channel.ended_seq if channel.ended_at is not None else -1
