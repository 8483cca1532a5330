"""Recordings that rows name: MixMonitor, Monitor, and user events of the dialplan. Pure."""

from collections.abc import Iterator, Mapping

from celreplay.calls.legs import Story
from celreplay.calls.userevents import RECORDING, said, user_events_of

RECORDERS = ("mixmonitor", "monitor", "record")
_SOUND_FILES = (
    ".wav",
    ".wav49",
    ".mp3",
    ".gsm",
    ".ogg",
    ".opus",
    ".ulaw",
    ".alaw",
    ".sln",
    ".sln16",
    ".g722",
)


def recordings_of(story: Story, meanings: Mapping[str, str]) -> list[str]:
    """Paths as found, in time order, each file once: a user event often names it again without its folder.

    A user event that `meanings` (its name → its field) does not know counts if its text is a sound file."""
    found: list[tuple[int, str]] = [
        (app.seq, path)
        for channel in story.channels
        for app in channel.apps
        if app.name in RECORDERS and (path := _path(app.name, app.data))
    ]
    known = {path.rpartition("/")[2] for _, path in found}
    for seq, text in files_said(story, meanings):
        name = text.rpartition("/")[2]
        if name not in known:
            known.add(name)
            found.append((seq, text))
    return list(dict.fromkeys(path for _, path in sorted(found)))


def files_said(story: Story, meanings: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """The files that user events name, each with its seq."""
    for seq, event in user_events_of(story):
        field = meanings.get(event.eventtype, "")
        text = said(event, RECORDING)
        name = text.rpartition("/")[2]
        if name and (field == RECORDING or (not field and is_sound_file(name))):
            yield seq, text


def is_sound_file(name: str) -> bool:
    """By its ending."""
    return name.lower().endswith(_SOUND_FILES)


def _path(recorder: str, data: str) -> str:
    """The file in the application's data: `path.wav,options,command`, of Monitor `format,path`."""
    parts = data.split(",")
    if recorder == "monitor":
        return f"{parts[1]}.{parts[0] or 'wav'}" if len(parts) > 1 and parts[1] else ""
    return parts[0].strip()
