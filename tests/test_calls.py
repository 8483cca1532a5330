"""Captured calls of two Asterisk versions, from four forms of the table, against what really happened."""

from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from captures_io import FORMS, cases, events_of, forms_of, read_events, truth_of
from truths import LIMITS, NO_CALL, differences, expected, limits_of, rules_of, same, tolerance

from celreplay.calls.interpret import calls_of
from celreplay.calls.model import Call, decode_call, encode
from celreplay.calls.numbering import PbxRules
from celreplay.cel.events import CelEvent
from celreplay.cel.grouping import groups_of

WITHOUT_ROWS = {case for limit in LIMITS if limit.field == NO_CALL for case in limit.cases}

PAIRS = [
    pytest.param(case, form, id=f"{case}-{form}")
    for case in cases()
    if case not in WITHOUT_ROWS
    for form in forms_of(case)
]


def calls_in(events: list[CelEvent], rules: PbxRules) -> list[Call]:
    """Every call of these rows."""
    return [call for group in groups_of(events) for call in calls_of(group.events, rules)]


@cache
def call_of(case: str, form: str) -> Call:
    """The call of the truth's linkedid."""
    linkedid = truth_of(case)["linkedid"]
    calls = calls_in(events_of(case, form), rules_of(case))
    (call,) = [call for call in calls if linkedid in call.linkedids]
    return call


@pytest.mark.parametrize(("case", "form"), PAIRS)
def test_a_captured_call_is_read_as_it_really_was(case: str, form: str) -> None:
    """Every field of every form agrees with the truth, but for the limits, which are exactly those listed."""
    different, limits = differences(case, form, call_of(case, form)), limits_of(case, form)
    named = [limit.field for limit in limits]
    assert len(named) == len(set(named))
    assert different.keys() <= set(named), f"{different} instead of {expected(case)}"
    for limit in limits:
        if limit.field in different or not limit.is_glob:
            assert limit.field in different, f"{limit.field} is as in the truth: no limit any more"
            assert same(different[limit.field], limit.given, tolerance(case, form)), limit.field


def test_every_limit_is_told_with_its_reason() -> None:
    """The list: each entry has one reason, names captures and forms that are there, and a sentence of the
    contract stands in docs/call.md. Whether an entry is still needed the test above says."""
    contract = _words((Path(__file__).parent.parent / "docs" / "call.md").read_text("utf-8"))
    for limit in LIMITS:
        why = limit.reason or f"contract: {limit.contract}"
        print(
            f"{', '.join(limit.cases)} [{', '.join(limit.forms)}] {limit.field}, given {limit.given}: {why}"
        )
        assert bool(limit.reason) != bool(limit.contract)
        assert _words(limit.contract) in contract
        for case in [] if limit.is_glob else limit.cases:
            assert limit.forms == tuple(FORMS) or set(limit.forms) <= set(forms_of(case)), case
        if limit.is_glob:
            pairs = [(case, form) for case in cases() for form in forms_of(case) if limit.is_for(case, form)]
            assert any(limit.field in differences(*pair, call_of(*pair)) for pair in pairs)


def _words(text: str) -> str:
    return " ".join(text.replace("*", "").split())


@pytest.mark.parametrize("folder", ["asterisk16-further"])
def test_no_call_is_made_up(folder: str) -> None:
    """The rows of these captures hold the calls of their truths and no other."""
    known = {case: truth_of(case) for case in cases() if case.startswith(folder)}
    linkedids = {truth["linkedid"] for truth in known.values()}
    assert known
    for case in known:
        for call in calls_in(events_of(case, "sqlite"), rules_of(case)):
            assert linkedids & set(call.linkedids), (case, call.linkedids)


@pytest.mark.parametrize(("case", "form"), PAIRS)
def test_hold_is_null_exactly_where_it_would_leave_no_trace(case: str, form: str) -> None:
    """Of the rows that only Asterisk 18 and later writes one is enough to know that there was no hold."""
    linkedid = truth_of(case)["linkedid"]
    (group,) = [group for group in groups_of(events_of(case, form)) if linkedid in group.keys]
    kinds = {event.eventtype for event in group.events}
    newer = kinds & {"STREAM_BEGIN", "STREAM_END", "DTMF", "LOCAL_OPTIMIZE_BEGIN"}
    assert (call_of(case, form).hold is None) == (not newer)


@pytest.mark.parametrize(("case", "form"), PAIRS)
def test_order_and_repetition_of_the_rows_change_nothing(case: str, form: str) -> None:
    """Shuffled and doubled rows give equal calls, revision included."""
    events = events_of(case, form)
    mixed = [*events, *events[::2]]
    Random(case + form).shuffle(mixed)  # noqa: S311 - a reproducible order
    straight, again = calls_in(events, rules_of(case)), calls_in(mixed, rules_of(case))
    assert sorted(again, key=_linkedid) == sorted(straight, key=_linkedid)


def _linkedid(call: Call) -> str:
    return call.linkedid


def test_an_unknown_number_leaves_no_call() -> None:
    """A call that Asterisk refuses before a channel exists has no row, so there is no call: that is listed too."""
    for case in WITHOUT_ROWS:
        assert [events_of(case, form) for form in FORMS] == [[], [], [], []]
        assert [limit.field for limit in limits_of(case, "sqlite") if not limit.is_glob] == [NO_CALL]


@pytest.mark.parametrize("form", FORMS)
def test_two_customers_joined_are_two_calls(form: str) -> None:
    """A merge gives each caller a call of its own, and neither claims the other's linkedid."""
    (group,) = groups_of(events_of("26-merged-1a", form))
    first, second = calls_of(group.events, rules_of("26-merged-1a"))
    assert [first.caller.number, second.caller.number] == ["79261110001", "79261110002"]
    assert not set(first.linkedids) & set(second.linkedids)
    assert (first.transfers[0].to, second.transfers[0].to) == ("79261110002", "79261110001")


@pytest.mark.parametrize("case", [case for case in cases() if case not in WITHOUT_ROWS])
def test_a_call_survives_its_json(case: str) -> None:
    """What is written is what is read back, times to the millisecond."""
    call = call_of(case, "sqlite")
    assert encode(decode_call(encode(call))) == encode(call)
    assert decode_call(encode(call)).duration == call.duration


@pytest.mark.parametrize(("case", "form"), PAIRS)
def test_no_duration_is_negative(case: str, form: str) -> None:
    """Rows run backwards by milliseconds, and by an hour at the clock change; durations never do."""
    call = call_of(case, form)
    for leg in call.legs:
        assert leg.talk >= 0
    assert min(call.talk, call.wait or 0, call.ring or 0, call.hold or 0, call.duration or 0) >= 0


FURTHER = sorted(path.stem for path in (Path(__file__).parent / "calls").glob("*.csv"))


@pytest.mark.parametrize("name", FURTHER)
def test_a_further_call_is_read_as_written_beside_it(name: str) -> None:
    """Rows in `tests/calls/NAME.csv` as sqlite3 prints them, the call in `NAME.yaml`: its fields, or `calls`, a
    list of such fields, and `pbx`, what the config must say."""
    folder = Path(__file__).parent / "calls"
    want = yaml.safe_load((folder / f"{name}.yaml").read_text("utf-8"))
    (group,) = groups_of(read_events(folder / f"{name}.csv", None))
    rules = PbxRules(system="pbx", **want.pop("pbx", {}))
    assert [_told(call) for call in calls_of(group.events, rules)] == want.get("calls", [want])


def _told(call: Call) -> dict[str, Any]:
    return {
        "direction": call.direction.value,
        "disposition": call.disposition.value,
        "caller": call.caller.number,
        "dialed_number": call.dialed_number,
        "answered_by": call.answered_by,
        "extension": call.extension,
        "wait": call.wait,
        "ring": call.ring,
        "talk": call.talk,
        "hold": call.hold,
        "legs": [f"{leg.number} {leg.kind} {leg.disposition}" for leg in call.legs],
        "transfers": [f"{one.type} {one.by} -> {one.to}: {one.result}" for one in call.transfers],
        "linkedids": len(call.linkedids),
    }
