"""Recordings that rows name: MixMonitor, Monitor, and user events of the dialplan. Pure."""

from celreplay.calls.legs import Story
from celreplay.cel.events import CelEvent
from celreplay.cel.fold import fields_of, text_of

_RECORDERS = ("mixmonitor", "monitor", "record")
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


def recordings_of(story: Story) -> list[str]:
    """Paths as found, in time order, each file once: a user event often names it again without its folder."""
    found: list[tuple[int, str]] = [
        (app.seq, path)
        for channel in story.channels
        for app in channel.apps
        if app.name in _RECORDERS and (path := _path(app.name, app.data))
    ]
    known = {path.rpartition("/")[2] for _, path in found}
    for seq, event in story.scene.marks:
        if event.uniqueid in story.ids and _is_user_event(event):
            text = text_of(fields_of(event), "extra").strip()
            name = text.rpartition("/")[2]
            if name.lower().endswith(_SOUND_FILES) and name not in known:
                known.add(name)
                found.append((seq, text))
    return list(dict.fromkeys(path for _, path in sorted(found)))


def _path(recorder: str, data: str) -> str:
    """The file in the application's data: `path.wav,options,command`, of Monitor `format,path`."""
    parts = data.split(",")
    if recorder == "monitor":
        return f"{parts[1]}.{parts[0] or 'wav'}" if len(parts) > 1 and parts[1] else ""
    return parts[0].strip()


def _is_user_event(event: CelEvent) -> bool:
    return event.user_defined or event.eventtype == "USER_DEFINED"
