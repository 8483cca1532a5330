"""Calls as people and programs read them: one JSON object a line, CSV, or a table that fits the terminal.

Each is written as it comes, so that a million calls need no more memory than one.
"""

import csv
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, TextIO

import msgspec

from celreplay.calls.model import Call, encode

PIPED_WIDTH = 132
"""Columns of a table that goes into a pipe or file, unless COLUMNS says otherwise."""

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_FORMULA = re.compile(r"(^|[,;|\t\r\n])(\s*)([=+\-@＝＋－＠])")


class CallWriter(Protocol):
    """One form of output."""

    def write(self, call: Call) -> None:
        """Write one call."""
        ...

    def end(self) -> None:
        """Write what comes after the last call."""
        ...


class JsonLines:
    """`--format json`, `--json`: the Call of docs/call.md, one a line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, call: Call) -> None:
        self._out.write(encode(call).decode() + "\n")

    def end(self) -> None:
        pass


_CSV_COLUMNS: dict[str, Callable[[Call], object]] = {
    "linkedid": lambda call: call.linkedid,
    "system": lambda call: call.system,
    "direction": lambda call: call.direction.value,
    "disposition": lambda call: call.disposition.value,
    "caller_number": lambda call: call.caller.number,
    "caller_name": lambda call: call.caller.name,
    "dialed_number": lambda call: call.dialed_number,
    "external_number": lambda call: call.external_number,
    "answered_by": lambda call: call.answered_by,
    "extension": lambda call: call.extension,
    "trunk": lambda call: call.trunk,
    "queue": lambda call: call.queue,
    "started_at": lambda call: call.started_at.iso(),
    "answered_at": lambda call: call.answered_at.iso() if call.answered_at is not None else None,
    "ended_at": lambda call: call.ended_at.iso() if call.ended_at is not None else None,
    "duration": lambda call: call.duration,
    "wait": lambda call: call.wait,
    "ring": lambda call: call.ring,
    "talk": lambda call: call.talk,
    "hold": lambda call: call.hold,
    "recordings": lambda call: " ".join(call.recordings),
    "hangup_cause": lambda call: call.hangup_cause,
    "hangup_by": lambda call: call.hangup_by.value if call.hangup_by else None,
    "sip_code": lambda call: call.sip_code,
    "accountcode": lambda call: call.accountcode,
    "complete": lambda call: "true" if call.complete else "false",
}


class CsvRows:
    """`--format csv`: one row a call, times in UTC. Legs and transfers are in the JSON only."""

    def __init__(self, out: TextIO) -> None:
        self._rows = csv.writer(out, lineterminator="\n")
        self._rows.writerow(_CSV_COLUMNS)

    def write(self, call: Call) -> None:
        self._rows.writerow([safe_cell(value(call)) for value in _CSV_COLUMNS.values()])

    def end(self) -> None:
        pass


def safe_cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula: callers choose their own names.

    The rule is OWASP's (CSV Injection): an apostrophe before the sign that begins a formula, also behind a
    separator, as spreadsheets split by `;` in some countries. A plain number, `+` included, stays as it is.
    """
    text = "" if value is None else str(value)
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub(r"\1\2'\3", text)


class Column:
    """One column of a table: its title, the narrowest it may be, and what it takes of spare room."""

    def __init__(self, title: str, width: int, cell: Callable[[Call], str], *, grows: int = 0) -> None:
        self.title = title
        self.width = width
        self.cell = cell
        self.grows = grows


def _caller(call: Call) -> str:
    number, name = call.caller.number or "", call.caller.name or ""
    return f"{number} {name}".strip() if name and name != number else number


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds) // 60, 60)
    rest = round(seconds) % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


_DIRECTIONS = {"incoming": "in", "outgoing": "out", "internal": "int", "unknown": "?"}
CALL_COLUMNS: Sequence[Column] = (
    Column("started", 16, lambda call: local(call.started_at.utc())),
    Column("dir", 3, lambda call: _DIRECTIONS[call.direction.value]),
    Column("from", 11, _caller, grows=3),
    Column("to", 11, lambda call: call.dialed_number or "", grows=2),
    Column("by", 4, lambda call: call.answered_by or "", grows=2),
    Column("result", 9, lambda call: call.disposition.value.replace("_", " ")),
    Column("talk", 5, lambda call: _duration(call.talk)),
    Column("linkedid", 14, lambda call: call.linkedid, grows=2),
)


class Table:
    """`--format table`: a line a call, cut to the width. Times are local."""

    def __init__(self, out: TextIO, width: int) -> None:
        self._out = out
        self._widths = widths_for(CALL_COLUMNS, width)
        self._count = 0

    def write(self, call: Call) -> None:
        if not self._count:
            self._head()
        self._count += 1
        self._line([column.cell(call) for column in CALL_COLUMNS])

    def end(self) -> None:
        self._out.write(f"{self._count} {'call' if self._count == 1 else 'calls'}\n")

    def _head(self) -> None:
        """Not before the first call: a database that cannot be read is told in one line."""
        self._line([column.title for column in CALL_COLUMNS])
        self._line(["─" * width for width in self._widths])

    def _line(self, cells: Sequence[str]) -> None:
        fitted = (fit(cell, width) for cell, width in zip(cells, self._widths, strict=True))
        self._out.write(" ".join(fitted).rstrip() + "\n")


def widths_for(columns: Sequence[Column], width: int) -> list[int]:
    """The columns' widths in a line of `width`: spare room goes to those that grow, by their share."""
    spare = max(0, width - sum(column.width for column in columns) - (len(columns) - 1))
    shares = sum(column.grows for column in columns)
    return [column.width + spare * column.grows // shares for column in columns]


def fit(text: str, width: int) -> str:
    """Exactly `width` terminal cells; cut text ends with `…`. Nothing that moves the cursor gets through."""
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415  # JSON and CSV start without it

    text = printable(text)
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…"
    return set_cell_size(text, width)


def printable(text: str) -> str:
    """The text without control characters: a caller's name may hold escape sequences."""
    return "".join(sign if sign.isprintable() else "�" for sign in text)


def local(moment: datetime) -> str:
    """`2026-11-23 04:09` in the zone of this host."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def terminal_width() -> int:
    """Columns of this terminal (or COLUMNS)."""
    return shutil.get_terminal_size((80 if sys.stdout.isatty() else PIPED_WIDTH, 24)).columns


def writer_for(form: str, out: TextIO) -> CallWriter:
    """The writer of `--format`."""
    if form == "json":
        return JsonLines(out)
    if form == "csv":
        return CsvRows(out)
    return Table(out, terminal_width())


def print_json(body: object) -> None:
    """One JSON document on one line of stdout, UTF-8 whatever the locale."""
    sys.stdout.write(msgspec.json.encode(body).decode() + "\n")
