"""How calls are printed: JSON, CSV, table."""

import csv
import io

import pytest

from celreplay.calls.model import Call, Caller, Direction, Disposition, decode_call
from celreplay.cli.output import CALL_COLUMNS, CsvRows, JsonLines, Table, fit, safe_cell, widths_for
from celreplay.times import Instant


def call(number: str | None = "79161234501", name: str | None = None) -> Call:
    return Call(
        linkedid="1795396140.0",
        linkedids=["1795396140.0"],
        system="office",
        direction=Direction.INCOMING,
        disposition=Disposition.ANSWERED,
        caller=Caller(number=number, name=name),
        dialed_number="74951230101",
        answered_by="101",
        started_at=Instant(1795396140267000),
        talk=3725.4,
    )


def test_a_line_of_json_is_the_call_again() -> None:
    """JSON output is one Call a line; reading it gives the same Call."""
    out = io.StringIO()
    writer = JsonLines(out)
    writer.write(call())
    writer.write(call(name="two\nlines"))
    lines = out.getvalue().splitlines()
    assert [decode_call(line) for line in lines] == [call(), call(name="two\nlines")]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        pytest.param("=1+1", "'=1+1", id="formula"),
        pytest.param("@SUM(A1)", "'@SUM(A1)", id="at-sign"),
        pytest.param("-2+3|cmd", "'-2+3|cmd", id="minus"),
        pytest.param("\t=1", "\t'=1", id="behind-a-tab"),
        pytest.param("x;=1+1", "x;'=1+1", id="behind-the-separator-of-other-countries"),
        pytest.param("＝1+1", "'＝1+1", id="full-width-sign"),
        pytest.param("+79271110003", "+79271110003", id="number-with-plus-stays"),
        pytest.param(-1.5, "-1.5", id="figure-stays"),
        pytest.param("O'Neil, Ltd", "O'Neil, Ltd", id="plain-text-stays"),
        pytest.param(None, "", id="absent-is-empty"),
    ],
)
def test_no_cell_is_a_formula(value: object, cell: str) -> None:
    """A caller's name never becomes a formula in a spreadsheet, and numbers stay numbers."""
    assert safe_cell(value) == cell


def test_csv_has_one_row_a_call_and_names_its_columns() -> None:
    """CSV output is read back by column name, quotes and line ends in names included."""
    out = io.StringIO()
    writer = CsvRows(out)
    writer.write(call(name='O\'Neil "Q", Ltd\nsecond line'))
    (row,) = csv.DictReader(io.StringIO(out.getvalue()))
    assert row["caller_name"] == 'O\'Neil "Q", Ltd\nsecond line'
    assert row["started_at"] == "2026-11-23T01:09:00.267Z"
    assert (row["disposition"], row["talk"], row["answered_at"]) == ("answered", "3725.4", "")


@pytest.mark.parametrize("width", [80, 100, 132, 200])
def test_a_table_fits_its_width(width: int) -> None:
    """No line of a table is wider than the terminal, whatever a caller calls himself."""
    out = io.StringIO()
    table = Table(out, width)
    table.write(call(name="株式会社" * 30))
    table.write(call(number="1" * 300))
    table.end()
    lines = out.getvalue().splitlines()
    assert lines[-1] == "2 calls"
    from rich.cells import cell_len  # noqa: PLC0415  # only here

    assert max(cell_len(line) for line in lines) <= width
    assert "1:02" in lines[2]


def test_the_columns_of_the_narrowest_table_fit_80() -> None:
    """80 columns hold all columns; the linkedid is whole there, as one copies it for --id."""
    widths = widths_for(CALL_COLUMNS, 80)
    assert sum(widths) + len(widths) - 1 == 80
    assert widths[-1] >= len("1795396140.123")


def test_escape_sequences_of_a_caller_do_not_reach_the_terminal() -> None:
    """Control characters are shown as a replacement sign, never sent to the terminal."""
    assert fit("\x1b[2Jevil\x07", 12) == "�[2Jevil�   "
