"""Values of the configuration that are written as text: durations, sizes, zones, patterns.

Each has `parse(text)`, which raises ValueError with a sentence for the admin.
"""

import ipaddress
import math
import re
import zoneinfo
from collections.abc import Collection
from typing import Self

from celreplay.secret import Secret

__all__ = ["Duration", "FilePath", "Glob", "Network", "Regex", "Secret", "Size", "ZoneName", "is_loopback"]

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_SECONDS = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604_800.0),
}
_LONGEST = 100 * 365 * 86_400.0  # beyond it an instant in microseconds would leave 64 bits sooner or later
_BYTES = {"": 1, "b": 1, "byte": 1, "bytes": 1}
for _power, _letter in enumerate("kmgt", start=1):
    _BYTES |= {_letter: 1000**_power, f"{_letter}b": 1000**_power, f"{_letter}ib": 1024**_power}


class Duration(float):
    """Seconds. Written as `500ms`, `15 min`, `1h 30m`, `2 days`, or a plain number of seconds."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a duration; zero is one, a negative or an endless one is not."""
        parts = _parts_of(text)
        if not parts or (len(parts) > 1 and any(not unit for _, unit in parts)):
            raise ValueError(f"{text!r} is no duration: write it like 500ms, 20 s, 15 min, 8h or 2 days")
        for _, unit in parts:
            if (unit or "s").lower() not in _SECONDS:
                raise ValueError(f"{unit!r} is no unit of time: use ms, s, min, h, days or weeks")
        seconds = math.fsum(float(number) * _SECONDS[(unit or "s").lower()] for number, unit in parts)
        if seconds > _LONGEST:
            raise ValueError(f"{text!r} is longer than 100 years")
        return cls(seconds)

    def __str__(self) -> str:
        """The form of the file, in the largest unit that keeps it whole: `15 min`."""
        for unit, size in (("days", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
            if self and self % size == 0 and (unit != "days" or self > size):
                return f"{int(self // size)} {unit}"
        return f"{self * 1000:.12g} ms" if 0 < self < 1 else f"{float(self):.12g} s"


class Size(int):
    """Bytes. Written as `10 MB` (1000²), `1 GiB` (1024³), or a plain number of bytes."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a size; a fraction of a byte is cut off."""
        parts = _parts_of(text)
        if len(parts) != 1:
            raise ValueError(f"{text!r} is no size: write it like 512 kB, 10 MB or 1 GiB")
        [(number, unit)] = parts
        if unit.lower() not in _BYTES:
            raise ValueError(f"{unit!r} is no unit of size: use kB, MB, GB, KiB, MiB or GiB")
        bytes_ = float(number) * _BYTES[unit.lower()]
        if bytes_ >= 2**63:
            raise ValueError(f"{text!r} is larger than any disk")
        return cls(bytes_)


def _parts_of(text: str) -> list[tuple[str, str]]:
    """`1h 30m` → [("1", "h"), ("30", "m")]; empty where anything else stands in it."""
    text = text.strip()
    matches = list(_AMOUNT.finditer(text))
    return [(match[1], match[2]) for match in matches] if _AMOUNT.sub("", text) == "" else []


class ZoneName(str):
    """An IANA time zone, `Europe/Berlin`; empty = the host's."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """A zone that this host knows."""
        try:
            zoneinfo.ZoneInfo(text or "UTC")
        except (ValueError, OSError, KeyError):
            raise ValueError(
                f"{text!r} is no time zone known here: use an IANA name such as Europe/Berlin"
            ) from None
        return cls(text)


class Network(str):
    """Addresses: `192.0.2.0/24`, `2001:db8::/32`, or a single one."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """A network, or an address."""
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{text!r} is no network: write it like 192.0.2.0/24 or 192.0.2.7") from None
        return cls(text)

    def __contains__(self, address: object) -> bool:
        """True for an address of `ipaddress` within it."""
        return address in ipaddress.ip_network(self, strict=False)


class FilePath(str):
    """A file, by its absolute path."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """An absolute path; whether the file is there is seen when it is used."""
        if not text.startswith("/") or "\0" in text:
            raise ValueError(f"{text!r} is no absolute path")
        return cls(text)


class Glob(str):
    """A shell pattern of names, `trunk-*`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """A pattern that can match something."""
        if not text.strip() or text != text.strip():
            raise ValueError(f"{text!r} is empty or has blanks around it")
        if re.search(r"\[(?!!?\]?[^\]]*\])", text):
            raise ValueError(f"{text!r} has a `[` without `]`")
        return cls(text)


class Regex(str):
    """A regular expression in Python's syntax."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """An expression that compiles."""
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"{text!r} is no regular expression: {error}") from None
        return cls(text)


def is_within(text: str, networks: Collection[Network]) -> bool:
    """True for an address of this host, or in one of the networks."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or any(address in network for network in networks)


def is_loopback(host: str) -> bool:
    """True for an address that only this machine reaches."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
