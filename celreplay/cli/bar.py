"""The bar of a replay on a terminal."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.progress import TimeRemainingColumn as Remaining
from rich.text import Text

from celreplay.cli.output import printable
from celreplay.cli.progress import waits_for
from celreplay.services import ReplayView
from celreplay.store.base import ReplayState


class Rate(ProgressColumn):
    """Calls a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="dim")


class Bar:
    """Finding first, then delivering, each with its own measure."""

    def __init__(self) -> None:
        self.daemon_works = False
        self.replay_id = 0
        self._told: set[str] = set()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            Remaining(),
            console=Console(stderr=True),
        )
        self._finding = self._progress.add_task("finding calls", total=None)
        self._sending = self._progress.add_task("delivering", total=None, visible=False)

    def see(self, view: ReplayView, daemon_works: bool) -> None:
        """Show the replay as it stands."""
        self.daemon_works = daemon_works
        replay = view.replay
        self.replay_id = replay.id
        looking = replay.state in {ReplayState.REQUESTED, ReplayState.LOOKING_UP}
        self._progress.update(self._finding, completed=replay.found, total=None if looking else replay.found)
        self._progress.update(
            self._sending,
            completed=replay.delivered + replay.dead,
            total=None if looking else replay.queued,
            visible=replay.queued > 0,
        )
        for text in waits_for(view.holds):
            if text not in self._told:
                self._progress.console.print(Text(printable(text)))
                self._told.add(text)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
