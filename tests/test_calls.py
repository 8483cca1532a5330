"""Captured calls of two Asterisk versions, from four forms of the table, against what really happened."""

from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from captures_io import FORMS, cases, events_of, forms_of, read_events, truth_of

from celreplay.calls.interpret import calls_of
from celreplay.calls.model import Call, TransferType, decode_call, encode
from celreplay.calls.numbering import PbxRules
from celreplay.cel.grouping import groups_of
from celreplay.times import Instant

RULES = PbxRules(system="pbx")
LIMITS: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "calls" / "limits.yaml").read_text("utf-8")
)
# Where the contract of the Call (docs/call.md) says something else than what the caller meant to do.
CONTRACT: dict[str, dict[str, Any]] = {
    # an originate whose own extension never answers is nobody's call to the number
    "22-click-to-call-3": {"direction": "internal", "dialed_number": None},
    "asterisk16-more/22-click-to-call-3": {"direction": "internal", "dialed_number": None},
    # the ringing of a transfer's target is no talk, even if the outside party was there all the time
    "asterisk22-more/16-blind-transfer-4": {"talk": 5.0},
    "asterisk16-more/16-blind-transfer-4": {"talk": 5.0},
}
WITHOUT_ROWS = {"28-dnd-rejected-7"}  # Asterisk refuses an unknown number before a channel exists
CONTRACT_TRANSFERS = {str(kind) for kind in TransferType}

PAIRS = [
    pytest.param(case, form, id=f"{case}-{form}")
    for case in cases()
    if case not in WITHOUT_ROWS
    for form in forms_of(case)
]


@cache
def call_of(case: str, form: str) -> Call:
    """The call of the truth's linkedid."""
    linkedid = truth_of(case)["linkedid"]
    calls = [call for group in groups_of(events_of(case, form)) for call in calls_of(group.events, RULES)]
    (call,) = [call for call in calls if linkedid in call.linkedids]
    return call


def tolerance(case: str, form: str) -> float:
    """Seconds by which a time may differ: some forms hold whole seconds only."""
    return 1.0 if form == "freepbx" or ("dateformat" in case and form == "sqlite") else 0.2


def expected(case: str) -> dict[str, Any]:
    """The truth in the words of the contract; a field that the truth does not tell is absent."""
    truth = truth_of(case)
    files = [file["file"].rpartition("/")[2] for file in truth.get("recording_files", [])]
    merged = "26-merged" in case
    want = {
        "direction": truth["direction"],
        "caller": truth["caller_number"] or None,
        "dialed_number": truth["dialled_number"],
        "answered_by": truth["answered_by"],
        "disposition": truth["result"],
        "started_at": Instant.parse(truth.get("start_time_pbx", truth["start_time"])) / 1e6,
        "wait": truth["wait_seconds"],
        "ring": truth["ring_seconds"],
        "talk": truth["talk_seconds"],
        "hold": truth["hold_seconds"],
        "voicemail": truth.get("voicemail_box"),
        "conference": truth.get("conference"),
        "recordings": files,
        "linkedids": sorted({truth["linkedid"], *(() if merged else truth["other_linkedids"])}),
        "transfers": [_transfer(transfer) for transfer in truth["transfers"] if _is_transfer(transfer)],
    }
    if truth.get("queue") or not truth["transfers"]:
        want["queue"] = truth.get("queue")
    if truth.get("hangup_by"):
        want["hangup_by"] = truth["hangup_by"]
    if len(truth.get("final_agent", "")) in range(1, 7):
        want["extension"] = truth["final_agent"]
    if truth.get("forwarded"):
        want["transfers"] = [("forward", truth["forwarded"]["to"])]
    return want | CONTRACT.get(case, {})


def _is_transfer(transfer: dict[str, Any]) -> bool:
    """AMI Bridge is none of the contract's, and a consultation that came to nothing is none."""
    kind = transfer["type"].partition("(")[0]
    return kind in CONTRACT_TRANSFERS and not str(transfer.get("result")).startswith("declined")


def _transfer(transfer: dict[str, Any]) -> tuple[str | None, ...]:
    """type, by, to; results are worded otherwise there."""
    kind = transfer["type"].partition("(")[0]
    if kind == "redirect":  # done by a supervisor over AMI, of whom no row tells
        return (kind, None, transfer["to"])
    to = transfer.get("to") or transfer.get("retrieved_by")
    if to is None:
        return (kind, transfer["by"])
    return (kind, transfer["by"], to)


def found(call: Call, want: dict[str, Any]) -> dict[str, Any]:
    """The same fields of the call, as comparable as `expected` has them."""
    transfers: list[tuple[str | None, ...]] = [
        (transfer.type.value, transfer.to)
        if transfer.type == "forward"
        else (transfer.type.value, transfer.by, transfer.to)
        for transfer in call.transfers
    ]
    lengths = [len(transfer) for transfer in want["transfers"]]
    return {
        "direction": call.direction.value,
        "caller": call.caller.number,
        "dialed_number": call.dialed_number,
        "answered_by": call.answered_by,
        "disposition": call.disposition.value,
        "started_at": call.started_at / 1e6,
        "wait": call.wait,
        "ring": call.ring,
        "talk": call.talk,
        "queue": call.queue,
        "voicemail": call.voicemail,
        "conference": call.conference,
        "recordings": [path.rpartition("/")[2] for path in call.recordings],
        "linkedids": sorted(call.linkedids),
        "transfers": [transfer[:length] for transfer, length in zip(transfers, lengths, strict=False)]
        + transfers[len(lengths) :],
        "hold": call.hold if want["hold"] else call.hold or 0.0,  # no trace of none is as good as none
        "hangup_by": call.hangup_by and call.hangup_by.value,
        "extension": call.extension,
    }


def differences(case: str, form: str) -> dict[str, Any]:
    """Field → what was found, for the fields that differ from the truth."""
    want = expected(case)
    have = found(call_of(case, form), want)
    within = tolerance(case, form)
    return {field: have[field] for field, value in want.items() if not _same(have[field], value, within)}


def _same(have: object, want: object, within: float) -> bool:
    if isinstance(have, float) and isinstance(want, int | float):
        return abs(have - want) <= within
    return have == want


def limits_of(case: str, form: str) -> dict[str, Any]:
    """Field → what is given instead, for what the rows of this capture cannot tell."""
    return {
        limit["field"]: limit["given"]
        for limit in LIMITS
        if limit["case"] == case and form in limit.get("forms", list(FORMS))
    }


@pytest.mark.parametrize(("case", "form"), PAIRS)
def test_a_captured_call_is_read_as_it_really_was(case: str, form: str) -> None:
    """Every field of every form agrees with the truth, but for the limits, which are exactly those listed."""
    different, limits = differences(case, form), limits_of(case, form)
    assert different.keys() == limits.keys(), f"{different} instead of {expected(case)}"
    for field, given in limits.items():
        assert _same(different[field], given, tolerance(case, form))


def test_what_the_rows_cannot_tell_is_listed_with_its_reason() -> None:
    """The limits are few, each is explained, and each names a capture that is there."""
    for limit in LIMITS:
        print(f"{limit['case']} [{', '.join(limit.get('forms', FORMS))}] {limit['field']}: {limit['reason']}")
        assert limit["reason"]
        assert limit["case"] in cases()
        assert set(limit.get("forms", FORMS)) <= set(FORMS)


@pytest.mark.parametrize(("case", "form"), PAIRS)
def test_order_and_repetition_of_the_rows_change_nothing(case: str, form: str) -> None:
    """Shuffled and doubled rows give equal calls, revision included."""
    events = events_of(case, form)
    mixed = [*events, *events[::2]]
    Random(case + form).shuffle(mixed)  # noqa: S311 - a reproducible order
    straight = [call for group in groups_of(events) for call in calls_of(group.events, RULES)]
    again = [call for group in groups_of(mixed) for call in calls_of(group.events, RULES)]
    assert sorted(again, key=_linkedid) == sorted(straight, key=_linkedid)


def _linkedid(call: Call) -> str:
    return call.linkedid


def test_an_unknown_number_leaves_no_call() -> None:
    """A call that Asterisk refuses before a channel exists has no row, so there is no call."""
    for case in WITHOUT_ROWS:
        assert [events_of(case, form) for form in FORMS] == [[], [], [], []]


@pytest.mark.parametrize("form", FORMS)
def test_two_customers_joined_are_two_calls(form: str) -> None:
    """A merge gives each caller a call of its own, and neither claims the other's linkedid."""
    (group,) = groups_of(events_of("26-merged-1a", form))
    first, second = calls_of(group.events, RULES)
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
