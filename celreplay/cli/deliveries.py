"""`celreplay deliveries`: what waits, what is dead, and what is to be done about it."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from celreplay.api.delivery_answers import journal_body, list_body
from celreplay.api.delivery_query import HELD, delivery_ids, place_of
from celreplay.api.read_call import call_ids
from celreplay.cli import EXIT_FAILED
from celreplay.cli.common import config_option, examples, load_config, quiet_log, run
from celreplay.cli.completing import connectors, delivery_states
from celreplay.cli.delivery_changes import discard, retry
from celreplay.cli.delivery_filters import filters, opened, wanted
from celreplay.cli.delivery_text import journal, line_of
from celreplay.cli.output import print_json
from celreplay.cli.telling import bad_news, json_option, note
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
@json_option("One JSON object: the answer of GET /pbx/deliveries.")
def listing(
    config_path: Path, limit: int, cursor: str | None, *, as_json: bool, **narrowed: str | None
) -> None:
    """List deliveries, the latest change first."""
    quiet_log()
    config = load_config(config_path)
    which, after = wanted(config, **narrowed), place_of(cursor)

    async def listed() -> Listed:
        async with opened(config) as deliveries:
            return await deliveries.list(which, after=after, limit=limit)

    page = run(listed())
    if as_json:
        print_json(list_body(page))
        return
    for view in page.deliveries:
        sys.stdout.write(line_of(view) + "\n")
    sys.stdout.flush()
    if page.after is not None:
        note(f"there are more: --cursor {page.after}")


@command.command(
    name="show", epilog=examples("celreplay deliveries show 1795396140.0 crm", "celreplay deliveries show 12")
)
@config_option
@click.argument("which", metavar="ID|LINKEDID")
@click.argument("connector", required=False, shell_complete=connectors)
@json_option("One JSON object a delivery and line, as GET /pbx/deliveries/{id} has it.")
def show(config_path: Path, which: str, connector: str | None, *, as_json: bool) -> None:
    """Show a delivery, or those of a call, with every attempt."""
    quiet_log()
    config = load_config(config_path)
    views = run(_shown(config, which, connector))
    for view in views:
        if as_json:
            print_json(journal_body(view))
        else:
            sys.stdout.write("".join(f"{line}\n" for line in journal(view)))
    if not views:
        bad_news(f"there is no delivery of {which}", "not_found")
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


command.add_command(retry)
command.add_command(discard)
