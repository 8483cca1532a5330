"""The seam of the CRMs: a connector says which request comes next and reads the answer; it does no I/O.

`connectors/http.py` alone drives the generators over aiohttp, so that a connector is tested with a list of
responses, and every connector meets time-outs, cut connections and redirects in the same way.
"""

from collections.abc import Generator, Mapping, MutableMapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from celreplay.calls.model import Call
from celreplay.times import Instant


class OutcomeKind(StrEnum):
    """What the answer to one call tells to do next."""

    OK = "ok"
    RETRY = "retry"
    """This call failed; it is tried again by the schedule."""
    THROTTLE = "throttle"
    """The CRM is busy or away: hold the connector, burn no attempt."""
    AUTH = "auth"
    """The credentials are refused: hold the connector, burn no attempt, tell the admin."""
    CONFIG = "config"
    """The address or a setting is wrong: hold the connector, burn no attempt, tell the admin."""
    PERMANENT = "permanent"
    """This call will never be taken: dead, with the reason."""
    UNCERTAIN = "uncertain"
    """The request left, the answer did not come: it may have been taken."""


class Probe(StrEnum):
    """What the CRM says when it is asked whether it has a call."""

    DONE = "done"
    ABSENT = "absent"
    UNKNOWN = "unknown"
    """The CRM cannot be asked, or its answer says nothing."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One call for one connector, as a connector sees it."""

    system: str
    connector: str
    linkedid: str
    part: str
    """`call`, `recording:N`, or `call:N` for a further record made on purpose."""
    payload: bytes
    """What `prepare` made when the delivery was queued; sent unchanged in each retry."""
    checkpoint: bytes = b""
    """The last stored checkpoint; empty at the beginning."""
    attempt: int = 1
    """Counted from 1."""
    forced: bool = False
    """Delivered before, and sent again: an admin asked for it, or the call has changed since."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request. `timeout` covers the whole exchange, seconds."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = b""
    timeout: float = 20.0
    status_suffices: bool = False
    """The status alone decides: an answer whose body is cut, or never ends, still counts as answered."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP answer; header names are lower case. `body` is cut at the driver's limit."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Yielded instead of a request: stored before the generator goes on, for the delivery at `index`."""

    index: int = 0
    data: bytes


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one attempt of one delivery."""

    kind: OutcomeKind
    reason: str
    """For people, without secrets: `answered 503 Service Unavailable`, `connection refused`."""
    http_status: int | None = None
    retry_after: float | None = None
    """Seconds the CRM asked to wait."""
    answer: bytes = b""
    """The first 1 KB of the answer's body."""


ConnectorState = MutableMapping[str, str]
"""Durable key-value of one connector (rotating tokens, user map, vendor budgets). Changes are stored before
the next request leaves; one writer at a time over all workers."""

NOT_BEFORE = "not_before"
"""Key in it: an instant in digits (microseconds since the epoch, UTC) before which no request leaves, at most
a day ahead. A connector sets it when an answer says that the vendor's budget is used up. Nothing is
claimed until then, no attempt is burnt, and there is nothing to clear."""

Exchange = Generator[Request | Checkpoint, Response | None, Sequence[Outcome]]
"""Yields requests (sent the Response) and checkpoints (sent None); returns one outcome per delivery."""
Probing = Generator[Request, Response | None, Probe | Outcome]
"""Yields requests (sent the Response); returns what the CRM said, or an Outcome where it could not be asked
now (throttled, credentials refused): the connector is held then, and the question comes again."""


class Connector(Protocol):
    """The adapter of one CRM. What the network does (refused, cut, timed out) is the driver's: it closes the
    generator and makes the outcome itself."""

    name: str
    """The key in `connectors:` of the config."""
    batch_size: int
    """How many deliveries one exchange takes; 1 = plain."""
    can_probe: bool
    """False where the CRM cannot be asked; the policy `on_uncertain` decides then."""

    def prepare(self, call: Call, part: str, *, update: bool = False) -> bytes:
        """The payload to store for a call. `update`: the CRM has got the call, as it was before. Pure; raises
        nothing for a valid Call."""
        ...

    def exchange(self, deliveries: Sequence[Delivery], state: ConnectorState, now: Instant) -> Exchange:
        """Send the deliveries (one, or up to `batch_size`)."""
        ...

    def probe(self, delivery: Delivery, state: ConnectorState, now: Instant) -> Probing:
        """Ask whether the CRM has the delivery already."""
        ...
