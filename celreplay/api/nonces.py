"""Nonces that need no memory until they are used, and the count that stops a replayed request. Pure.

A nonce is the time it was made, random bytes, and an HMAC over both with this process's key (RFC 7616 §5.4):
it can be checked without having been stored. Only a nonce used with a right password is remembered.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import struct
from collections import OrderedDict

import msgspec

from celreplay.times import SECOND

_TIME = struct.Struct(">q")
_RANDOM_BYTES = 8
_MAC_BYTES = 16
_LENGTH = _TIME.size + _RANDOM_BYTES + _MAC_BYTES
_WINDOW = 64
"""Requests of one nonce may overtake each other by this many; what is further behind counts as used."""


class _Use(msgspec.Struct):
    """The counts seen with one nonce: the highest, and a bit for each of the `_WINDOW` up to it."""

    made_at: int
    highest: int = 0
    seen: int = 0


class Nonces:
    """Makes nonces and accepts each count of each nonce once."""

    def __init__(self, key: bytes, *, lifetime: float, capacity: int) -> None:
        self._key = key
        self._lifetime = int(lifetime * SECOND)
        self._capacity = capacity
        self._uses: OrderedDict[str, _Use] = OrderedDict()
        self._forgotten_until = -1
        """Nonces made up to here are refused: what was known of some of them has been dropped."""

    def make(self, now: int) -> str:
        """A fresh nonce."""
        body = _TIME.pack(now) + secrets.token_bytes(_RANDOM_BYTES)
        return base64.urlsafe_b64encode(body + self._mac(body)).decode("ascii")

    def use(self, nonce: str, count: int, now: int) -> bool:
        """Use a count of a nonce up; False when the nonce is not ours, too old, or the count was used."""
        made_at = self._made_at(nonce)
        if made_at is None or not made_at <= now < made_at + self._lifetime:
            return False
        use = self._uses.get(nonce)
        if use is None:
            if made_at <= self._forgotten_until:
                return False
            use = self._uses[nonce] = _Use(made_at)
            self._drop_oldest(now)
        return _count_once(use, count)

    def __len__(self) -> int:
        return len(self._uses)

    def _made_at(self, nonce: str) -> int | None:
        try:
            raw = base64.b64decode(nonce.encode("ascii"), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if len(raw) != _LENGTH or not hmac.compare_digest(mac, self._mac(body)):
            return None
        made_at: int = _TIME.unpack_from(body)[0]
        return made_at

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)[:_MAC_BYTES]

    def _drop_oldest(self, now: int) -> None:
        """Forget the longest known while it has expired or there are too many; what is as old is refused from
        then on, also should the host's clock be set back."""
        while self._uses:
            nonce, use = next(iter(self._uses.items()))
            if use.made_at + self._lifetime > now and len(self._uses) <= self._capacity:
                return
            del self._uses[nonce]
            self._forgotten_until = max(self._forgotten_until, use.made_at)


def _count_once(use: _Use, count: int) -> bool:
    if count > use.highest:
        use.seen = (use.seen << min(count - use.highest, _WINDOW) | 1) & ((1 << _WINDOW) - 1)
        use.highest = count
        return True
    bit = 1 << (use.highest - count) if use.highest - count < _WINDOW else 0
    if not bit or use.seen & bit:
        return False
    use.seen |= bit
    return True
