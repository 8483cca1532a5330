"""What a dialplan says by events of its own (CELGenUserEvent). Pure.

Asterisk writes `CELGenUserEvent(NAME,text)` as `extra` = `{"extra":"text"}`; a text that is JSON stands in it
as a text too. Another writer may have put the text there plain.
"""

from collections.abc import Iterator, Mapping

import msgspec

from celreplay.calls.legs import Story
from celreplay.cel.events import CelEvent
from celreplay.cel.fold import fields_of, text_of

RECORDING = "recording"
NOTE = "note"
_decode_json = msgspec.json.Decoder().decode


def user_events_of(story: Story) -> Iterator[tuple[int, CelEvent]]:
    """The user-defined events on the call's channels, each with its seq, in time order."""
    for seq, event in story.scene.marks:
        if (event.user_defined or event.eventtype == "USER_DEFINED") and event.uniqueid in story.ids:
            yield seq, event


def custom_of(story: Story, meanings: Mapping[str, str]) -> dict[str, str]:
    """Field → text, by `meanings`: name of an event → field. The last event of a field counts; notes are put
    together, one per line. Other events say nothing here."""
    found: dict[str, str] = {}
    for _, event in user_events_of(story):
        field = meanings.get(event.eventtype)
        text = said(event, field) if field and field != RECORDING else ""
        if field and text:
            found[field] = f"{found[field]}\n{text}" if field == NOTE and field in found else text
    return found


def said(event: CelEvent, field: str) -> str:
    """The event's text. Of a JSON object the entry with the field's name, where it has one."""
    text = text_of(fields_of(event), "extra").strip()
    if not text and event.extra.lstrip()[:1] not in ("", "{"):
        return event.extra.strip()
    if text[:1] != "{":
        return text
    try:
        value = _decode_json(text).get(field)
    except msgspec.DecodeError:
        return text
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else text
