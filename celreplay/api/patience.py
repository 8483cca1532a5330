"""How long an address that gave a wrong password has to wait before it may try again. Pure.

Failures count per (address, user) and, more leniently, per address; never per user alone, else anyone could
keep the admin out from anywhere. It is a delay that grows and is forgotten again, no lock-out.
"""

import ipaddress
from collections import OrderedDict

import msgspec

from celreplay.times import SECOND

FORGET_AFTER = 900.0
"""Seconds without a failure after which an address starts anew."""


class Growth(msgspec.Struct, frozen=True):
    """`free` failures cost nothing; the next a second, each further one double, up to `longest` seconds."""

    free: int
    longest: float

    def delay(self, failures: int) -> float:
        """Seconds to wait after the n-th failure."""
        over = failures - self.free
        return 0.0 if over <= 0 else min(2.0 ** min(over - 1, 16), self.longest)


PER_USER = Growth(free=5, longest=60.0)
PER_ADDRESS = Growth(free=20, longest=5.0)
"""Short at its longest: other people may sit behind the same address."""


class _Failures(msgspec.Struct):
    count: int
    last_at: int
    open_at: int


class Patience:
    """Counts failures of the latest `capacity` addresses and users."""

    def __init__(self, *, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._failures: OrderedDict[tuple[str, str | None], _Failures] = OrderedDict()

    def wait(self, address: str, user: str, now: int) -> float:
        """Seconds until this address may try this user; 0 when it may now."""
        place = _place(address)
        return max(self._wait((place, None), now), self._wait((place, user), now))

    def failed(self, address: str, user: str, now: int) -> None:
        """A wrong password, or a user that does not exist."""
        place = _place(address)
        self._count((place, None), PER_ADDRESS, now)
        self._count((place, user), PER_USER, now)

    def succeeded(self, address: str, user: str) -> None:
        """Forget the failures of this address with this user; those with other users stay."""
        self._failures.pop((_place(address), user), None)

    def __len__(self) -> int:
        return len(self._failures)

    def _wait(self, key: tuple[str, str | None], now: int) -> float:
        known = self._failures.get(key)
        wait = max(0, known.open_at - now) / SECOND if known else 0.0
        return min(wait, PER_USER.longest)  # the host's clock may have been set back

    def _count(self, key: tuple[str, str | None], growth: Growth, now: int) -> None:
        known = self._failures.get(key)
        fresh = known is None or now - known.last_at > FORGET_AFTER * SECOND
        count = 1 if known is None or fresh else known.count + 1
        self._failures[key] = _Failures(count, now, now + int(growth.delay(count) * SECOND))
        self._failures.move_to_end(key)
        while len(self._failures) > self._capacity:
            self._failures.popitem(last=False)


def _place(address: str) -> str:
    """The address; of IPv6 its /64, because a host has that many addresses to itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:  # noqa: PLR2004 - IPv6
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
