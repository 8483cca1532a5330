"""The table that a run comes to."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from chaos.judge import Verdict
from chaos.scenarios import Scenario
from chaos.world import World

_HEAD = (
    "scenario", "CEL table", "faults injected", "kills", "calls", "arrivals", "repeats (allowed)",
    "lost", "doubled", "out of order", "other faults",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Result:
    """One line of the table, and what stands behind it."""

    scenario: str
    cel: str
    injected: dict[str, int]
    kills: int
    calls: int
    arrivals: int
    repeats: int
    lost: list[str]
    doubled: list[str]
    reordered: list[str]
    other: list[str]

    @property
    def faults(self) -> list[str]:
        return [*self.lost, *self.doubled, *self.reordered, *self.other]

    def cells(self) -> list[str]:
        counts = [self.kills, self.calls, self.arrivals, self.repeats]
        counts += [len(faults) for faults in (self.lost, self.doubled, self.reordered, self.other)]
        return [self.scenario, self.cel, str(sum(self.injected.values())), *map(str, counts)]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def result_of(scenario: Scenario, world: World, verdict: Verdict) -> Result:
    """Count what was done to the system, and what came of it."""
    injected = Counter(request.fault for request in world.requests if request.fault != "well")
    broken = ("crm-kill", "cel-down", "disk-full", "term", "freeze", "rival")
    injected.update(event.what for event in world.events if event.what in broken)
    named = [
        [f"{fault.linkedid}: {fault.what}" for fault in faults]
        for faults in (verdict.lost, verdict.doubled, verdict.reordered, verdict.other)
    ]
    return Result(
        scenario=scenario.name,
        cel=scenario.cel,
        injected=dict(injected),
        kills=len(world.moments("kill")),
        calls=len(world.calls),
        arrivals=len(world.requests),
        repeats=verdict.repeats,
        lost=named[0],
        doubled=named[1],
        reordered=named[2],
        other=named[3],
    )


def table(results: list[Result]) -> str:
    """As Markdown."""
    rows = [list(_HEAD), *(result.cells() for result in results)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEAD))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
