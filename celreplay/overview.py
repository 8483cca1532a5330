"""Where reading and delivering stand, for people and for monitoring."""

from collections.abc import Mapping
from typing import Any

import msgspec

from celreplay import __version__
from celreplay.delivery.vitals import Vitals
from celreplay.errors import SourceError
from celreplay.sources.base import CelSource, Position
from celreplay.store.base import Hold, Reading, Replay, State, Store
from celreplay.times import SECOND, Instant

_LATEST = 5


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    daemon: int | None
    """The pid of the running daemon."""
    reading: Reading | None
    end: Position | None
    """The end of the CEL table; None where it cannot be read."""
    trouble: str
    """Why it cannot."""
    outbox: Mapping[str, Mapping[State, int]]
    holds: Mapping[str, Hold]
    oldest_due: Mapping[str, int]
    """Connector → when the earliest of the calls began that are due and not sent yet, microseconds UTC."""
    replays: list[Replay]
    problems: Mapping[str, str] = {}
    """What keeps the running daemon from its work: part → why."""
    vitals: Mapping[str, Vitals] = {}
    """Connector → its workers at this moment; known in the daemon only."""
    store_bytes: int = 0

    @property
    def rows_behind(self) -> int | None:
        """Ids between the stored position and the table's end; None where there are none."""
        if self.reading is None or self.end is None:
            return None
        if self.end.id is None or self.reading.position.id is None:
            return None
        return max(0, self.end.id - self.reading.position.id)

    @property
    def seconds_behind(self) -> float | None:
        """How much later the table's latest row is than the latest one read."""
        if self.reading is None or self.end is None:
            return None
        return max(0, self.end.eventtime - self.reading.position.eventtime) / SECOND


async def overview_of(source: CelSource, store: Store | None, *, daemon: int | None) -> Overview:
    """Look at the table and the store (None: it has not been made yet). Raises StoreError."""
    try:
        end, trouble = (await source.describe()).last, ""
    except SourceError as error:
        end, trouble = None, str(error)
    if store is None:
        empty: Mapping[str, Any] = {"outbox": {}, "holds": {}, "oldest_due": {}, "replays": []}
        return Overview(daemon=daemon, reading=None, end=end, trouble=trouble, **empty)
    outbox = await store.counts()
    due = {name: await store.oldest_due(name) for name in outbox}
    return Overview(
        daemon=daemon,
        reading=await store.reading(),
        end=end,
        trouble=trouble,
        outbox=outbox,
        holds=await store.holds(),
        oldest_due={name: moment for name, moment in due.items() if moment is not None},
        replays=list(await store.replays(limit=_LATEST)),
    )


def body(status: Overview, now: int) -> dict[str, Any]:
    """For programs; times are ISO-8601 UTC."""
    reading = status.reading
    return {
        "version": __version__,
        "daemon": {"running": status.daemon is not None, "pid": status.daemon},
        "reading": reading
        and {
            "id": reading.position.id,
            "eventtime": Instant(reading.position.eventtime).iso(),
            "live_since": Instant(reading.live_since).iso(),
            "open_keys": sorted(reading.open_keys),
            "rows_behind": status.rows_behind,
            "seconds_behind": status.seconds_behind,
        },
        "cel_error": status.trouble or None,
        "connectors": {
            name: {
                **{state.value: counts.get(state, 0) for state in State},
                "oldest_due": _iso(status.oldest_due.get(name)),
                **_vitals(status.vitals.get(name)),
            }
            for name, counts in status.outbox.items()
        },
        "holds": {
            name: {
                "kind": hold.kind.value,
                "reason": hold.reason,
                "since": Instant(hold.since).iso(),
                "next_try_at": Instant(hold.next_canary_at).iso(),
            }
            for name, hold in status.holds.items()
        },
        "replays": [
            {
                "id": replay.id,
                "state": replay.state.value,
                "waiting": replay.queued - replay.delivered - replay.dead,
            }
            for replay in status.replays
        ],
        "problems": dict(status.problems),
        "store_bytes": status.store_bytes,
        "now": Instant(now).iso(),
    }


def _vitals(vitals: Vitals | None) -> dict[str, Any]:
    if vitals is None:
        return {}
    return {
        "workers": vitals.workers,
        "in_flight": vitals.in_flight,
        "waiting_for_permit": vitals.waiting,
        "requests_last_minute": vitals.last_minute,
    }


def _iso(moment: int | None) -> str | None:
    return None if moment is None else Instant(moment).iso()
