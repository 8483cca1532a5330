"""`celreplay capture`: a call of this PBX as a test case, without the people in it."""

import csv
import io
import os
import secrets
from pathlib import Path

import click
import yaml

from celreplay.api.read_call import call_ids
from celreplay.calls.capturing import COLUMNS, Case, case_of
from celreplay.cel.grouping import Group
from celreplay.cli import EXIT_FAILED
from celreplay.cli.common import config_option, examples, load_config, quiet_log, run
from celreplay.cli.output import print_json
from celreplay.cli.telling import bad_news, json_option
from celreplay.config import Config
from celreplay.lookup import groups_of_ids
from celreplay.parts import open_source, pbx_rules

_KEY_BYTES = 32
_ENDINGS = (".csv", ".yaml", ".yml")


@click.command(name="capture", epilog=examples("celreplay capture 1795396140.0 -o transfer-to-queue"))
@config_option
@click.argument("linkedid")
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(path_type=Path), required=True,
    help="Writes FILE.csv, the rows, and FILE.yaml, the calls.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
@json_option("One JSON object: the files that were written.")
def command(config_path: Path, linkedid: str, output: Path, *, force: bool, as_json: bool) -> None:
    """Write a call, without its people, as a test case.

    LINKEDID is any linkedid or uniqueid of the call; all rows that belong together are written. Numbers of
    six digits and more and callers' names are replaced, each by the same one everywhere. The names of
    endpoints, contexts and queues, and the times, stay: read the files before you give them away.
    """
    quiet_log()
    stem = output.with_suffix("") if output.suffix.lower() in _ENDINGS else output
    files = [stem.with_name(f"{stem.name}{ending}") for ending in (".csv", ".yaml")]
    if not force and (there := [str(path) for path in files if os.path.lexists(path)]):
        raise click.ClickException(f"{' and '.join(there)} there already: choose another name, or --force")
    config = load_config(config_path)
    (linkedid,) = call_ids([linkedid])
    groups = run(_groups(config, linkedid))
    if not groups:
        bad_news(f"no CEL row has the id {linkedid}", "not_found")
        raise click.exceptions.Exit(EXIT_FAILED)
    case = case_of(groups[0].events, pbx_rules(config), secrets.token_bytes(_KEY_BYTES))
    if isinstance(case, str):
        bad_news(f"{linkedid} cannot be captured: {case}; nothing was written", "refused")
        raise click.exceptions.Exit(EXIT_FAILED)
    for path, text in zip(files, (_rows(case), _calls(case)), strict=True):
        _write(path, text, force=force)
        if not as_json:
            click.echo(path)
    if as_json:
        print_json({"files": [str(path) for path in files]})


async def _groups(config: Config, linkedid: str) -> list[Group]:
    source = open_source(config)
    try:
        return await groups_of_ids(source, [linkedid])
    finally:
        await source.aclose()


def _rows(case: Case) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(case.rows)
    return text.getvalue()


def _calls(case: Case) -> str:
    """One call as its fields, as most tests have it; several, or with a config, under names."""
    plain = len(case.calls) == 1 and not case.pbx
    content: dict[str, object] = case.calls[0] if plain else {"calls": case.calls}
    if case.pbx:
        content = {"pbx": case.pbx} | content
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=200)


def _write(path: Path, text: str, *, force: bool) -> None:
    """For the owner alone, from its first byte on; never through a link."""
    if force:
        path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123 - of a descriptor
        file.write(text)
