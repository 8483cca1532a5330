"""`celreplay demo`: the whole way of a call, on this machine, in some seconds."""

import asyncio
import signal
from contextlib import suppress

import click
from rich.console import Console

from celreplay.cli import EXIT_FAILED
from celreplay.cli.common import examples, first_of
from celreplay.demo.run import demo


@click.command(name="demo", epilog=examples("celreplay demo", "celreplay demo --keep --port 8099"))
@click.option("--keep", is_flag=True, help="Stay up afterwards, for requests by curl; Ctrl-C ends it.")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port of the API. [default: 8077, else a free one]"
)
def command(*, keep: bool, port: int | None) -> None:
    """Watch real calls go from CEL to a local receiver.

    Calls captured on an Asterisk 22 are put into a CEL file, the daemon is started as a process of its own,
    and a receiver checks the signature of everything that comes. All of it is on 127.0.0.1 and in a
    temporary folder. Exit code 0: every call arrived exactly once.
    """
    try:
        went_well = asyncio.run(_until_terminated(Console(), port, keep=keep))
    except BaseExceptionGroup as errors:
        raise first_of(errors) from None
    if not went_well:
        raise click.exceptions.Exit(EXIT_FAILED)


async def _until_terminated(console: Console, port: int | None, *, keep: bool) -> bool:
    """The demo; SIGTERM ends it as Ctrl-C does, so that no daemon is left behind."""
    playing = asyncio.create_task(demo(port, console, keep=keep))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.cancel)
    with suppress(asyncio.CancelledError):
        return await playing
    raise KeyboardInterrupt
