"""How a replay goes: a bar with rate and remaining time on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click

from celreplay.services import ReplayView
from celreplay.store.base import Replay, ReplayState

_A_LINE_EVERY = 5.0
"""Seconds between two lines where there is no terminal."""


class Watching(Protocol):
    """Is told how a replay goes."""

    daemon_works: bool
    """True when another process delivers."""
    replay_id: int
    """0 until there is one."""

    def see(self, view: ReplayView, daemon_works: bool) -> None:
        """Show the replay as it stands."""
        ...


class Lines:
    """For pipes, files and journals: a line when the state changes, and every five seconds."""

    def __init__(self) -> None:
        self.daemon_works = False
        self.replay_id = 0
        self._state: ReplayState | None = None
        self._told_at = 0.0

    def see(self, view: ReplayView, daemon_works: bool) -> None:
        self.daemon_works = daemon_works
        replay, now = view.replay, time.monotonic()
        self.replay_id = replay.id
        if replay.state is self._state and now - self._told_at < _A_LINE_EVERY:
            return
        self._state, self._told_at = replay.state, now
        click.echo(f"replay {replay.id}: {line_of(replay)}", err=True)


def line_of(replay: Replay) -> str:
    """`delivering, 120 of 300 sent`."""
    if replay.state in {ReplayState.REQUESTED, ReplayState.LOOKING_UP}:
        return f"{replay.state.value.replace('_', ' ')}, {replay.found} calls found"
    return f"{replay.state.value}, {replay.delivered + replay.dead} of {replay.queued} sent"


@contextmanager
def watcher() -> Iterator[Watching]:
    """A bar on a terminal, else lines, both on stderr; stdout is left to the results."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from celreplay.cli.bar import Bar  # noqa: PLC0415  # rich is slow to load and draws on terminals only

    with Bar() as bar:
        yield bar
