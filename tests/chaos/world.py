"""What a run left behind, as the judge sees it: the CRM's ledger, the rows written, what was broken and when."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Line = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One delivery as it arrived at the CRM. Moments are UNIX seconds."""

    n: str
    id: str
    linkedid: str
    started_at: str
    arrived: float
    body: str = ""
    revision: str = ""
    fault: str = "well"
    forced: bool = False
    status: int | None = None
    """None: no answer has left."""
    answered: float | None = None
    committed: float | None = None


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call as the PBX wrote it."""

    linkedid: str
    others: tuple[str, ...] = ()
    ended: float
    """When its last row was in the table."""
    number: str = ""
    """The party outside; empty: none, or withheld. Its calls have an order."""
    late: float = 0.0
    """Rows of it were seen behind later ones: seconds from its end to the moment at which all were. Else 0."""
    kind: str = ""
    optional: bool = False
    history: bool = False
    """Written before the first start: nobody asked for it but a replay."""


@dataclass(frozen=True)
class Event:
    """Something done to the system, or seen of it: `kill`, `term`, `ready`, `disk-full`, `replay` …"""

    t: float
    what: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything about one scenario that the judge knows."""

    requests: Sequence[Request]
    """In order of arrival."""
    calls: Sequence[Call]
    events: Sequence[Event]
    forged: int = 0
    probeable: bool = False
    id_of: Mapping[str, str] = field(default_factory=dict)
    """linkedid → webhook-id, by the rule in docs/connectors/webhook.md. Empty: not checked."""
    revision_of: Mapping[str, str] = field(default_factory=dict)
    """linkedid → revision of the call read from all of its rows (`celreplay calls --all`). Empty: not checked."""
    explained: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """linkedid → its delivery as `celreplay explain` tells it; only of calls in question."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """state → how many, as `celreplay status` tells at the end."""
    gap: float = 2.0
    """Seconds between the ends of two calls from which on the first one was queued no later than the second."""
    grace: float = 0.5
    """`cel.grace`, seconds."""
    settle: float = 2.0
    """Seconds that the daemon may need to write down an answer: killed within them, it may have forgotten it."""
    lag: float = 0.4
    """Seconds after its death until which what the daemon had sent may be read by the CRM. No start is so fast."""
    timeout: float = 0.0
    """Seconds one exchange may take."""
    workers: int = 4

    def by_id(self) -> dict[str, list[Request]]:
        """webhook-id → its requests in order of arrival."""
        found: dict[str, list[Request]] = defaultdict(list)
        for request in self.requests:
            found[request.id].append(request)
        return dict(found)

    def moments(self, *what: str) -> list[float]:
        return [event.t for event in self.events if event.what in what]

    def spans(self, begin: str, end: str) -> list[tuple[float, float]]:
        """(from, until) of what lasts; without an end, for ever."""
        return list(zip(self.moments(begin), [*self.moments(end), float("inf")], strict=False))


def requests_of(lines: Iterable[Line]) -> list[Request]:
    """The CRM's ledger put together: one request for each arrival."""
    arrivals: dict[str, dict[str, Any]] = {}
    for line in lines:
        n = line.get("n")
        if line["kind"] == "arrival":
            arrivals[line["n"]] = {
                "n": n,
                "id": line["id"],
                "linkedid": line["linkedid"],
                "started_at": line["started_at"],
                "arrived": line["t"],
                "body": line["body"],
                "revision": line["revision"],
                "fault": line["fault"],
                "forced": line["attempt"] == "forced",
            }
        elif n in arrivals and line["kind"] == "commit":
            arrivals[n]["committed"] = line["t"]
        elif n in arrivals and line["kind"] == "answer":
            arrivals[n].update(answered=line["t"], status=line["status"])
    return sorted((Request(**facts) for facts in arrivals.values()), key=lambda request: request.arrived)


def calls_of(lines: Iterable[Line]) -> list[Call]:
    """The PBX's ledger."""
    return [
        Call(
            linkedid=line["linkedid"],
            others=tuple(line["others"]),
            ended=line["ended"],
            number=line["number"],
            late=line["late"],
            kind=line["call"],
            optional=line["optional"],
            history=line["history"],
        )
        for line in lines
        if line["kind"] == "call"
    ]


def events_of(lines: Iterable[Line]) -> list[Event]:
    """The driver's ledger."""
    return [Event(line["t"], line["kind"], line) for line in lines]
