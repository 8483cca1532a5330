"""The PBX's time zone: named in the config, or the host's."""

import os
from pathlib import Path
from zoneinfo import ZoneInfo

_LOCALTIME = Path("/etc/localtime")


def zone_named(name: str) -> ZoneInfo:
    """The IANA zone of that name; empty = the host's (`$TZ`, else localtime(5), else UTC)."""
    if not name:
        name = os.environ.get("TZ", "").lstrip(":")
    if name:
        return ZoneInfo(name)
    if not _LOCALTIME.exists():
        return ZoneInfo("UTC")
    _, found, key = str(_LOCALTIME.resolve()).partition("/zoneinfo/")
    if found:
        return ZoneInfo(key)
    with _LOCALTIME.open("rb") as file:
        return ZoneInfo.from_file(file, key="localtime")
