"""The users of the API, as the config names them."""

import re
from typing import Literal

import msgspec

from celreplay.secret import Secret


class UserConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user of the API: a password, or what `celreplay hash-password` makes of it."""

    password: Secret | None = None
    sha256: Secret | None = None
    """HA1 for SHA-256 (RFC 7616 section 3.4.2)."""
    md5: Secret | None = None
    """HA1 for MD5; without it a client that knows only MD5 is not let in."""
    role: Literal["admin", "read"] = "admin"
    """`read` looks, `admin` also has calls processed."""

    def __post_init__(self) -> None:
        hashed = {"sha256": (self.sha256, 64), "md5": (self.md5, 32)}
        if (self.password is None) == all(ha1 is None for ha1, _ in hashed.values()):
            raise ValueError("give password, or sha256 and md5 as `celreplay hash-password` prints them")
        for name, (ha1, digits) in hashed.items():
            if ha1 is not None and not re.fullmatch(rf"[0-9A-Fa-f]{{{digits}}}", ha1.reveal()):
                raise ValueError(f"{name}: is not what `celreplay hash-password` prints: {digits} hex digits")

    @property
    def credential(self) -> str | dict[str, str]:
        """The password, or the HA1 of each algorithm."""
        if self.password is not None:
            return self.password.reveal()
        ha1s = {"SHA-256": self.sha256, "MD5": self.md5}
        return {algorithm: ha1.reveal() for algorithm, ha1 in ha1s.items() if ha1 is not None}
