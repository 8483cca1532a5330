"""How a connector stands at one moment, for whoever watches."""

from collections.abc import Mapping

import msgspec

from celreplay.connectors.base import OutcomeKind
from celreplay.store.base import Hold
from celreplay.times import Instant


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """Known to the process that delivers, and to no other."""

    workers: int
    in_flight: int
    """Exchanges under way."""
    waiting: int
    """Requests of these that wait for a permit."""
    tokens: float | None
    """Requests that may leave at once; None where the connector has no `rate`."""
    last_minute: int
    """Requests that left in the last 60 s."""
    not_before: Instant | None
    """Until when the vendor wants no request."""
    hold: Hold | None
    attempts: Mapping[OutcomeKind, int]
    """Deliveries sent or asked about since the start, by what came of it."""
