"""`celreplay explain`: where a call stands at each CRM, and every attempt to get it there."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from celreplay.api.read_call import call_ids
from celreplay.calls.interpret import INTERPRETER_VERSION
from celreplay.calls.model import Call
from celreplay.cli import EXIT_FAILED
from celreplay.cli.common import config_option, load_config, quiet_log, run
from celreplay.cli.output import local, printable
from celreplay.config import Config
from celreplay.parts import store_path
from celreplay.store.base import AttemptRecord, DeliveryRecord
from celreplay.store.sqlite import SqliteStore
from celreplay.times import Instant


@click.command(name="explain")
@config_option
@click.argument("linkedid")
def command(config_path: Path, linkedid: str) -> None:
    """Show where a call stands at each CRM, and why.

    LINKEDID is any linkedid of the call. Every attempt is listed with what the CRM answered. Works beside
    the running daemon and without it; needs no CEL table.
    """
    quiet_log()
    config = load_config(config_path)
    (linkedid,) = call_ids([linkedid])
    told = run(_told(config, linkedid))
    if not told:
        hint = f"celreplay calls --id {linkedid} reads the CEL table"
        click.echo(f"celreplay: the store has no call {linkedid} ({hint})", err=True)
        raise click.exceptions.Exit(EXIT_FAILED)
    click.echo("\n".join(told))


async def _told(config: Config, linkedid: str) -> list[str]:
    path = store_path(config)
    if not path.exists():
        return []
    store = SqliteStore.open(path, system=config.pbx.name, interpreter=str(INTERPRETER_VERSION))
    try:
        call = await store.call(linkedid)
        ids = dict.fromkeys([linkedid, *(call.linkedids if call else ())])
        deliveries = [record for id_ in ids for record in await store.deliveries(linkedid=id_)]
        lines = [_call_line(call)] if call else []
        for delivery in deliveries:
            lines += _delivery_lines(delivery, await store.attempts(delivery.delivery_id))
        return lines
    finally:
        await store.aclose()


def _call_line(call: Call) -> str:
    parties = f"{call.caller.number or 'anonymous'} → {call.dialed_number or '?'}"
    text = f"{call.linkedid}  {local(call.started_at.utc())}  {call.direction.value}  {parties}"
    return printable(f"{text}  {call.disposition.value}")


def _delivery_lines(delivery: DeliveryRecord, attempts: Sequence[AttemptRecord]) -> Iterator[str]:
    reason = f": {delivery.reason}" if delivery.reason else ""
    due = f", next try {_local(delivery.next_at)}" if delivery.next_at is not None else ""
    replay = f", asked for by replay {delivery.replay_id}" if delivery.replay_id is not None else ""
    yield printable(
        f"{delivery.linkedid}  {delivery.connector} {delivery.part}  {delivery.state.value}{reason}"
        f" (since {_local(delivery.updated_at)}{due}{replay})"
    )
    for attempt in attempts:
        status = f" [{attempt.http_status}]" if attempt.http_status is not None else ""
        result = attempt.kind.value if attempt.kind else "under way, or its process died"
        yield printable(
            f"  {attempt.number}. {_local(attempt.started_at)}  {result}{status}  {attempt.reason}".rstrip()
        )


def _local(instant: int) -> str:
    return local(Instant(instant).utc())
