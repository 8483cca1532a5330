"""`celreplay explain` as a process: over a table alone, as text and as JSON."""

import json
from pathlib import Path

import pytest
from rich.cells import cell_len
from test_cli import cel_file, celreplay, config_file, nowhere, refused, to_webhook

from celreplay.calls.explain import FIELDS
from celreplay.calls.model import decode_call

ASKED = "1795396146.49"
"""19-pickup-1: two linkedids, three channels, one bridge."""
PICKER = "1795396148.69"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config with nothing but `cel.url`, over three captures."""
    folder = tmp_path_factory.mktemp("explain")
    cel = cel_file(folder / "cel.sqlite", "19-pickup-1", "26-merged-1a", "12-out-noanswer-1")
    path = folder / "celreplay.yaml"
    path.write_text(f"cel: {{url: 'sqlite:///{cel}'}}\n")
    path.chmod(0o600)
    return path


def test_the_sections_come_in_order(config: Path) -> None:
    """Rows, bridges, the call with its legs, fields and warnings; no deliveries without connectors."""
    result = celreplay("explain", "-c", config, ASKED)
    assert result.returncode == 0, result.stderr
    heads = [line.split()[0] for line in result.stdout.splitlines() if line[:1].isupper()]
    assert [head for head in heads if head.isupper() and len(head) > 3 and "/" not in head] == [
        "ROWS",
        "BRIDGES",
        "CALL",
        "LEGS",
        "FIELDS",
        "WARNINGS",
    ]
    assert "264     2.023   |  o  |  PICKUP       by PJSIP/108-0000003f" in result.stdout


@pytest.mark.parametrize("width", [60, 80, 132])
def test_the_text_fits_the_terminal(config: Path, width: int) -> None:
    """No line is wider than the terminal."""
    result = celreplay("explain", "-c", config, ASKED, env={"COLUMNS": str(width)})
    assert max(cell_len(line) for line in result.stdout.splitlines()) <= width


def test_any_id_of_the_call_finds_it(config: Path) -> None:
    """The linkedid of who picked up shows the call that was picked up."""
    assert (
        celreplay("explain", "-c", config, PICKER).stdout == celreplay("explain", "-c", config, ASKED).stdout
    )


def test_json_holds_the_call_and_its_reasons(config: Path) -> None:
    """One object a call: the Call as `calls` prints it, all rows, and every field explained."""
    found = json.loads(celreplay("explain", "-c", config, "--json", ASKED).stdout)
    assert list(found) == ["call", "rows", "channels", "bridges", "fields", "deliveries"]
    call = celreplay("calls", "-c", config, "--id", ASKED, "--json").stdout
    assert found["call"] == json.loads(call)
    assert decode_call(json.dumps(found["call"])).linkedid == ASKED
    assert list(found["fields"]) == list(FIELDS)
    assert {name: field["value"] for name, field in found["fields"].items()} == found["call"]
    ids = {row["row"] for row in found["rows"]}
    assert ids == {*range(196, 199), *range(261, 270), *range(520, 528)}
    assert [len(bridge["stays"]) for bridge in found["bridges"]] == [2]


def test_of_two_calls_the_one_asked_for_comes_first(config: Path) -> None:
    """A merge joins two calls in one group: both are explained."""
    ids = [
        json.loads(line)["linkedid"]
        for line in celreplay("calls", "-c", config, "--all", "--json").stdout.splitlines()
    ]
    groups = [celreplay("explain", "-c", config, "--json", id_).stdout.splitlines() for id_ in ids]
    firsts = [json.loads(group[0])["call"]["linkedid"] for group in groups]
    assert firsts == ids
    assert sorted(map(len, groups)) == [1, 1, 2, 2]


def test_an_id_that_no_row_has_is_one_line(config: Path) -> None:
    """Exit 1, nothing on stdout."""
    result = celreplay("explain", "-c", config, "1.1")
    assert "no CEL row has the id 1.1" in refused(result, code=1)
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_json_has_the_deliveries(tmp_path: Path) -> None:
    """Each with its state and its attempts, times as in a call."""
    cel = cel_file(tmp_path / "cel.sqlite", "01-in-answered-1")
    config = config_file(tmp_path, cel, **to_webhook(nowhere()))
    celreplay("replay", "-c", config, "--start-date", "2026-11-01", "--mark-delivered")
    found = json.loads(celreplay("explain", "-c", config, "--json", "1795396140.0").stdout)
    (delivery,) = found["deliveries"]
    assert delivery["state"] == "delivered"
    assert delivery["updated_at"].endswith("Z")
    assert delivery["attempts"] == []


def test_without_the_cel_table_the_deliveries_are_shown(tmp_path: Path) -> None:
    """What each CRM has is in the store; what is wrong with the table is one line."""
    cel = cel_file(tmp_path / "cel.sqlite", "01-in-answered-1")
    config = config_file(tmp_path, cel, **to_webhook(nowhere()))
    celreplay("replay", "-c", config, "--start-date", "2026-11-01", "--mark-delivered")
    cel.unlink()
    result = celreplay("explain", "-c", config, "1795396140.0")
    assert "cel.sqlite" in refused(result, code=result.returncode)
    assert result.returncode != 0
    assert result.stdout.startswith("DELIVERIES\n1795396140.0  crm call  delivered")
