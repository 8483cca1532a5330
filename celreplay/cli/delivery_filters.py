"""Which deliveries the options mean, and how to get at them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import click

from celreplay.api.delivery_query import wanted_of
from celreplay.cli.common import now
from celreplay.cli.completing import connectors
from celreplay.config import Config
from celreplay.deliveries import Deliveries
from celreplay.errors import StoreError
from celreplay.parts import parts_of, store_path
from celreplay.store.records import Wanted
from celreplay.zone import zone_named

_Command = TypeVar("_Command", bound=Callable[..., object])


def filters(command: _Command) -> _Command:
    """What narrows a list, or a choice."""
    for option in (
        click.option("--linkedid", metavar="ID", help="Those of this call."),
        click.option("--reason", metavar="TEXT", help="With this in their reason, whatever its case."),
        click.option("--until", metavar="DATE", help="Last changed until then, in the same forms."),
        click.option(
            "--since",
            metavar="DATE",
            help="Last changed since: 'YYYY-MM-DD hh:mm:ss' (PBX time), YYYY-MM-DD, UNIX seconds, or -N for"
            " the midnight N days ago (-0 is today's).",
        ),
        click.option(
            "--connector", metavar="NAME", shell_complete=connectors, help="Those for this connector."
        ),
    ):
        command = option(command)
    return command


def wanted(config: Config, **narrowed: str | None) -> Wanted:
    """The filter that the options mean. Raises BadRequestError."""
    names = dict.fromkeys(("state", "connector", "since", "until", "reason", "linkedid"))
    return wanted_of(**{**names, **narrowed}, zone=zone_named(config.pbx.timezone), now=now())


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Deliveries]:
    """The use cases over the config's store, whoever else works on it. Raises StoreError."""
    path = store_path(config)
    if not path.exists():
        raise StoreError(f"store {path}: there is none yet", hint="the first start of celreplay makes it")
    async with parts_of(config) as parts:
        yield parts.deliveries
