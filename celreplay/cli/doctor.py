"""`celreplay doctor`: everything that could keep calls from arriving, each with what to do."""

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from celreplay.cel.grouping import groups_of
from celreplay.cli.common import config_option, examples, now, quiet_log, run
from celreplay.cli.output import print_json
from celreplay.cli.telling import json_option
from celreplay.config import Config, load
from celreplay.connectors.options import DeliveryOptions
from celreplay.connectors.table import OPTIONS, build
from celreplay.doctor.calls import about_calls
from celreplay.doctor.crm import about_connectors
from celreplay.doctor.database import about_database
from celreplay.doctor.findings import Finding, Level
from celreplay.doctor.host import about_host
from celreplay.doctor.rows import about_rows
from celreplay.intake import Intake
from celreplay.parts import open_source, pbx_rules
from celreplay.times import Instant

_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red"}


@click.command(name="doctor", epilog=examples("celreplay doctor", "celreplay doctor --json"))
@config_option
@json_option("One JSON object: the worst level, and the findings.")
def command(config_path: Path, *, as_json: bool) -> None:
    """Look for whatever could keep calls from arriving.

    Each line says what was looked at, and what to do where it is not well. Nothing is
    changed, and no call is sent. Exit code: 0 all is well, 1 warnings, 2 errors, as
    monitoring plugins have it.
    """
    quiet_log()
    config = load(config_path, OPTIONS)
    findings = [*about_host(config, config_path), *run(_outside(config))]
    worst = max(finding.level for finding in findings)
    if as_json:
        print_json(_body(findings, worst))
    else:
        click.echo("\n".join(lines(findings)))
    raise click.exceptions.Exit(int(worst))


async def _outside(config: Config) -> list[Finding]:
    source = open_source(config)
    try:
        findings, rows = await about_database(source)
        if findings[0].about != "database":
            findings += about_rows(rows, now())
            finished = [group for group in groups_of(rows) if group.ended]
            findings += about_calls(Intake(pbx_rules(config), {}).calls(finished))
    finally:
        await source.aclose()
    options = {name: of for name, of in config.connectors.items() if isinstance(of, DeliveryOptions)}
    connectors = {name: build(name, config.pbx.name, of) for name, of in options.items()}
    addresses = {name: str(getattr(of, "url", "")) for name, of in options.items()}
    return findings + await about_connectors(connectors, addresses, Instant(now()))


def lines(findings: Sequence[Finding]) -> list[str]:
    """For people: the findings, with remedies below those that need one."""
    width = max(40, shutil.get_terminal_size().columns)
    told: list[str] = []
    for finding in findings:
        mark = click.style(f"{finding.level.name.lower():<8}", fg=_COLOURS[finding.level])
        body = textwrap.wrap(f"{finding.about}: {finding.text}", width - 9, break_on_hyphens=False)
        told.append(f"{mark} {body[0]}")
        told += [" " * 9 + line for line in body[1:]]
        remedy = textwrap.wrap(finding.remedy, width - 12, break_on_hyphens=False, break_long_words=False)
        told += [" " * 9 + ("-> " if at == 0 else "   ") + line for at, line in enumerate(remedy)]
    return told


def _body(findings: Sequence[Finding], worst: Level) -> dict[str, object]:
    return {
        "level": worst.name.lower(),
        "findings": [
            {**msgspec.structs.asdict(finding), "level": finding.level.name.lower()} for finding in findings
        ],
    }
