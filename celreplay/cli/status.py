"""`celreplay status`: how far reading is, what waits for the CRM, and why."""

from pathlib import Path

import click
import msgspec

from celreplay.calls.interpret import INTERPRETER_VERSION
from celreplay.cli.common import config_option, examples, load_config, now, quiet_log, run
from celreplay.cli.output import local, print_json
from celreplay.cli.replay import summary
from celreplay.cli.telling import json_option
from celreplay.config import Config
from celreplay.overview import Overview, body, overview_of
from celreplay.parts import open_source, store_path
from celreplay.store.ownership import holder
from celreplay.store.sqlite import SqliteStore
from celreplay.times import Instant

_LATEST = 5


@click.command(name="status", epilog=examples("celreplay status", "celreplay status --json | jq .holds"))
@config_option
@json_option("One JSON object: that of /status.")
def command(config_path: Path, *, as_json: bool) -> None:
    """Show where reading and delivering stand.

    Works beside the running daemon and without it.
    """
    quiet_log()
    status = run(_status(load_config(config_path)))
    if as_json:
        print_json(body(status, now()))
    else:
        click.echo("\n".join(lines(status)))


async def _status(config: Config) -> Overview:
    path = store_path(config)
    source = open_source(config)
    store = None
    try:
        if path.exists():
            store = SqliteStore.open(path, system=config.pbx.name, interpreter=str(INTERPRETER_VERSION))
        status = await overview_of(source, store, daemon=holder(path))
        return msgspec.structs.replace(status, store_bytes=path.stat().st_size if store else 0)
    finally:
        await source.aclose()
        if store is not None:
            await store.aclose()


def lines(status: Overview) -> list[str]:
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


def _reading(status: Overview) -> str:
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


def _local(instant: int) -> str:
    return local(Instant(instant).utc())
