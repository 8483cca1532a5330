"""The users of the HTTP door, as digests: HA1 = H(user:realm:password) of RFC 7616 §3.4.2. Pure.

An HA1 is as good as the password for this realm and algorithm, so it is a secret too.
"""

import hashlib
from collections.abc import Callable, Mapping
from enum import StrEnum

REALM = "celreplay"
"""Fixed: an HA1 is bound to the realm, so changing it would make every stored HA1 worthless."""


class Algorithm(StrEnum):
    """The hash algorithms offered to clients."""

    SHA_256 = "SHA-256"
    MD5 = "MD5"
    """For curl before 7.57 (FreePBX hosts with CentOS 7 have 7.29), which knows no other."""


Credential = str | Mapping[str, str]
"""A plain password, or ready HA1s: algorithm → 64 or 32 hex digits."""

_HASHES: Mapping[Algorithm, Callable[[bytes], str]] = {
    Algorithm.SHA_256: lambda data: hashlib.sha256(data).hexdigest(),
    # the protocol's hash, not ours to choose; as `usedforsecurity=False` it works on hosts in FIPS mode too
    Algorithm.MD5: lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
}


def digest(algorithm: Algorithm, *parts: str) -> str:
    """H(part:part:…) in lower-case hex."""
    return _HASHES[algorithm](":".join(parts).encode("utf-8", "surrogateescape"))


def ha1s_of_password(user: str, password: str) -> dict[Algorithm, str]:
    """The HA1 of every algorithm, as `hash-password` prints them."""
    return {algorithm: digest(algorithm, user, REALM, password) for algorithm in Algorithm}


def ha1s_of(user: str, credential: Credential) -> dict[Algorithm, str]:
    """A credential as HA1s. Raises ValueError for a user name with a colon (RFC 7616 §3.4.2), an empty
    password, an unknown algorithm and an HA1 that is none."""
    if not user or ":" in user:
        raise ValueError(f"a user name must not be empty nor hold a colon: {user!r}")
    if isinstance(credential, str):
        if not credential:
            raise ValueError(f"the password of {user} is empty")
        return ha1s_of_password(user, credential)
    return {Algorithm(name): _checked(user, Algorithm(name), ha1) for name, ha1 in credential.items()}


def _checked(user: str, algorithm: Algorithm, ha1: str) -> str:
    if len(ha1) != len(digest(algorithm, "")) or set(ha1.lower()) - set("0123456789abcdef"):
        raise ValueError(f"the {algorithm} HA1 of {user} is no HA1; `celreplay hash-password` prints it")
    return ha1.lower()
