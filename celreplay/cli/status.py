"""`celreplay status`: how far reading is, what waits for the CRM, and why."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from celreplay.calls.interpret import INTERPRETER_VERSION
from celreplay.cli.common import config_option, load_config, now, quiet_log, run
from celreplay.cli.output import local
from celreplay.cli.replay import summary
from celreplay.config import Config
from celreplay.errors import SourceError
from celreplay.parts import open_source, store_path
from celreplay.sources.base import Position
from celreplay.store.base import Hold, Reading, Replay, State
from celreplay.store.ownership import holder
from celreplay.store.sqlite import SqliteStore
from celreplay.times import SECOND, Instant

_LATEST = 5


class Status(msgspec.Struct, frozen=True, kw_only=True):
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
    replays: list[Replay]

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


@click.command(name="status")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(config_path: Path, *, as_json: bool) -> None:
    """Show where reading and delivering stand.

    Works beside the running daemon and without it.
    """
    quiet_log()
    status = run(_status(load_config(config_path)))
    click.echo(msgspec.json.encode(body(status)).decode() if as_json else "\n".join(lines(status)))


async def _status(config: Config) -> Status:
    path = store_path(config)
    end, trouble = await _end_of_table(config)
    if not path.exists():
        return Status(
            daemon=holder(path), reading=None, end=end, trouble=trouble, outbox={}, holds={}, replays=[]
        )
    store = SqliteStore.open(path, system=config.pbx.name, interpreter=str(INTERPRETER_VERSION))
    try:
        return Status(
            daemon=holder(path),
            reading=await store.reading(),
            end=end,
            trouble=trouble,
            outbox=await store.counts(),
            holds=await store.holds(),
            replays=list(await store.replays(limit=_LATEST)),
        )
    finally:
        await store.aclose()


async def _end_of_table(config: Config) -> tuple[Position | None, str]:
    source = open_source(config)
    try:
        return (await source.describe()).last, ""
    except SourceError as error:
        return None, str(error)
    finally:
        await source.aclose()


def lines(status: Status) -> list[str]:
    """For people."""
    text = [f"daemon      {f'running (pid {status.daemon})' if status.daemon else 'not running'}"]
    text += [f"reading     {_reading(status)}"]
    if status.trouble:
        text += [f"            the CEL table cannot be read: {status.trouble}"]
    for connector, counts in status.outbox.items():
        listed = ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
        text += [f"connector   {connector}: {listed or 'nothing yet'}"]
    for connector, hold in status.holds.items():
        next_try = f"(next try {_local(hold.next_canary_at)})"
        text += [f"on hold     {connector} since {_local(hold.since)}: {hold.reason} {next_try}"]
    text += [f"replay {replay.id:<4} {summary(replay)}" for replay in status.replays]
    return text


def _reading(status: Status) -> str:
    reading = status.reading
    if reading is None:
        return "not begun: the daemon has never run with this store"
    position = reading.position
    place = "" if position.id is None else f"id {position.id}, "
    time = f"row of {_local(position.eventtime)}" if position.eventtime else "at the beginning"
    behind = ""
    if status.rows_behind is not None:
        behind = f", {status.rows_behind} rows behind" if status.rows_behind else ", nothing behind"
    return f"{place}{time}{behind}, {len(reading.open_keys)} ids of open calls"


def body(status: Status) -> dict[str, Any]:
    """For programs; times are ISO-8601 UTC."""
    reading = status.reading
    return {
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
            name: {state.value: counts.get(state, 0) for state in State}
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
            {"id": replay.id, "state": replay.state.value, "summary": summary(replay)}
            for replay in status.replays
        ],
        "now": Instant(now()).iso(),
    }


def _local(instant: int) -> str:
    return local(Instant(instant).utc())
