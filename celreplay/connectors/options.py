"""The options that every connector has: how deliveries to it are made."""

from typing import Annotated, Literal

import msgspec

from celreplay.units import Duration

STANDARD_SCHEDULE = tuple(
    Duration(seconds) for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""The sample schedule of Standard Webhooks 1.0.0 ("Deliverability and reliability"): at once, then these
waits; ten attempts within 75 h 35 min 5 s, jitter apart."""


class DeliveryOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of `connectors: NAME:`, whatever its type."""

    type: str
    timeout: Annotated[Duration, msgspec.Meta(gt=0, le=300)] = Duration(20)
    """For one whole HTTP exchange. Connecting has at most 10 s of it."""
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    """How many calls are sent at once; never two of one outside number."""
    rate: Annotated[float, msgspec.Meta(gt=0, le=10_000)] | None = None
    """Requests a second, of all workers together; none: as many as the workers make."""
    burst: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1
    """After a pause, so many requests may leave at once before `rate` holds them."""
    schedule: tuple[Duration, ...] = STANDARD_SCHEDULE
    """The wait after the first, second, … failed attempt. After one more failure the delivery is dead."""
    jitter: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    """Each wait is made longer by a random part of it, at most this one."""
    on_uncertain: Literal["resend", "park"] = "resend"
    """When it is not known whether a call arrived and the CRM cannot be asked: send it again under the same
    identity, or leave it to a person."""
    on_change: Literal["resend", "ignore"] = "ignore"
    """When rows of a call come after it was delivered: send it again as an update, or only tell it."""
    probe_after: Duration = Duration(10)
    """What a CRM may take to show a call it has taken. Nothing uncertain is asked about, or sent again,
    before the attempt's start + `timeout` + this."""
