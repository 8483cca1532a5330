"""The Call as JSON: the contract that command line, API, webhook and store share."""

import json

from captures_io import events_of

from celreplay.calls.interpret import INTERPRETER_VERSION, calls_of
from celreplay.calls.model import Call, Leg, Transfer, TransferType, decode_call, encode
from celreplay.calls.numbering import PbxRules
from celreplay.times import Instant


def call_of(case: str) -> Call:
    """The only call of a capture."""
    (call,) = calls_of(events_of(case, "sqlite"), PbxRules(system="pbx"))
    return call


def test_times_are_iso_with_milliseconds_and_durations_are_seconds() -> None:
    """`2026-11-23T01:09:00.267Z`, never a number; durations to the millisecond."""
    data = json.loads(encode(call_of("01-in-answered-1")))
    assert data["started_at"] == "2026-11-23T01:09:00.267Z"
    assert (data["wait"], data["ring"], data["talk"], data["duration"]) == (1.511, 1.507, 3.003, 4.517)


def test_every_field_is_there_and_lists_are_never_null() -> None:
    """What is absent is null; a list is empty."""
    data = json.loads(encode(call_of("04-in-ivr-hangup-3")))
    assert list(data) == list(Call.__struct_fields__)
    assert (data["legs"], data["transfers"], data["recordings"], data["warnings"]) == ([], [], [], [])
    assert (data["answered_at"], data["answered_by"], data["wait"], data["ring"]) == (None, None, None, None)


def test_legs_are_all_parties_and_no_local_halves() -> None:
    """A group rung through Local channels: three phones, the one that answered and two that did not."""
    legs = call_of("06-in-ringgroup-3").legs
    assert [(leg.number, leg.disposition.value, leg.hangup_cause) for leg in legs] == [
        ("124", "no_answer", 26),
        ("126", "no_answer", 26),
        ("125", "answered", 16),
    ]
    assert all(leg.kind == "extension" and leg.rang_at for leg in legs)


def test_each_attempt_at_a_phone_is_a_leg() -> None:
    """A queue that tries an agent again shows both attempts; the one who answered stands last."""
    legs = call_of("09-in-queue-second-agent-3").legs
    assert [leg.number for leg in legs][-1] == "149"
    assert [leg.disposition.value for leg in legs][-1] == "answered"
    assert {leg.number for leg in legs[:-1]} == {"148"}


def test_the_transferers_talk_stays_in_its_leg() -> None:
    """161 talked 3 s, then 162 4 s; the call's talk is both."""
    call = call_of("16-blind-transfer-1")
    assert [(leg.number, round(leg.talk)) for leg in call.legs] == [("161", 3), ("162", 4)]
    assert round(call.talk) == 7
    assert call.transfers == [
        Transfer(type=TransferType.BLIND, at=call.transfers[0].at, by="161", to="162", result="answered")
    ]


def test_a_consulting_second_line_is_no_leg() -> None:
    """165 is one person, though it has two channels; who was consulted is a leg."""
    assert [leg.number for leg in call_of("17-attended-transfer-1").legs] == ["165", "166"]


def test_conference_and_voicemail_are_legs_of_their_kind() -> None:
    """They stand behind the phones that were rung."""
    conference: list[Leg] = call_of("21-conference-1a").legs
    assert [(leg.kind.value, leg.number, leg.disposition.value) for leg in conference] == [
        ("conference", "801", "answered")
    ]
    voicemail = call_of("15-voicemail-1").legs
    assert [(leg.kind.value, leg.number) for leg in voicemail] == [("extension", "104"), ("voicemail", "104")]


def test_results_have_the_codes_that_crms_know() -> None:
    """200 answered, 304 missed, else what was refused."""
    codes = {
        "01-in-answered-1": 200,
        "02-in-abandoned-ringing-1": 304,
        "03-in-busy-1": 486,
        "08-in-queue-abandoned-1": 304,
        "11-out-busy-1": 486,
        "13-out-failed-1": 503,
        "13-out-failed-3": 500,
        "13-out-failed-5": 484,
        "28-dnd-rejected-1": 486,
        "28-dnd-rejected-3": 603,
        "28-dnd-rejected-5": 404,
    }
    assert {case: call_of(case).sip_code for case in codes} == codes


def test_account_code_and_user_field_are_those_of_the_caller() -> None:
    """They appear from the moment the dialplan sets them."""
    call = call_of("23-recorded-3")
    assert (call.accountcode, call.userfield) == ("acc179", "crm:lead-179")


def test_instants_survive_json() -> None:
    """Read back to the millisecond."""
    call = call_of("01-in-answered-1")
    again = decode_call(encode(call))
    assert again.started_at == Instant.parse("2026-11-23T01:09:00.267Z")
    assert (again.legs[0].number, again.duration) == (call.legs[0].number, call.duration)


def test_the_interpreter_has_a_version() -> None:
    """Stored beside the revision: a new reading of the same rows is no change of the call."""
    assert INTERPRETER_VERSION >= 1
