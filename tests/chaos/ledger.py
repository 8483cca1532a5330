"""Append-only files of JSON lines: what a process of a run saw, line by line, safe from its own death."""

import json
import time
from pathlib import Path
from typing import Any


class Ledger:
    """One process's file. A line is with the kernel when `write` returns, so a kill of the writer loses none."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, kind: str, **facts: Any) -> float:
        """Append one line; the moment it carries, UNIX seconds."""
        moment = time.time()
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"t": round(moment, 4), "kind": kind, **facts}) + "\n")
        return moment


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines; a last one that was cut off by a kill is left out."""
    lines: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
    return lines
