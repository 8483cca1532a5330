"""What became of a call and of each leg: hangup causes, who hung up, the code a CRM knows. Pure."""

from celreplay.calls.legs import LegStory, Story
from celreplay.calls.model import Disposition, HangupBy
from celreplay.cel.channel import Channel

# Asterisk's causes (Q.850). A leg that the PBX takes back ends with 0, 16, 26 or 127, whatever the version.
_TAKEN_BACK = frozenset({0, 16, 26, 127})
_USER_BUSY = 17
_NO_USER = 18
_NO_ANSWER = 19
_REJECTED = 21
_REDIRECTED = 23
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
    if cause is None or cause in _TAKEN_BACK:
        return Disposition.NO_ANSWER
    if cause == _USER_BUSY or (cause == _REJECTED and not leg.outside):
        return Disposition.BUSY
    if cause == _NO_ANSWER or (cause == _NO_USER and not leg.outside):
        return Disposition.NO_ANSWER
    return Disposition.FAILED


def call_disposition(story: Story) -> Disposition:
    """The first of: somebody talked, voicemail, a queue, what the phones said, what the dialplan did."""
    if story.persons or story.conference is not None:
        return Disposition.ANSWERED
    if story.voicemail is not None:
        return Disposition.VOICEMAIL
    if story.queue is not None:
        return Disposition.ABANDONED
    if story.legs:
        return _of_legs(story)
    return _without_legs(story)


def _of_legs(story: Story) -> Disposition:
    legs = judged_legs(story)
    if all(leg.channel.cause is None for leg in legs):
        told = _told_by_dialplan(story)
        if told is not None:
            return told
    found = {leg_disposition(leg) for leg in legs}
    for disposition in (Disposition.NO_ANSWER, Disposition.BUSY):
        if disposition in found:
            return disposition
    return Disposition.FAILED


def judged_legs(story: Story) -> list[LegStory]:
    """The legs whose refusals decide where nobody talked: not phones that only sent the call on."""
    return [leg for leg in story.legs if not _forwarded(leg)] or story.legs


def _forwarded(leg: LegStory) -> bool:
    return leg.channel.cause == _REDIRECTED  # 302: the phone sent the call on


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


def _without_legs(story: Story) -> Disposition:
    caller = story.caller.channel
    if story.click:
        speaks = caller.answered_at is not None and caller.app(*_SPEAKING) is not None
        return Disposition.IVR_ONLY if speaks else Disposition.NO_ANSWER
    if caller.answered_at is not None or caller.app(*_SPEAKING):
        return Disposition.IVR_ONLY
    if caller.cause == _USER_BUSY or caller.app("busy") or caller.dialstatus == "BUSY":
        return Disposition.BUSY
    if caller.app("congestion") or caller.cause in _SIP or caller.dialstatus in _FAILURES:
        return Disposition.FAILED
    if caller.source == caller.name:
        return Disposition.NO_ANSWER
    return Disposition.UNKNOWN


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


def hangup_by(story: Story) -> HangupBy | None:
    """From hangupsource: a channel's name, or nothing for the PBX."""
    channel = source_channel(story)
    if channel is None:
        return None
    source = channel.source or ""
    if source == story.caller.channel.name:
        return HangupBy.CALLER
    return HangupBy.CALLEE if source and not source.startswith("dialplan/") else HangupBy.PBX


def source_channel(story: Story) -> Channel | None:
    """The channel whose hangupsource tells who hung up: of those who were there last the first that names
    one, else the caller. None where the rows have no hangupsource."""
    caller = story.caller.channel
    there = sorted([caller, *(leg.channel for leg in story.persons)], key=_last_talk)[-2:]
    told = [channel for channel in (caller, *there) if channel.source is not None]
    return next((channel for channel in told if channel.source), told[0] if told else None)


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


def _last_talk(channel: Channel) -> int:
    return max((stay.left_seq for stay in channel.talks), default=-1)
