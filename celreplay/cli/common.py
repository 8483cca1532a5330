"""What the commands share: their common options, the config, and reading dates and ids."""

import asyncio
import getpass
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from celreplay.api.read_call import call_ids
from celreplay.cli import telling
from celreplay.config import Config, load
from celreplay.connectors.table import OPTIONS
from celreplay.log import configure
from celreplay.period import Period, parse_period
from celreplay.times import SECOND
from celreplay.zone import zone_named

DEFAULT_CONFIG = Path("/etc/celreplay/celreplay.yaml")

_Command = TypeVar("_Command", bound=Callable[..., object])
_Result = TypeVar("_Result")

config_option = click.option(
    "-c",
    "--config",
    "config_path",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="The config file.",
)


def which_calls(command: _Command) -> _Command:
    """`--id`, `--start-date`, `--end-date`: the parameters of /pbx/read_call under the same rules."""
    for option in (
        click.option(
            "--end-date", metavar="DATE", help="End, in the same forms. Without it: up to this moment."
        ),
        click.option(
            "--start-date",
            metavar="DATE",
            help="Begin: 'YYYY-MM-DD hh:mm:ss' (PBX time), YYYY-MM-DD, UNIX seconds, or -N for the midnight"
            " N days ago (-0 is today's).",
        ),
        click.option(
            "--id",
            "ids",
            metavar="ID",
            multiple=True,
            help="A linkedid or uniqueid; repeated, or a comma list.",
        ),
    ):
        command = option(command)
    return command


def examples(*lines: str) -> str:
    """The end of a command's help. A test has click read each line as it would be typed."""
    return "\b\nExamples:\n" + "".join(f"  {line}\n" for line in lines)


def load_config(path: Path) -> Config:
    """The config; its warnings go to stderr. Raises ConfigError."""
    config = load(path, OPTIONS)
    for warning in config.warnings:
        telling.warning(warning)
    return config


def quiet_log() -> None:
    """Only what is wrong, for commands that print results."""
    configure("warning", "json" if telling.is_json() else "auto")


def asked_for(
    config: Config, ids: Sequence[str], start_date: str | None, end_date: str | None
) -> tuple[tuple[str, ...], Period | None]:
    """The calls that the options name: ids, or a period, or neither. Raises UsageError, BadRequestError."""
    if ids and (start_date or end_date):
        raise click.UsageError("give --id or --start-date, not both")
    if end_date is not None and start_date is None:
        raise click.UsageError("--end-date needs --start-date")
    if start_date is None:
        return call_ids(ids), None
    return (), parse_period(start_date, end_date, zone=zone_named(config.pbx.timezone), now=now())


def now() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() * SECOND // 1_000_000_000


def unix_user() -> str:
    """Who runs this; where the host does not know, the number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run to the end. Of several errors at once the first is told: the others follow from it."""
    try:
        return asyncio.run(work)
    except BaseExceptionGroup as errors:
        raise first_of(errors) from None


def first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a tree of groups."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
