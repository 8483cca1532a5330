"""Calls of every captured kind, moved to any moment, with ids and outside numbers of their own."""

import csv
import random
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1] / "captures"
LEFT_OUT = (
    "25-", "35-", "36-", "37-", "38-",  # Asterisk or its database died: such calls end hours later
)  # fmt: skip
_ID = re.compile(r"\b(1[67]\d{8})\.(\d+)\b")
_CHANNEL = re.compile(r"-([0-9a-f]{8})(?![0-9a-f-])")
_BRIDGE = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")

Row = Mapping[str, str]


@dataclass(frozen=True)
class Truth:
    """One call that must arrive."""

    linkedid: str
    others: tuple[str, ...]
    """Linkedids of what was folded into it: no call of their own."""
    number: str
    """The party outside, as written (`+` and all: docs/configuration.md); empty: none, or withheld."""
    optional: bool
    """docs/call.md: nobody outside was called; a rule may leave it out, if it says so."""


@dataclass(frozen=True)
class Kind:
    """Rows as captured, in the order of writing, and the calls they are."""

    name: str
    rows: Sequence[Row]
    truths: tuple[Truth, ...]


@dataclass(frozen=True)
class Happening:
    """One instance of a kind, at a moment of its own."""

    kind: str
    rows: Sequence[tuple[float, Row]]
    """With the moment at which each is written; never falling."""
    truths: tuple[Truth, ...]


def kinds() -> list[Kind]:
    """Every capture of one Asterisk 22; folders that show the same rows from two sides are one kind."""
    found: dict[frozenset[str], tuple[str, list[Row], list[Truth]]] = {}
    for folder in sorted(ROOT.iterdir()):
        if not folder.name[:2].isdigit() or folder.name.startswith(LEFT_OUT):
            continue
        truth: dict[str, Any] = yaml.safe_load((folder / "truth.yaml").read_text("utf-8"))
        with (folder / "cel.csv").open(encoding="utf-8", newline="") as file:
            rows: list[Row] = list(csv.DictReader(file))
        if truth["linkedid"] is None:
            continue
        keys = frozenset(row["linkedid"] for row in rows)
        found.setdefault(keys, (folder.name, rows, []))[2].append(_truth(folder.name, truth))
    merged = []
    for name, rows, truths in found.values():
        own = {truth.linkedid for truth in truths}
        parts = [
            Truth(t.linkedid, tuple(i for i in t.others if i not in own), t.number, t.optional)
            for t in truths
        ]
        merged.append(Kind(name, rows, tuple(parts)))
    return merged


def _truth(name: str, truth: dict[str, Any]) -> Truth:
    side = {"incoming": "caller_number", "outgoing": "dialled_number"}.get(truth["direction"])
    number = (truth[side] or "") if side else ""
    return Truth(
        linkedid=truth["linkedid"],
        others=tuple(truth["other_linkedids"]),
        number=number if re.fullmatch(r"\+?\d{10,}", number) else "",
        optional=side is None or name == "22-click-to-call-3",
    )


class Maker:
    """Makes instances; no two share an id, a channel name or a bridge."""

    def __init__(self, seed: str, numbers: int = 60) -> None:
        self.kinds = kinds()
        self._random = random.Random(seed)
        self._ids = count(1)
        # Ofcom's numbers for fiction; some customers call far more often than others
        self._numbers = [f"447700900{n:03}" for n in self._random.sample(range(1000), numbers)]
        self._weights = [(place + 1) ** -0.6 for place in range(numbers)]

    def happening(self, begin: float) -> Happening:
        """One more call, or joined calls, of a kind drawn at random, from `begin` on (a second less at most)."""
        kind = self._random.choice(self.kinds)
        shift = int(begin - float(kind.rows[0]["eventtime"]))
        new = _Renaming(self._ids, shift, self._random)
        for truth in kind.truths:
            if truth.number:
                plus = "+" * truth.number.startswith("+")
                new.numbers[truth.number] = plus + self._random.choices(self._numbers, self._weights)[0]
        rows: list[tuple[float, Row]] = []
        moment = 0.0
        for row in kind.rows:
            moment = max(moment, float(row["eventtime"]) + shift)
            cells = {name: new.cell(cell) for name, cell in row.items() if name != "AcctId"}
            rows.append((moment, cells | {"eventtime": f"{float(row['eventtime']) + shift:.6f}"}))
        truths = tuple(
            Truth(
                new.cell(t.linkedid),
                tuple(map(new.cell, t.others)),
                new.numbers.get(t.number, ""),
                t.optional,
            )
            for t in kind.truths
        )
        return Happening(kind.name, rows, truths)


class _Renaming:
    def __init__(self, ids: "count[int]", shift: int, chance: random.Random) -> None:
        self.numbers: dict[str, str] = {}
        self._ids = ids
        self._shift = shift
        self._random = chance
        self._known: dict[str, str] = {}

    def cell(self, text: str) -> str:
        text = _ID.sub(lambda m: f"{int(m[1]) + self._shift}.{self._new(m[2])}", text)
        text = _CHANNEL.sub(lambda m: f"-{int(self._new(m[1])):08x}", text)
        text = _BRIDGE.sub(lambda m: self._bridge(m[0]), text)
        for old, new in self.numbers.items():
            text = re.sub(rf"(?<!\d){re.escape(old)}(?!\d)", new, text)
        return text

    def _new(self, old: str) -> str:
        if old not in self._known:
            self._known[old] = str(next(self._ids))
        return self._known[old]

    def _bridge(self, old: str) -> str:
        if old not in self._known:
            self._known[old] = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        return self._known[old]
