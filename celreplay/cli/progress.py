"""How a replay goes: a bar with rate and remaining time on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from celreplay.cli.output import local, printable
from celreplay.cli.telling import note
from celreplay.services import ReplayView
from celreplay.store.base import Hold, ReplayState
from celreplay.times import Instant

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
    """For pipes, files and journals: a line when state or holds change, and every five seconds."""

    def __init__(self) -> None:
        self.daemon_works = False
        self.replay_id = 0
        self._told: tuple[ReplayState, list[str]] | None = None
        self._told_at = 0.0

    def see(self, view: ReplayView, daemon_works: bool) -> None:
        self.daemon_works = daemon_works
        replay, now = view.replay, time.monotonic()
        self.replay_id = replay.id
        text = line_of(view)
        told = (replay.state, sorted(view.holds))
        if told == self._told and now - self._told_at < _A_LINE_EVERY:
            return
        self._told, self._told_at = told, now
        note(printable(f"replay {replay.id}: {text}"))


def line_of(view: ReplayView) -> str:
    """`delivering, 120 of 300 sent; waiting: connector crm is on hold since … because answered 503`."""
    return "; ".join((_standing(view), *waits_for(view.holds)))


def waits_for(holds: Mapping[str, Hold]) -> list[str]:
    """Why deliveries wait that were due."""
    return [
        f"waiting: connector {name} is on hold since {local(Instant(hold.since).utc())} because {hold.reason}"
        f" (next try {local(Instant(hold.next_canary_at).utc())})"
        for name, hold in holds.items()
    ]


def _standing(view: ReplayView) -> str:
    replay, progress = view.replay, view.progress
    if replay.state in {ReplayState.REQUESTED, ReplayState.LOOKING_UP}:
        return f"{replay.state.value.replace('_', ' ')}, {replay.found} calls found"
    text = f"{replay.state.value}, {replay.delivered + replay.dead} of {replay.queued} sent"
    if progress.ends_at is not None:
        text += f", {progress.rate:.1f}/s, until about {local(Instant(progress.ends_at).utc())}"
    return text


@contextmanager
def watcher() -> Iterator[Watching]:
    """A bar on a terminal, else lines, both on stderr; stdout is left to the results."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from celreplay.cli.bar import Bar  # noqa: PLC0415  # rich is slow to load and draws on terminals only

    with Bar() as bar:
        yield bar
