"""What a dialplan says by events of its own, in all forms that a table may hold them."""

import json

import pytest
from captures_io import events_of

from celreplay.calls.interpret import calls_of
from celreplay.calls.model import Call
from celreplay.calls.numbering import PbxRules
from celreplay.cel.decode import RowDecoder
from celreplay.cel.events import CelEvent
from celreplay.cel.eventtime import EventTimes

CASE = "01-in-answered-1"
FIELDS = ("eventtype", "eventtime", "eventenum", "userdeftype", "channame", "uniqueid", "linkedid", "extra")
FORMS = {
    "own name in eventtype": ("{name}", "", "{name}"),
    "own name in eventtype alone": ("{name}", "", ""),
    "show_user_defined": ("USER_DEFINED", "", "{name}"),
    "numeric": ("13", "", "{name}"),
    "eventenum": ("{name}", "USER_DEFINED", ""),
}


def row(name: str, text: str, form: str = "show_user_defined", extra: str | None = None) -> CelEvent:
    """A user-defined event on the caller's channel, after its fourth row."""
    before = events_of(CASE, "sqlite")[3]
    eventtype, eventenum, userdeftype = (part.format(name=name) for part in FORMS[form])
    written = json.dumps({"extra": text}) if extra is None else extra
    caller = events_of(CASE, "sqlite")[0]
    time = f"{before.eventtime / 1e6:.6f}"
    decode = RowDecoder(FIELDS, EventTimes())
    return decode(
        (eventtype, time, eventenum, userdeftype, caller.channame, caller.uniqueid, caller.linkedid, written)
    )


def call_with(*rows: CelEvent, **meanings: str) -> Call:
    """The captured call with user-defined events in it."""
    events = events_of(CASE, "sqlite")
    numbered = [*events[:4], *rows, *events[4:]]
    (call,) = calls_of(numbered, PbxRules(system="pbx", user_events=meanings))
    return call


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *((name, form) for name in ("CRM_ROUTE", "Route to manager") for form in FORMS),
        *(("ANSWER", form) for form in FORMS if not form.endswith("alone")),  # that is Asterisk's own ANSWER
    ],
)
def test_an_event_is_known_in_every_form_of_the_table(name: str, form: str) -> None:
    """The name stands in eventtype, or in userdeftype beside USER_DEFINED or 13, or eventenum tells."""
    call = call_with(row(name, "101", form), **{name: "responsible"})
    assert call.custom == {"responsible": "101"}


def test_events_that_the_config_does_not_name_are_passed_over() -> None:
    """Without a map, and for other names: the call is as if they were not there."""
    plain = call_with()
    told = call_with(row("CRM_ROUTE", "101"), row("DEBUG", "here"))
    assert (told.custom, told.recordings, told.warnings) == ({}, plain.recordings, plain.warnings)
    assert call_with(row("DEBUG", "here"), CRM_ROUTE="responsible").custom == {}


def test_a_recording_goes_into_the_recordings() -> None:
    """Whatever its ending, in time order, and each file once."""
    call = call_with(
        row("REC", "/var/spool/asterisk/monitor/one"),
        row("REC", "2026/11/23/two.wav"),
        row("REC", "two.wav"),
        REC="recording",
    )
    assert call.recordings == ["/var/spool/asterisk/monitor/one", "2026/11/23/two.wav"]
    assert call.custom == {}


def test_the_text_of_another_field_is_no_recording() -> None:
    """A note that ends like a sound file is a note."""
    call = call_with(row("NOTE", "see greeting.wav"), NOTE="note")
    assert (call.custom, call.recordings) == ({"note": "see greeting.wav"}, [])


def test_the_last_event_of_a_field_counts_and_notes_are_put_together() -> None:
    """A dialplan that decides anew says so again; notes tell a story."""
    call = call_with(
        row("ROUTE", "101"),
        row("NOTE", "VIP"),
        row("ROUTE", "102"),
        row("NOTE", 'said "привет"'),
        row("ROUTE", ""),
        ROUTE="responsible",
        NOTE="note",
    )
    assert call.custom == {"responsible": "102", "note": 'VIP\nsaid "привет"'}


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ('{"responsible": "101", "score": 3}', "101"),
        ('{"responsible": 101}', "101"),
        ('{"score": 3}', '{"score": 3}'),
        ('{"responsible": ["a"]}', '{"responsible": ["a"]}'),
        ('{"responsible": tru', '{"responsible": tru'),
    ],
)
def test_json_in_json_gives_the_entry_of_the_fields_name(text: str, given: str) -> None:
    """Another object, or one that is broken, stays the text that it is."""
    assert call_with(row("ROUTE", text), ROUTE="responsible").custom == {"responsible": given}


@pytest.mark.parametrize(
    ("extra", "custom"),
    [
        ("101", {"responsible": "101"}),
        ('{"extra":"10', {}),
        ("{}", {}),
        ("", {}),
        ('{"extra":["a"]}', {}),
    ],
)
def test_an_extra_of_another_form_breaks_nothing(extra: str, custom: dict[str, str]) -> None:
    """Plain text is the text; what is cut or of another kind says nothing."""
    assert call_with(row("ROUTE", "", extra=extra), ROUTE="responsible").custom == custom


def test_an_event_of_another_call_says_nothing() -> None:
    """Two customers joined are two calls: each has what was said on its own channels."""
    events = events_of("26-merged-1a", "sqlite")
    rules = PbxRules(system="pbx", user_events={"ROUTE": "responsible"})
    first, second = calls_of(events, rules)
    said = row("ROUTE", "101")
    ours = {"uniqueid": second.linkedid, "linkedid": second.linkedid, "channame": second.caller.channel or ""}
    texts = {name: getattr(said, name) for name in CelEvent.__struct_fields__}
    told = CelEvent(**(texts | ours | {"eventtime": events[-1].eventtime}))
    again = calls_of([*events, told], rules)
    assert [call.custom for call in (first, *again)] == [{}, {}, {"responsible": "101"}]


def test_the_revision_does_not_depend_on_the_map() -> None:
    """The same rows give the same revision, whatever the config makes of them."""
    rows = (row("ROUTE", "101"), row("REC", "one.wav"))
    revisions = {
        call_with(*rows, **meanings).revision
        for meanings in ({}, {"ROUTE": "responsible"}, {"ROUTE": "note", "REC": "recording"})
    }
    assert len(revisions) == 1
