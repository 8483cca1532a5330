"""`celreplay deliveries retry` and `discard`."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click

from celreplay.api.delivery_answers import changed_body
from celreplay.api.delivery_query import HELD, delivery_ids
from celreplay.choices import Changed, Choice
from celreplay.cli import EXIT_FAILED
from celreplay.cli.common import config_option, examples, load_config, quiet_log, run, unix_user
from celreplay.cli.delivery_filters import filters, opened, wanted
from celreplay.cli.delivery_text import counted
from celreplay.cli.output import print_json
from celreplay.cli.telling import bad_news, json_option, note
from celreplay.config import Config
from celreplay.deliveries import Deliveries
from celreplay.parts import store_path
from celreplay.store.base import State
from celreplay.store.ownership import holder

_MOST_COUNTED = 10_000
_Command = TypeVar("_Command", bound=Callable[..., object])


def _choosing(command: _Command) -> _Command:
    """Which ones are to be changed."""
    for option in (
        json_option("One JSON object: the answer of POST /pbx/deliveries/retry, or discard."),
        click.option("--yes", is_flag=True, help="Do not ask first."),
        filters,
        click.option("--all-dead", is_flag=True, help="All dead ones, as the filters narrow them."),
        click.argument("ids", metavar="[ID]...", nargs=-1),
        config_option,
    ):
        command = option(command)
    return command


@click.command(
    name="retry",
    epilog=examples(
        "celreplay deliveries retry 12 13",
        "celreplay deliveries retry --all-dead --reason 422 --rebuild",
        "celreplay deliveries retry --held --connector crm",
    ),
)
@_choosing
@click.option("--rebuild", is_flag=True, help="With new bytes, made from the CEL rows, or the stored call.")
@click.option("--held", is_flag=True, help="Try a connector on hold at once (--connector, else all of them).")
def retry(
    config_path: Path,
    ids: Sequence[str],
    *,
    all_dead: bool,
    held: bool,
    rebuild: bool,
    yes: bool,
    as_json: bool,
    **narrowed: str | None,
) -> None:
    """Send dead deliveries again, at once, under their identity."""
    quiet_log()
    config = load_config(config_path)
    if held and all_dead:
        raise click.UsageError("give --held or --all-dead, not both")
    state = HELD if held else State.DEAD.value
    choice = _choice(config, ids, narrowed, found=all_dead or held, state=state, rebuild=rebuild)

    async def work() -> Changed:
        async with opened(config) as deliveries:
            if not held:
                await _confirm(deliveries, choice, "Send {} again?", yes=yes)
            return await deliveries.retry(choice)

    changed = run(work())
    if as_json:
        print_json(changed_body(changed, "retried"))
    elif held:
        resumed = ", ".join(changed.resumed)
        click.echo(f"tried at once: {resumed}" if resumed else "no connector is on hold")
    else:
        click.echo(f"{counted(changed.count)} to be sent again")
    if holder(store_path(config)) is None:
        note("no daemon runs: its next start sends them")
    _tell_left(changed)


@click.command(
    name="discard",
    epilog=examples(
        "celreplay deliveries discard 12 13", "celreplay deliveries discard --all-dead --until -30 --yes"
    ),
)
@_choosing
def discard(
    config_path: Path, ids: Sequence[str], *, all_dead: bool, yes: bool, as_json: bool, **narrowed: str | None
) -> None:
    """Take dead deliveries off the list: only a replay by their id sends them."""
    quiet_log()
    config = load_config(config_path)
    choice = _choice(config, ids, narrowed, found=all_dead, state=State.DEAD.value)

    async def work() -> Changed:
        async with opened(config) as deliveries:
            await _confirm(deliveries, choice, "Discard {}?", yes=yes)
            return await deliveries.discard(choice)

    changed = run(work())
    if as_json:
        print_json(changed_body(changed, "discarded"))
    else:
        click.echo(f"{counted(changed.count)} discarded")
    _tell_left(changed)


def _choice(
    config: Config,
    ids: Sequence[str],
    narrowed: Mapping[str, str | None],
    *,
    found: bool,
    state: str,
    rebuild: bool = False,
) -> Choice:
    narrows = any(value is not None for value in narrowed.values())
    if ids and (found or narrows):
        raise click.UsageError("give ids or a filter, not both")
    if not ids and not found:
        raise click.UsageError("say which deliveries: ID, or --all-dead with or without filters")
    which = None if ids else wanted(config, state=state, **narrowed)
    return Choice(ids=delivery_ids(ids), wanted=which, rebuild=rebuild, by=f"cli:{unix_user()}")


async def _confirm(deliveries: Deliveries, choice: Choice, question: str, *, yes: bool) -> None:
    """A filter may find more than one thinks: a person is asked, a script has to say --yes."""
    if choice.wanted is None or yes:
        return
    await deliveries.list(choice.wanted, limit=1)  # a connector that nobody knows is told before
    count = await deliveries.how_many(choice.wanted, most=_MOST_COUNTED)
    found = f"{counted(count)}{' or more' if count == _MOST_COUNTED else ''}"
    if not sys.stdin.isatty():
        raise click.UsageError(f"this is about {found}: say --yes to go on")
    click.confirm(question.format(found), abort=True, err=True)


def _tell_left(changed: Changed) -> None:
    for id_, why in changed.left.items():
        bad_news(f"delivery {id_} {why}", "conflict")
    if changed.left:
        raise click.exceptions.Exit(EXIT_FAILED)
