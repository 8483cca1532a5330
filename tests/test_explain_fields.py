"""`explain` and the Call say one thing: what a field is stands in the rows named for it, over every capture."""

from collections.abc import Callable
from functools import cache

import pytest
from captures_io import cases, events_of, forms_of
from cel_rows import row

from celreplay.calls.dispositions import Because, verdict_on
from celreplay.calls.explain import FIELDS, Explained, explained
from celreplay.calls.model import Call, Disposition
from celreplay.calls.numbering import PbxRules
from celreplay.cel.events import CelEvent
from celreplay.cel.grouping import groups_of
from celreplay.cel.names import epoch_of
from celreplay.times import SECOND

RULES = PbxRules(system="pbx")
Rows = list[CelEvent]
COLUMNS = (
    *("cid_num", "cid_name", "cid_ani", "cid_dnid", "exten", "channame", "appname", "appdata"),
    *("accountcode", "userfield", "uniqueid", "linkedid", "peer", "extra"),
)
OF_THE_GROUP = {"warnings", "hold", "transfers", "revision"}
"""What is odd, whether a hold leaves a trace, and who joined from another call, any row of the group tells."""


@cache
def found(case: str, form: str) -> list[Explained]:
    """The calls of a capture."""
    return [one for group in groups_of(events_of(case, form)) for one in explained(group.events, RULES)]


def named(one: Explained, field: str) -> Rows:
    """The rows that the explanation of a field names."""
    ids = set(one.fields[field].rows)
    return [event for event in one.story.scene.rows if event.id in ids]


def stands(text: str | None, rows: Rows) -> bool:
    """In some column of some row."""
    return not text or any(text in getattr(event, column) for event in rows for column in COLUMNS)


def moments(rows: Rows) -> set[int]:
    """The times that the rows tell: their own, and the seconds in their ids."""
    epochs = {epoch_of(id_) for event in rows for id_ in (event.uniqueid, event.linkedid)}
    return {event.eventtime for event in rows} | {epoch * SECOND for epoch in epochs if epoch is not None}


def is_sum(seconds: float | None, rows: Rows) -> bool:
    """As long as from one of the rows to another, or none."""
    told = moments(rows)
    return not seconds or any(abs((b - a) / SECOND - seconds) < 0.0015 for a in told for b in told)


def text(field: str) -> Callable[[Call, Rows], bool]:
    """The value stands in the rows."""
    return lambda call, rows: stands(getattr(call, field), rows)


def texts(field: str) -> Callable[[Call, Rows], bool]:
    """Each of the values stands in the rows."""
    return lambda call, rows: all(stands(value, rows) for value in getattr(call, field))


def moment(field: str) -> Callable[[Call, Rows], bool]:
    """The value is a time that the rows tell."""
    return lambda call, rows: getattr(call, field) is None or getattr(call, field) in moments(rows)


def span(field: str) -> Callable[[Call, Rows], bool]:
    """The value is the time from one of the rows to another."""
    return lambda call, rows: is_sum(getattr(call, field), rows)


def cause(call: Call, rows: Rows) -> bool:
    """The number stands in a HANGUP."""
    wanted = f'"hangupcause":{call.hangup_cause},'
    return call.hangup_cause is None or any(wanted in event.extra for event in rows)


def answered_by(call: Call, rows: Rows) -> bool:
    """The number; of a conference its number alone."""
    return stands((call.answered_by or "").removeprefix("conference").strip(), rows)


def legs(call: Call, rows: Rows) -> bool:
    """Every leg's uniqueid and number, and every time of it."""
    told = moments(rows)
    return all(
        stands(leg.uniqueid, rows)
        and stands(leg.number, rows)
        and all(at is None or at in told for at in (leg.rang_at, leg.answered_at, leg.ended_at))
        for leg in call.legs
    )


def transfers(call: Call, rows: Rows) -> bool:
    """When, by whom, to whom."""
    return all(
        one.at in moments(rows) and stands(one.by, rows) and stands(one.to, rows) for one in call.transfers
    )


def talk(call: Call, rows: Rows) -> bool:
    """Longer than nothing only with rows from the beginning to the end of a talk."""
    told = moments(rows)
    return not call.talk or (max(told) - min(told)) / SECOND >= call.talk - 0.0015


def hold(call: Call, rows: Rows) -> bool:
    """Music begins and ends in the rows; without one there is a row that would have shown it."""
    music = [event for event in rows if "MOH_STREAM" in event.userdeftype]
    return bool(music) if call.hold else call.hold is None or bool(rows)


CHECKS: dict[str, Callable[[Call, Rows], bool]] = {
    "linkedid": text("linkedid"),
    "linkedids": texts("linkedids"),
    "caller": lambda call, rows: all(map(stands, [call.caller.number, call.caller.name], [rows] * 2)),
    "dialed_number": text("dialed_number"),
    "external_number": text("external_number"),
    "answered_by": answered_by,
    "extension": text("extension"),
    "trunk": text("trunk"),
    "queue": text("queue"),
    "started_at": moment("started_at"),
    "answered_at": moment("answered_at"),
    "ended_at": moment("ended_at"),
    "duration": span("duration"),
    "wait": span("wait"),
    "ring": span("ring"),
    "talk": talk,
    "hold": hold,
    "legs": legs,
    "transfers": transfers,
    "recordings": texts("recordings"),
    "voicemail": text("voicemail"),
    "conference": text("conference"),
    "hangup_cause": cause,
    "accountcode": text("accountcode"),
    "userfield": text("userfield"),
}
ELSEWHERE = {
    "system",
    "direction",
    "disposition",
    "hangup_by",
    "sip_code",
    "complete",
    "warnings",
    "revision",
    "custom",
}
"""Decided by what several rows are together, or made of words of ours: below, and in test_explain.py."""


def test_each_field_is_checked() -> None:
    """None is forgotten when the Call gets a new one."""
    assert CHECKS.keys() | ELSEWHERE == set(FIELDS)
    assert not CHECKS.keys() & ELSEWHERE


@pytest.mark.parametrize("field", CHECKS)
def test_what_a_field_is_stands_in_the_rows_named_for_it(field: str) -> None:
    """Its text is in one of them, its time is that of one of them, in every form of every capture."""
    for case in cases():
        for form in forms_of(case):
            for one in found(case, form):
                rows = named(one, field)
                assert CHECKS[field](one.call, rows), (case, form, one.fields[field])


@pytest.mark.parametrize("case", cases())
def test_the_rows_named_are_of_the_call(case: str) -> None:
    """Of another call of the group only the rows in which the two meet."""
    for form in forms_of(case):
        for one in found(case, form):
            for field in FIELDS.keys() - OF_THE_GROUP:
                for event in named(one, field):
                    of_it = event.uniqueid in one.story.ids or event.linkedid in one.call.linkedids
                    assert of_it, (form, field, event)


@pytest.mark.parametrize("case", cases())
def test_the_sentence_names_the_rule_that_decided(case: str) -> None:
    """The words are chosen by the rule's own verdict, and the verdict is the call's."""
    for form in forms_of(case):
        for one in found(case, form):
            verdict = verdict_on(one.story)
            assert verdict.disposition is one.call.disposition
            assert verdict.disposition in MEANS.get(verdict.because, REFUSALS)
            assert WORDS[verdict.because] in one.fields["disposition"].reason


REFUSALS = {Disposition.NO_ANSWER, Disposition.BUSY, Disposition.FAILED}
MEANS = {
    Because.PERSON: {Disposition.ANSWERED},
    Because.CONFERENCE: {Disposition.ANSWERED},
    Because.VOICEMAIL: {Disposition.VOICEMAIL},
    Because.QUEUE: {Disposition.ABANDONED},
    Because.ANNOUNCEMENT: {Disposition.IVR_ONLY},
    Because.NOTHING: {Disposition.UNKNOWN},
}
WORDS = {because: because.value for because in Because} | {
    Because.PERSON: " talked first, from +",
    Because.CONFERENCE: "entered conference",
    Because.VOICEMAIL: "nobody talked; VoiceMail(",
    Because.QUEUE: "left queue",
    Because.LEGS: ": ",
}
CALLER = "PJSIP/trunk-main-00000001"
PHONE = "PJSIP/101-00000002"


def told(*rows: CelEvent) -> tuple[Because, Disposition, str]:
    """The rule, the disposition and the sentence of the call in these rows."""
    (one,) = explained(rows, RULES)
    verdict = verdict_on(one.story)
    assert verdict.disposition is one.call.disposition
    return verdict.because, one.call.disposition, one.fields["disposition"].reason


def begin(**fields: str) -> CelEvent:
    """The caller's first row."""
    return row(
        1, "CHAN_START", "1.1", "1.1", channame=CALLER, cid_num="79161234501", context="from-pstn", **fields
    )


def end(extra: str = "", **fields: str) -> CelEvent:
    """The caller's last row."""
    return row(9, "HANGUP", "1.1", "1.1", channame=CALLER, extra=extra, **fields)


def hangup(cause: int, source: str = "", dialstatus: str = "") -> str:
    """`extra` of a HANGUP."""
    return f'{{"hangupcause":{cause},"hangupsource":"{source}","dialstatus":"{dialstatus}"}}'


@pytest.mark.parametrize(
    ("rows", "because", "disposition"),
    [
        ([begin(), end(hangup(17))], Because.REFUSAL, Disposition.BUSY),
        ([begin(), end(hangup(16), appname="Congestion")], Because.FAILURE, Disposition.FAILED),
        ([begin(), end(hangup(127, CALLER))], Because.CALLER, Disposition.NO_ANSWER),
        ([begin(), end(appname="Dial")], Because.PBX, Disposition.FAILED),
        ([begin(), end()], Because.NOTHING, Disposition.UNKNOWN),
        ([begin(), end(hangup(16), appname="Playback")], Because.ANNOUNCEMENT, Disposition.IVR_ONLY),
        (
            [
                begin(),
                row(2, "CHAN_START", "1.2", "1.1", channame=PHONE),
                row(3, "HANGUP", "1.2", "1.1", channame=PHONE),
                end(exten="s-BUSY"),
            ],
            Because.DIALPLAN,
            Disposition.BUSY,
        ),
        (
            [
                begin(),
                row(2, "CHAN_START", "1.2", "1.1", channame=PHONE),
                row(3, "HANGUP", "1.2", "1.1", channame=PHONE, extra=hangup(21, PHONE)),
                end(exten="s-NOANSWER"),
            ],
            Because.LEGS,
            Disposition.BUSY,
        ),
    ],
)
def test_each_rule_tells_itself(rows: Rows, because: Because, disposition: Disposition) -> None:
    """Rows for the rules that few captures reach."""
    rule, found_, sentence = told(*rows)
    assert (rule, found_) == (because, disposition)
    assert WORDS[because] in sentence


def test_every_rule_is_reached() -> None:
    """By a capture, or by the rows above."""
    seen = {verdict_on(one.story).because for case in cases() for one in found(case, "sqlite")}
    beside = {Because.CALLER, Because.NOTHING, Because.DIALPLAN}
    assert seen >= set(Because) - beside
