"""`celreplay serve`: the daemon in the foreground, as systemd wants it."""

import asyncio
import gc
import importlib.util
import signal
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

import click
import structlog

from celreplay.cli.common import config_option, examples, first_of
from celreplay.config import Config, load
from celreplay.connectors.table import OPTIONS
from celreplay.daemon import serve
from celreplay.log import configure

_GARBAGE_EVERY = 20_000
"""Objects made between two collections: a page of rows is thousands of short-lived ones, none in a cycle."""

_log = structlog.get_logger(__name__)


@click.command(
    name="serve", epilog=examples("celreplay serve", "celreplay serve -c /etc/celreplay/office.yaml")
)
@config_option
@click.option("--rename", is_flag=True, help="Accept another pbx.name for the same store, once.")
def command(config_path: Path, *, rename: bool) -> None:
    """Run the daemon: read CEL, deliver calls, answer on port 8077.

    It runs in the foreground and logs to stderr. SIGTERM and SIGINT end it in order, a second one at once.
    """
    config = load(config_path, OPTIONS)
    configure(config.log.level, config.log.format)
    for warning in config.warnings:
        _log.warning("config.warning", text=warning)
    if not config.connectors:
        _log.warning("config.no_connectors", text="calls are read, but `connectors:` names nobody to send to")
    gc.freeze()
    gc.set_threshold(_GARBAGE_EVERY, 20, 20)
    try:
        with asyncio.Runner(loop_factory=_fast_loop()) as runner:
            runner.run(_serve(config, rename=rename))
    except BaseExceptionGroup as errors:
        raise first_of(errors) from None


async def _serve(config: Config, *, rename: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask_to_stop() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask_to_stop)
    await serve(config, stop, rename=rename)


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where the extra `fast` is installed."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", import_module("uvloop").new_event_loop)
