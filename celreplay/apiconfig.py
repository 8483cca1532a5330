"""`api:` of the config: where the API listens, and who may use it."""

import re
from typing import Annotated, Literal

import msgspec

from celreplay.secret import Secret
from celreplay.units import FilePath, Network, is_loopback


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


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`api.tls:`"""

    certificate: FilePath
    """PEM: the certificate, then those that lead to the CA."""
    key: FilePath
    """PEM, without a passphrase."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8078
    """0 = any free one."""


class ApiConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`api:` the door over HTTP."""

    host: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8077
    """0 = any free one."""
    plain: bool = True
    """Plain HTTP on `port`; false: TLS only."""
    tls: TlsConfig | None = None
    """TLS on a port of its own."""
    allow: tuple[Network, ...] = ()
    """Networks that are let in, this host apart; none: all."""
    metrics: tuple[Network, ...] = ()
    """Networks that may read `/metrics`, beside this host."""
    users: dict[str, Secret | UserConfig] = {}
    """User → password, or more of them."""
    digest_algorithms: tuple[Literal["SHA-256", "MD5"], ...] = ("SHA-256", "MD5")
    """In the order of the challenges: curl takes the first; before 7.57 it knows only MD5."""

    @property
    def accounts(self) -> dict[str, UserConfig]:
        """All users in the long form."""
        users = self.users.items()
        return {name: UserConfig(password=user) if isinstance(user, Secret) else user for name, user in users}

    def __post_init__(self) -> None:
        if not self.plain and self.tls is None:
            raise ValueError("plain: without it there must be tls, else nothing answers")
        if not is_loopback(self.host) and not self.users:
            raise ValueError(
                f"users: host {self.host} is reachable from other machines: add `users: {{NAME: password}}`"
            )
        if wrong := [name for name in self.users if not re.fullmatch(r'[^\s:"\\]{1,64}', name)]:
            raise ValueError(
                f'the user name {wrong[0]!r} is empty, too long, or has a blank, `:`, `"` or `\\` in it'
            )
        if len(set(self.digest_algorithms)) != len(self.digest_algorithms) or not self.digest_algorithms:
            raise ValueError("digest_algorithms: must name SHA-256, MD5, or both, each once")
