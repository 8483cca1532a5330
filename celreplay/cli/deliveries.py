"""`celreplay deliveries`: what waits, what is dead, and what is to be done about it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from celreplay.api.delivery_answers import delivery_body, journal_body, list_body
from celreplay.api.delivery_query import HELD, delivery_ids, place_of
from celreplay.api.read_call import call_ids
from celreplay.cli import EXIT_FAILED
from celreplay.cli.common import config_option, examples, load_config, quiet_log, run
from celreplay.cli.completing import connectors, delivery_states
from celreplay.cli.delivery_changes import discard, retry
from celreplay.cli.delivery_filters import filters, opened, wanted
from celreplay.cli.delivery_text import journal, line_of
from celreplay.cli.output import utf8_stdout
from celreplay.config import Config
from celreplay.deliveries import DeliveryView, Listed
from celreplay.store.base import State


@click.group(
    name="deliveries",
    epilog=examples(
        "celreplay deliveries list --state dead --since -1",
        "celreplay deliveries retry --all-dead --connector crm",
    ),
)
def command() -> None:
    """Show deliveries; send dead ones again, or take them off the list.

    Works beside the running daemon, which sees every change within a second, and without it.
    """


@command.command(
    name="list",
    epilog=examples(
        "celreplay deliveries list --state held",
        "celreplay deliveries list --state dead --since -1 --connector crm",
    ),
)
@config_option
@click.option(
    "--state", metavar="STATE", shell_complete=delivery_states,
    help=f"{', '.join(State)}, or {HELD}: what waits at a connector on hold.",
)  # fmt: skip
@filters
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Most of them.")
@click.option("--cursor", metavar="TEXT", help="Go on where an earlier list ended.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "ndjson"]), default="text", show_default=True,
    help="json: the answer of GET /pbx/deliveries. ndjson: one delivery a line.",
)  # fmt: skip
def listing(config_path: Path, limit: int, cursor: str | None, form: str, **narrowed: str | None) -> None:
    """List deliveries, the latest change first."""
    quiet_log()
    config = load_config(config_path)
    which, after = wanted(config, **narrowed), place_of(cursor)

    async def listed() -> Listed:
        async with opened(config) as deliveries:
            return await deliveries.list(which, after=after, limit=limit)

    page = run(listed())
    out = utf8_stdout()
    if form == "json":
        out.write(msgspec.json.encode(list_body(page)).decode() + "\n")
    for view in page.deliveries if form != "json" else ():
        out.write((_json(delivery_body(view)) if form == "ndjson" else line_of(view)) + "\n")
    out.flush()
    if page.after is not None and form != "json":
        click.echo(f"celreplay: there are more: --cursor {page.after}", err=True)


@command.command(
    name="show", epilog=examples("celreplay deliveries show 1795396140.0 crm", "celreplay deliveries show 12")
)
@config_option
@click.argument("which", metavar="ID|LINKEDID")
@click.argument("connector", required=False, shell_complete=connectors)
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="json: one delivery a line, as GET /pbx/deliveries/{id} has it.",
)  # fmt: skip
def show(config_path: Path, which: str, connector: str | None, form: str) -> None:
    """Show a delivery, or those of a call, with every attempt."""
    quiet_log()
    config = load_config(config_path)
    views = run(_shown(config, which, connector))
    out = utf8_stdout()
    for view in views:
        out.write((_json(journal_body(view)) if form == "json" else "\n".join(journal(view))) + "\n")
    out.flush()
    if not views:
        click.echo(f"celreplay: there is no delivery of {which}", err=True)
        raise click.exceptions.Exit(EXIT_FAILED)


async def _shown(config: Config, which: str, connector: str | None) -> Sequence[DeliveryView]:
    if not which.isdigit():
        (linkedid,) = call_ids([which])
        async with opened(config) as deliveries:
            return await deliveries.of_call(linkedid, connector)
    if connector is not None:
        raise click.UsageError("a delivery has one connector: name none beside its id")
    (id_,) = delivery_ids([which])
    async with opened(config) as deliveries:
        view = await deliveries.show(id_)
    return [] if view is None else [view]


def _json(body: dict[str, Any]) -> str:
    return msgspec.json.encode(body).decode()


command.add_command(retry)
command.add_command(discard)
