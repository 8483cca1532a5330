"""What the demo shows: a line for each call that arrives, two bars, and a table at the end."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from celreplay.cli.output import local, printable
from celreplay.demo.receiver import Arrival
from celreplay.times import Instant


class Screen:
    """The terminal while the calls come; plain lines where there is none."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._console = console
        self._old: set[str] = set()
        self._seen: set[str] = set()
        self._bars: dict[bool, Any] = {}

    def expect(self, old: set[str], live: set[str]) -> None:
        """Show the bars of the calls to come."""
        self._old = old
        self._bars = {
            True: self._progress.add_task("calls of the past", total=len(old)),
            False: self._progress.add_task("live calls", total=len(live)),
        }
        self._progress.start()

    def say(self, text: str) -> None:
        """One line above the bars."""
        self._console.print(Text(text, style="bold"))

    def arrived(self, arrival: Arrival) -> None:
        """Show a call that has arrived."""
        is_old = arrival.linkedid in self._old
        again = " (again)" if arrival.linkedid in self._seen else ""
        cells = cells_of(arrival)
        text = f"  {'past' if is_old else 'live'}  {cells[1]:<8}  {cells[2]} → {cells[3]}  {cells[5]}{again}"
        self._console.print(Text(text))
        if not again and self._bars:
            self._progress.advance(self._bars[is_old])
        self._seen.add(arrival.linkedid)

    def end(self) -> None:
        """Take the bars away."""
        self._progress.stop()


def table_of(arrivals: Sequence[Arrival]) -> Table:
    """What arrived, in the order of the calls."""
    table = Table(
        title="what the CRM has now", title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=0
    )
    for name in ("started", "direction", "from", "to", "answered by", "result"):
        table.add_column(name, no_wrap=True)
    table.add_column("talk", justify="right", no_wrap=True)
    for arrival in sorted(arrivals, key=lambda arrival: str(arrival.data.get("started_at"))):
        table.add_row(*(Text(cell) for cell in cells_of(arrival)))
    return table


def cells_of(arrival: Arrival) -> tuple[str, ...]:
    """started, direction, from, to, answered by, disposition, talk."""
    data = arrival.data
    caller = data.get("caller")
    number = caller.get("number") if isinstance(caller, dict) else None
    cells = (
        local(Instant.parse(str(data["started_at"])).utc()),
        data.get("direction"),
        number or "anonymous",
        data.get("dialed_number"),
        data.get("answered_by"),
        data.get("disposition"),
        f"{float(str(data.get('talk') or 0)):.1f} s",
    )
    return tuple(printable(str(cell or "")) for cell in cells)
