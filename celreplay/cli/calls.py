"""`celreplay calls`: what celreplay makes of the CEL rows, on a terminal, delivering nothing."""

import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

import click

from celreplay.calls.model import Call
from celreplay.cli import EXIT_FAILED
from celreplay.cli.common import (
    asked_for,
    config_option,
    examples,
    load_config,
    now,
    quiet_log,
    run,
    which_calls,
)
from celreplay.cli.output import CallWriter, writer_for
from celreplay.cli.telling import bad_news, json_option, note
from celreplay.config import Config
from celreplay.intake import Intake
from celreplay.lookup import groups_between, groups_of_ids
from celreplay.parts import open_source, pbx_rules, settled
from celreplay.period import Period
from celreplay.sources.base import CelSource


@click.command(
    name="calls",
    epilog=examples(
        "celreplay calls --start-date -0",
        "celreplay calls --all --format csv > calls.csv",
        "celreplay calls --id 1795396140.0 --json",
    ),
)
@config_option
@which_calls
@click.option("--all", "everything", is_flag=True, help="All calls of the table.")
@json_option("One JSON object a call and line (docs/call.md).")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True,
    help="json: the same as --json. csv: one row a call, times in UTC.",
)  # fmt: skip
def command(
    config_path: Path,
    ids: Sequence[str],
    start_date: str | None,
    end_date: str | None,
    *,
    everything: bool,
    as_json: bool,
    form: str,
) -> None:
    """Print calls as celreplay understands them. Delivers nothing.

    A call belongs to a period if any of its rows does, and is always read whole. Calls that have not
    finished are printed only when they are named by --id. A config with nothing but `cel.url` is enough.
    """
    quiet_log()
    config = load_config(config_path)
    named, period = asked_for(config, ids, start_date, end_date)
    if everything and (named or period):
        raise click.UsageError("give --all, or --id, or --start-date")
    if everything:
        period = Period(0, now())
    if not named and period is None:
        raise click.UsageError("say which calls: --id ID, --start-date DATE, or --all")
    writer = writer_for("json" if as_json else form, sys.stdout)
    missing = run(_print(config, writer, named, period))
    for id_ in missing:
        bad_news(f"no CEL row has the id {id_}", "not_found")
    if missing:
        raise click.exceptions.Exit(EXIT_FAILED)


async def _print(
    config: Config, writer: CallWriter, ids: Sequence[str], period: Period | None
) -> Sequence[str]:
    """Write the calls; the ids that no row has."""
    source = open_source(config)
    intake = Intake(pbx_rules(config), {})
    try:
        if period is None:
            groups = await groups_of_ids(source, ids)
            for call in intake.calls(groups):
                writer.write(call)
            known = frozenset[str]().union(*(group.keys for group in groups))
        else:
            known = frozenset(ids)
            async with aclosing(_calls_between(config, source, intake, period)) as calls:
                async for call in calls:
                    writer.write(call)
        writer.end()
    finally:
        await source.aclose()
    return [id_ for id_ in ids if id_ not in known]


async def _calls_between(
    config: Config, source: CelSource, intake: Intake, period: Period
) -> AsyncGenerator[Call, None]:
    unfinished = 0
    pages = groups_between(source, period, now=now(), settled=settled(config))
    async for page in pages:
        unfinished += len(page.unfinished)
        for call in intake.calls([*page.groups, *page.unfinished]):
            yield call
    if unfinished:
        calls = "1 call has" if unfinished == 1 else f"{unfinished} calls have"
        note(f"{calls} not finished: shown as far as the rows go (complete: false)")
