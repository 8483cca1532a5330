"""Rows that are lost, cut, strange or few: a call comes out of what is there, and nothing ever raises."""

from collections.abc import Callable
from typing import Any

import pytest
from captures_io import cases, events_of, truth_of
from cel_rows import any_rows, row
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from truths import rules_of

from celreplay.calls.interpret import calls_of
from celreplay.calls.model import Call, Direction, Disposition, encode
from celreplay.calls.numbering import PbxRules
from celreplay.cel.events import CelEvent
from celreplay.cel.grouping import groups_of
from celreplay.times import SECOND

RULES = PbxRules(system="pbx")
SAMPLE = {"APP_START", "CHAN_START", "CHAN_END", "ANSWER", "HANGUP", "BRIDGE_ENTER", "BRIDGE_EXIT"}
CALLS = [case for case in cases() if truth_of(case)["linkedid"] and "variants" not in case]
Damage = Callable[[list[CelEvent]], list[CelEvent]]


def without_apps(events: list[CelEvent]) -> list[CelEvent]:
    """As with `apps=all`: no APP_START, no APP_END."""
    return [event for event in events if not event.eventtype.startswith("APP_")]


def without_ids(events: list[CelEvent]) -> list[CelEvent]:
    """A table without an id column, as cel_custom writes it."""
    return [replace(event, id=None) for event in events]


def without_extra(events: list[CelEvent]) -> list[CelEvent]:
    """The documented PostgreSQL table has no such column: no causes, no bridge ids."""
    return [replace(event, extra="") for event in events]


def as_sampled(events: list[CelEvent]) -> list[CelEvent]:
    """Asterisk's sample of cel.conf: no LINKEDID_END, no transfers, `apps=dial,park`."""
    return [
        event
        for event in events
        if event.eventtype in SAMPLE and (event.eventtype != "APP_START" or event.appname in ("Dial", "Park"))
    ]


def in_whole_seconds(events: list[CelEvent]) -> list[CelEvent]:
    """DATETIME cuts the fraction off."""
    return [replace(event, eventtime=event.eventtime // SECOND * SECOND) for event in events]


def cut_short(events: list[CelEvent]) -> list[CelEvent]:
    """A server without strict mode cuts values to the length of their columns."""
    return [replace(event, extra=event.extra[:90], appdata=event.appdata[:40]) for event in events]


def main_facts(call: Call) -> dict[str, Any]:
    """What a CRM must have right whatever the table is like."""
    return {
        "direction": call.direction,
        "disposition": call.disposition,
        "caller": call.caller.number,
        "dialed": call.dialed_number,
        "answered_by": call.answered_by,
        "extension": call.extension,
        "external": call.external_number,
        "started_at": call.started_at // SECOND,
        "wait": None if call.wait is None else round(call.wait),
        "linkedids": call.linkedids,
    }


def read(events: list[CelEvent], rules: PbxRules = RULES) -> list[dict[str, Any]]:
    """The main facts of all calls in the rows."""
    return [main_facts(call) for group in groups_of(events) for call in calls_of(group.events, rules)]


# On Asterisk 16, which has no STREAM rows, an application that ran on a channel answered before it, and was
# left before any other row came, stands in its own rows only; so does a Dial that nobody answered.
ONLY_IN_APP_ROWS = {
    "asterisk16-more/08-in-queue-abandoned-5": "Queue where no phone rang",
    "asterisk16-further/40-click-to-call-7": "the number dialled for an extension behind Local",
    "asterisk16-further/41-click-inside-2": "Playback",
    "asterisk16-further/41-click-inside-6": "Playback",
    "asterisk16-further/45-queue-5": "VoiceMail after a queue",
    "asterisk16-further/46-apps-19": "Busy after Answer",
    "asterisk16-further/48-names-7": "the number dialled behind a prefix",
    "asterisk16-further/48-names-9": "the number dialled behind a prefix",
    "asterisk16-further/48-names-18": "the number dialled behind a prefix",
    "asterisk16-further/53-dialplan-12": "Queue where no phone could be rung",
    "asterisk16-further/54-outgoing-4": "the number dialled behind a prefix",
    **{f"asterisk16-further/56-chan-sip-{n}": "the number dialled behind a prefix" for n in range(11, 17)},
    **{f"asterisk16-further/58-lines-{n}": "the number dialled behind a prefix" for n in (5, 7)},
}


@pytest.mark.parametrize("damage", [without_apps, without_ids, cut_short])
@pytest.mark.parametrize("case", CALLS)
def test_what_matters_survives_a_poorer_table(case: str, damage: Damage) -> None:
    """Application rows, ids and long values may be missing; who, whom, when and the result stay the same."""
    events = events_of(case, "sqlite")
    survives = read(damage(events), rules_of(case)) == read(events, rules_of(case))
    assert survives == (damage is not without_apps or case not in ONLY_IN_APP_ROWS)


@pytest.mark.parametrize("case", CALLS)
def test_a_table_without_extra_tells_all_but_refusals(case: str) -> None:
    """Without causes a phone's refusal looks like no answer; everything else is told."""
    events = events_of(case, "sqlite")
    poor, full = read(without_extra(events)), read(events)
    for less, more in zip(poor, full, strict=True):
        if more["disposition"] in (Disposition.BUSY, Disposition.FAILED):
            assert less["disposition"] in (more["disposition"], Disposition.NO_ANSWER, Disposition.UNKNOWN)
            less["disposition"] = more["disposition"]
        elif (
            less["disposition"] == Disposition.UNKNOWN
        ):  # nobody was rung: who gave up, the caller or the PBX?
            assert (more["disposition"], more["extension"]) == (Disposition.NO_ANSWER, None)
            less["disposition"] = more["disposition"]
        assert less == more


@pytest.mark.parametrize("case", CALLS)
def test_the_sample_settings_tell_all_but_queues_without_agents(case: str) -> None:
    """Without LINKEDID_END, transfer rows and Queue's and VoiceMail's rows a queue where no phone rang is not
    seen, nor the voicemail of a channel that a queue had answered, nor what else only an application's rows tell."""
    events = events_of(case, "sqlite")
    poor, full = read(as_sampled(events)), read(events)
    for less, more in zip(poor, full, strict=True):
        if more["disposition"] == Disposition.ABANDONED:
            others = (Disposition.IVR_ONLY, Disposition.NO_ANSWER)
            assert less["disposition"] in (Disposition.ABANDONED, *others)
            less["disposition"] = more["disposition"]
        elif case in ONLY_IN_APP_ROWS:
            less["disposition"] = more["disposition"]
        elif more["disposition"] == Disposition.VOICEMAIL and truth_of(case).get("queue"):
            assert less["disposition"] in (Disposition.ABANDONED, Disposition.IVR_ONLY)
            less["disposition"] = more["disposition"]
        assert less == more
    assert all(
        group.ended == whole.ended
        for group, whole in zip(groups_of(as_sampled(events)), groups_of(events), strict=True)
    )


@pytest.mark.parametrize("case", CALLS)
def test_whole_seconds_move_no_time_by_more_than_one(case: str) -> None:
    """FreePBX's DATETIME: each talk may be off by a second, not more."""
    events = events_of(case, "sqlite")
    for cut, full in zip(
        [call for group in groups_of(in_whole_seconds(events)) for call in calls_of(group.events, RULES)],
        [call for group in groups_of(events) for call in calls_of(group.events, RULES)],
        strict=True,
    ):
        assert abs(cut.talk - full.talk) <= max(1, sum(leg.talk > 0 for leg in full.legs))
        assert cut.answered_by == full.answered_by


@given(any_rows())
def test_no_rows_at_all_raise(events: list[CelEvent]) -> None:
    """Rows that no Asterisk would write make calls, or none, and their JSON."""
    for call in calls_of(events, RULES):
        assert encode(call)
        assert min(call.talk, call.wait or 0, call.ring or 0, call.hold or 0, call.duration or 0) >= 0


@given(any_rows(), st.randoms(use_true_random=False))
def test_any_rows_in_any_order_make_equal_calls(events: list[CelEvent], random: Any) -> None:
    """A pure function of the set of rows."""
    mixed = [*events, *events]
    random.shuffle(mixed)
    assert calls_of(mixed, RULES) == calls_of(events, RULES)


@given(st.sampled_from(CALLS), st.data())
def test_lost_rows_never_raise(case: str, data: st.DataObject) -> None:
    """Any rows of a real call may be missing: a database that was down, a row that was refused."""
    events = events_of(case, "sqlite")
    keep = data.draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events)))
    left = [event for event, kept in zip(events, keep, strict=True) if kept]
    for call in calls_of(left, RULES, complete=False):
        assert encode(call)
        assert not call.complete
        assert call.warnings


@given(st.sampled_from(CALLS), st.text(max_size=20), st.data())
def test_garbage_in_a_column_never_raises(case: str, garbage: str, data: st.DataObject) -> None:
    """NULL, broken JSON and names from elsewhere."""
    events = events_of(case, "sqlite")
    field = data.draw(
        st.sampled_from(["extra", "channame", "appdata", "appname", "peer", "cid_num", "exten", "eventtype"])
    )
    hit = data.draw(st.integers(0, len(events) - 1))
    events[hit] = replace(events[hit], **{field: garbage})
    for call in calls_of(events, RULES):
        assert encode(call)


def test_rows_of_sip_message_make_no_call() -> None:
    """SIP MESSAGE writes rows too."""
    assert calls_of([row(1, "CHAN_START", "1.1", "1.1", channame="Message/ast_msg_queue")], RULES) == []


def test_a_caller_whose_rows_were_refused_is_known_by_its_channels_name() -> None:
    """The database refused every row with a name that is not UTF-8: the callee's rows still name the channel."""
    (group,) = groups_of(events_of("variants/bad-utf8-16/39-bad-utf8-name-2", "freepbx"))
    (call,) = calls_of(group.events, RULES)
    assert (call.direction, call.caller.channel, call.trunk) == (
        Direction.INCOMING,
        "PJSIP/trunk-main-00000002",
        "trunk-main",
    )
    assert (call.answered_by, call.caller.number, call.complete) == ("101", None, False)
    assert call.warnings == ["no CHAN_START of the caller: its rows were lost or refused by the database"]


def test_a_call_without_an_end_says_so() -> None:
    """Asterisk was killed: no end, no invented duration."""
    (group,) = groups_of(events_of("25-killed-2-talking", "sqlite"))
    (call,) = calls_of(group.events, RULES, complete=False)
    assert (call.ended_at, call.duration, call.complete) == (None, None, False)
    assert call.warnings == [
        "closed by the time-out: Asterisk died, or rows were lost",
        "no HANGUP of PJSIP/103-00000007, PJSIP/trunk-main-00000006",
    ]


def test_what_was_odd_in_reading_a_row_is_said_once() -> None:
    """Warnings of the rows are the call's."""
    events = [
        replace(event, warnings=("cid_name is no UTF-8",))
        for event in events_of("01-in-answered-1", "sqlite")
    ]
    (call,) = calls_of(events, RULES)
    assert call.warnings == ["cid_name is no UTF-8"]


def test_cut_extra_is_told_and_read_as_far_as_it_goes() -> None:
    """A column that is too short cuts JSON; whole pairs in it still count."""
    (call,) = calls_of(cut_short(events_of("16-blind-transfer-1", "sqlite")), RULES)
    assert any("cut or broken" in warning for warning in call.warnings)
    assert (call.transfers[0].to, call.legs[0].hangup_cause) == ("162", 16)


def test_an_interpretation_needs_no_configuration_to_have_a_revision() -> None:
    """Another trunk list, another PBX name: other Calls, the same revision; another row: another one."""
    events = events_of("01-in-answered-1", "sqlite")
    (plain,) = calls_of(events, RULES)
    (edited,) = calls_of(events, PbxRules(system="other", trunks=("PJSIP/101",), extensions="7.*"))
    assert plain.direction != edited.direction
    assert plain.revision == edited.revision
    assert calls_of(events[:-1], RULES)[0].revision != plain.revision
    assert len(plain.revision) >= 16
    assert set(plain.revision) <= set("0123456789abcdef")


def test_times_that_occur_twice_are_told_apart_by_the_uniqueid() -> None:
    """The clock went back in the middle of the call: 8 s of talk, not minus 59 minutes, to the second."""
    for form, within in (("pgsql", 0.001), ("freepbx", 1.0)):
        events = events_of("variants/dst-fallback/40-dst-fallback-2", form)
        assert any(event.ambiguous for event in events)
        (call,) = calls_of(events, RULES)
        (true,) = calls_of(events_of("variants/dst-fallback/40-dst-fallback-2", "sqlite"), RULES)
        assert abs(call.talk - true.talk) <= within
        assert abs(call.started_at - true.started_at) <= within * SECOND
        assert call.warnings == []


def test_times_that_nothing_tells_apart_are_told() -> None:
    """Unique ids of another form hold no second."""
    events = [
        row(number, kind, "a", "a", ambiguous=True) for number, kind in enumerate(["CHAN_START", "HANGUP"], 1)
    ]
    (call,) = calls_of(events, RULES)
    assert "times ambiguous at the clock change" in call.warnings


def test_a_phone_that_answered_too_late_did_not_talk() -> None:
    """Two members of a queue behind Local channels answer at once; the caller gets one of them."""
    bridges = iter(range(1, 9))
    events: list[CelEvent] = []

    def add(kind: str, uniqueid: str, name: str, **fields: str) -> None:
        events.append(row(len(events) + 1, kind, uniqueid, "1.1", channame=name, **fields))

    def meet(*parties: tuple[str, str]) -> None:
        bridge = next(bridges)
        for uniqueid, name in parties:
            add(
                "BRIDGE_ENTER",
                uniqueid,
                name,
                extra=f'{{"bridge_id":"b{bridge}","bridge_technology":"simple_bridge"}}',
            )

    caller = ("1.1", "PJSIP/trunk-main-00000001")
    fast = [
        ("1.2", "Local/101@q-00000001;1"),
        ("1.3", "Local/101@q-00000001;2"),
        ("1.4", "PJSIP/101-00000002"),
    ]
    late = [
        ("1.5", "Local/102@q-00000002;1"),
        ("1.6", "Local/102@q-00000002;2"),
        ("1.7", "PJSIP/102-00000003"),
    ]
    add("CHAN_START", *caller, exten="74951230101", cid_num="79161234501", context="from-pstn")
    for uniqueid, name in [*fast, *late]:
        add("CHAN_START", uniqueid, name)
    for uniqueid, name in (fast[2], late[2]):
        add("ANSWER", uniqueid, name)
    meet(fast[1], fast[2])
    meet(late[1], late[2])
    meet(caller, fast[0])
    for uniqueid, name in [*late, *fast, caller]:
        add("HANGUP", uniqueid, name)
    (call,) = calls_of(events, RULES)
    assert call.answered_by == "101"
    assert [(leg.number, leg.disposition.value) for leg in call.legs] == [
        ("101", "answered"),
        ("102", "no_answer"),
    ]
