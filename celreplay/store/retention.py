"""What a page of removing old things came to."""

import msgspec


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """What one page has removed."""

    deliveries: int = 0
    """Shrunk to their keys."""
    calls: int = 0
    replays: int = 0
    items: int = 0
    """Lines of what replays had found."""
    place: tuple[int, int] = (-(2**62), 0)
    """Calls up to here have been looked at: their beginning and number."""
    done: bool = False
    """Nothing more is old enough."""
