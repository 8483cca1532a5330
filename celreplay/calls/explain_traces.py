"""Why these queues, mailboxes, transfers, recordings, and whether the call is whole. Pure."""

from celreplay.calls.explain_facts import Facts, Reason, joined
from celreplay.calls.explain_outcome import app_seqs, conference_seqs
from celreplay.calls.recordings import RECORDERS, files_said
from celreplay.calls.userevents import user_events_of
from celreplay.cel.events import EventType

_HANDOVERS = frozenset(
    {
        EventType.BLINDTRANSFER,
        EventType.ATTENDEDTRANSFER,
        EventType.PARK_START,
        EventType.PARK_END,
        EventType.FORWARD,
        EventType.PICKUP,
    }
)


def system(_: Facts) -> Reason:
    """The config."""
    return Reason("pbx.name of the config; no row has a part in it", [])


def queue(facts: Facts) -> Reason:
    """The first Queue."""
    if facts.story.queue is None:
        return Reason("no row shows Queue", [])
    seqs = app_seqs(facts, "queue")
    if seqs:
        return Reason(f"Queue, shown by {len(seqs)} rows", seqs)
    called = app_seqs(facts, "appqueue")
    owners = {facts.rows[seq].uniqueid for seq in called}
    exten = [seq for seq, row in enumerate(facts.rows) if row.uniqueid in owners and row.exten]
    return Reason("a leg that a queue called; its exten names the queue", [*called, *exten])


def voicemail(facts: Facts) -> Reason:
    """The first VoiceMail."""
    if facts.call.voicemail is None:
        return Reason("no row shows VoiceMail", [])
    seqs = app_seqs(facts, "voicemail")
    return Reason(f"VoiceMail, shown by {len(seqs)} rows", seqs)


def conference(facts: Facts) -> Reason:
    """ConfBridge or MeetMe."""
    if facts.call.conference is None:
        return Reason("no row shows ConfBridge or MeetMe on the caller's channel", [])
    seqs = conference_seqs(facts)
    return Reason(f"ConfBridge or MeetMe, shown by {len(set(seqs))} rows", seqs)


def transfers(facts: Facts) -> Reason:
    """Transfer rows, or the legs that tell of a transfer without one."""
    found = facts.call.transfers
    if not found:
        return Reason("no transfer row, no leg that shows a transfer without one", [])
    told = {one.at for one in found}
    marks = [
        seq for seq, row in facts.story.scene.marks if row.eventtype in _HANDOVERS and not row.user_defined
    ]
    legs = [seq for leg in facts.story.legs for seq in (*facts.number(leg), *facts.answer(leg.channel))]
    names = ", ".join(f"{one.type.value} by {one.by or '?'} to {one.to or '?'}" for one in found)
    if any(facts.rows[seq].eventtime in told for seq in marks):
        rows = ", ".join(facts.rows[seq].eventtype for seq in marks)
        return Reason(f"{names}: {rows}", [*marks, *legs, *_of_others(facts)])
    ends = [seq for leg in facts.story.legs for seq in (*facts.talks(leg), *facts.end(leg.channel))]
    lines = [
        s for one in facts.story.family.consultants for s, row in enumerate(facts.rows) if row.uniqueid == one
    ]
    text = f"{names}: told by who was rung or talked when, there is no transfer row of it"
    return Reason(text, [*marks, *legs, *ends, *lines])


def _of_others(facts: Facts) -> list[int]:
    """Where those begin who joined from another call of the group."""
    numbers = {number for one in facts.call.transfers for number in (one.by, one.to)}
    parties = facts.story.parties.by_id.values()
    joined = [party.channel for party in parties if party.number in numbers]
    return [seq for one in joined if one.uniqueid not in facts.story.ids for seq in facts.begin(one)]


def recordings(facts: Facts) -> Reason:
    """The recorders, and user events that name a file."""
    if not facts.call.recordings:
        return Reason("no row names a file", [])
    seqs = [
        seq
        for channel in facts.story.channels
        for app in channel.apps
        if app.name in RECORDERS
        for seq in facts.showing(channel, app)
    ]
    events = [seq for seq, _ in files_said(facts.story, facts.rules.user_events)]
    return Reason(
        f"files named by {len(seqs)} rows of recorders, {len(events)} user events", [*seqs, *events]
    )


def complete(facts: Facts) -> Reason:
    """Every channel has its beginning and its end."""
    channels = [channel for channel in facts.story.channels if channel.seq >= 0]
    seqs = [*facts.begin(facts.origin), *(seq for one in channels for seq in facts.end(one))]
    if facts.call.complete:
        ends = [facts.event(seq) for one in channels for seq in facts.end(one)]
        told = ", ".join(f"{ends.count(name)} {name}" for name in dict.fromkeys(ends))
        return Reason(f"CHAN_START of the caller and the end of every channel are there: {told}", seqs)
    alive = [channel for channel in channels if channel.ended_at is None]
    missing = [] if facts.origin.started else ["no CHAN_START of the caller"]
    missing += [f"no HANGUP of {channel.name}" for channel in alive]
    seqs = [*facts.begin(facts.origin), *(channel.last_seq for channel in alive)]
    return Reason(joined(missing) or "closed by the time-out", seqs)


def warnings(facts: Facts) -> Reason:
    """The odd rows."""
    if not facts.call.warnings:
        return Reason("nothing odd", [])
    rows = facts.rows
    odd = [
        seq
        for seq, row in enumerate(rows)
        if row.warnings or row.ambiguous or (row.extra and row.extra[-1] != "}")
    ]
    backwards = [seq for seq in range(1, len(rows)) if rows[seq].eventtime < rows[seq - 1].eventtime]
    open_ones = [one.last_seq for one in facts.story.channels if one.seq >= 0 and one.ended_at is None]
    return Reason(
        f"{len(facts.call.warnings)} found, see below",
        [*odd, *backwards, *open_ones, *facts.begin(facts.origin)],
    )


def revision(facts: Facts) -> Reason:
    """All rows of the group."""
    return Reason(f"a hash of the {len(facts.rows)} rows that belong together", list(range(len(facts.rows))))


def custom(facts: Facts) -> Reason:
    """User events that the config names."""
    if not facts.call.custom:
        return Reason("no user event that the config names", [])
    meanings = facts.rules.user_events
    told = [
        (seq, event.eventtype)
        for seq, event in user_events_of(facts.story)
        if meanings.get(event.eventtype) in facts.call.custom
    ]
    names = ", ".join(dict.fromkeys(name for _, name in told))
    return Reason(f"what the user events {names} say", [seq for seq, _ in told])
