"""What the doctor says."""

from enum import IntEnum

import msgspec


class Level(IntEnum):
    """How bad it is; the exit code of the command is that of the worst, as monitoring plugins have it."""

    OK = 0
    WARNING = 1
    """Calls arrive, but something is missing in them, or will go wrong."""
    ERROR = 2
    """Calls do not arrive, or not as they were."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line."""

    about: str
    """What was looked at: `events`, `clock`, `connector crm`, …"""
    level: Level
    text: str
    remedy: str = ""
    """What to do; empty where all is well."""


def ok(about: str, text: str) -> Finding:
    """All is well."""
    return Finding(about=about, level=Level.OK, text=text)


def warning(about: str, text: str, remedy: str) -> Finding:
    """Something to be mended some day."""
    return Finding(about=about, level=Level.WARNING, text=text, remedy=remedy)


def error(about: str, text: str, remedy: str) -> Finding:
    """Something to be mended now."""
    return Finding(about=about, level=Level.ERROR, text=text, remedy=remedy)
