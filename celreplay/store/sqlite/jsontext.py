"""Values that are kept as JSON text in one column."""

import msgspec

from celreplay.times import Instant


def _plain(value: object) -> int:
    if isinstance(value, Instant):
        return int(value)
    raise NotImplementedError(f"no JSON form for {type(value).__name__}")


_encode = msgspec.json.Encoder(enc_hook=_plain).encode


def json_text(value: object) -> str:
    """The value as JSON; an Instant is its number of microseconds."""
    return _encode(value).decode()
