"""`celreplay doctor`: a healthy PBX is told so; each planted fault is found, by name and with its remedy."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from captures_io import cases, events_of, forms_of
from cel_file import fill
from click.testing import CliRunner
from crm_server import SECRET
from servers import Mariadb, Postgresql, free_port

from celreplay.cli.doctor import command
from celreplay.demo.data import captured_calls
from celreplay.doctor.findings import Level
from celreplay.doctor.rows import about_rows
from celreplay.store.sqlite import SqliteStore
from celreplay.times import SECOND

Options = dict[str, Any]


class Office:
    """A healthy PBX: a CEL file with calls of this hour, its indexes, a config and a receiver's open port."""

    def __init__(self, folder: Path, crm: str) -> None:
        self.folder = folder
        self.cel = folder / "cel.sqlite"
        self.config = folder / "celreplay.yaml"
        self.mode = 0o600
        now = time.time() - 3600
        fill(self.cel, [call.beginning_at(now + 40 * at) for at, call in enumerate(captured_calls())])
        for column in ("linkedid", "uniqueid", "eventtime"):
            self.sql(f"CREATE INDEX {column}_index ON cel ({column})")
        self.options: Options = {
            "pbx": {"name": "office"},
            "cel": {"url": f"sqlite://{self.cel}"},
            "store": {"url": f"sqlite://{folder / 'store.sqlite'}"},
            "api": {"port": free_port()},
            "connectors": {"crm": {"type": "webhook", "url": crm, "secret": SECRET}},
        }

    def sql(self, statement: str) -> None:
        with closing(sqlite3.connect(self.cel)) as file, file:
            file.execute(statement)

    def doctor(self) -> tuple[int, dict[str, Any]]:
        """Exit code and what was found."""
        self.config.write_text(yaml.safe_dump(self.options))
        self.config.chmod(self.mode)
        result = CliRunner().invoke(command, ["-c", str(self.config), "--json"], catch_exceptions=False)
        return result.exit_code, json.loads(result.stdout)


@pytest.fixture
def crm() -> Any:
    """Something that listens and answers every request with 401."""
    program = (
        "import http.server as h\n"
        "class Refuse(h.BaseHTTPRequestHandler):\n"
        " def do_GET(self):\n"
        "  self.send_response(401); self.send_header('Content-Length', '0'); self.end_headers()\n"
        " def log_message(self, *a): pass\n"
        "s = h.HTTPServer(('127.0.0.1', 0), Refuse); print(s.server_port, flush=True); s.serve_forever()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/calls"
        process.kill()


@pytest.fixture
def office(tmp_path: Path, crm: str, log_as_before: None) -> Office:  # noqa: ARG001  the command configures it
    return Office(tmp_path, crm)


def test_a_healthy_pbx_is_told_so(office: Office) -> None:
    """Nothing but ok, exit code 0."""
    code, found = office.doctor()
    assert (code, found["level"]) == (0, "ok"), found
    assert all(finding["remedy"] == "" for finding in found["findings"])
    about = {finding["about"] for finding in found["findings"]}
    assert {
        "config",
        "table",
        "indexes",
        "events",
        "zone",
        "trunks",
        "connector crm",
        "disk",
        "daemon",
    } <= about


def _rows(sql: str) -> Callable[[Office], None]:
    return lambda office: office.sql(sql)


def _store(change: Callable[[Path], None]) -> Callable[[Office], None]:
    def plant(office: Office) -> None:
        path = office.folder / "store.sqlite"
        SqliteStore.open(path, system="office")._close()
        change(path)

    return plant


def _option(section: str, **values: object) -> Callable[[Office], None]:
    return lambda office: office.options.setdefault(section, {}).update(values)


def _connector(**values: object) -> Callable[[Office], None]:
    return lambda office: office.options["connectors"]["crm"].update(values)


def _asks(office: Office) -> None:
    crm = office.options["connectors"]["crm"]
    crm["lookup_url"] = crm["url"] + "/{webhook_id}"


def _second_system(office: Office) -> None:
    office.sql(
        "INSERT INTO cel (eventtype, eventtime, channame, uniqueid, linkedid)"
        " SELECT eventtype, eventtime, 'PJSIP/other-00000001', uniqueid, linkedid FROM cel"
        " WHERE eventtype = 'CHAN_START' LIMIT 1"
    )


def _open_to_all(office: Office) -> None:
    office.mode = 0o644


def _spoilt(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 20_000)


PLANTED: dict[str, tuple[Callable[[Office], None], str, str, str, str]] = {
    "no call written": (_rows("DELETE FROM cel"), "rows", "error", "is empty", "cel show status"),
    "silent for days": (
        _rows("UPDATE cel SET eventtime = eventtime - 300000, uniqueid = '', linkedid = 'x'"),
        "rows", "warning", "hours old", "cel show status",
    ),
    "no ANSWER": (
        _rows("DELETE FROM cel WHERE eventtype = 'ANSWER'"), "events", "error", "answered calls look missed", "events=",
    ),
    "no LINKEDID_END": (
        _rows("DELETE FROM cel WHERE eventtype = 'LINKEDID_END'"), "events", "warning", "no LINKEDID_END", "events=",
    ),
    "apps=all": (
        _rows("DELETE FROM cel WHERE eventtype LIKE 'APP_%'"), "events", "warning", "apps=all", "apps=",
    ),
    "some LINKEDID_END lost": (
        _rows("DELETE FROM cel WHERE eventtype = 'LINKEDID_END' AND AcctId % 2"), "ends", "warning", "% of", "Asterisk's log",
    ),
    "extra never written": (
        _rows("UPDATE cel SET eventextra = ''"), "extra", "error", "hangup causes", "add the column",
    ),
    "extra cut": (
        _rows("UPDATE cel SET eventextra = substr(eventextra, 1, 10) WHERE eventextra <> ''"), "extra", "warning", "is cut", "ALTER TABLE",
    ),
    "no linkedid": (
        _rows("UPDATE cel SET linkedid = ''"), "linkedid", "error", "no linkedid", "list of columns",
    ),
    "another zone": (
        _rows("UPDATE cel SET eventtime = eventtime - 10800"), "zone", "error", "-3.00 hours off", "pbx.timezone",
    ),
    "a clock ahead": (
        _rows("UPDATE cel SET eventtime = eventtime + 7200"), "clock", "error", "in the future", "NTP",
    ),
    "two systems": (_second_system, "systems", "error", "two Asterisks", "systemname"),
    "a time that is none": (
        _rows("UPDATE cel SET eventtime = 'soon' WHERE AcctId % 50 = 3"), "values", "warning", "rows are odd", "docs/sources.md",
    ),
    "no index": (
        _rows("DROP INDEX linkedid_index"), "indexes", "warning", "none on linkedid", "CREATE INDEX linkedid_index ON cel (linkedid)",
    ),
    "no table": (_rows("ALTER TABLE cel RENAME TO old"), "database", "error", "cel", ""),
    "no outside line": (
        _rows("DELETE FROM cel WHERE linkedid IN (SELECT linkedid FROM cel WHERE channame LIKE '%trunk%')"),
        "trunks", "warning", "no outside line was recognised", "pbx.trunks",
    ),
    "nobody to send to": (lambda office: office.options["connectors"].clear(), "config", "warning", "names no connector", "connectors:"),
    "secrets open to all": (_open_to_all, "config", "warning", "everybody can read it", "chmod 640"),
    "no folder for the store": (
        _option("store", url="sqlite:////nowhere/at/all/store.sqlite"), "store", "error", "is not there", "install -d",
    ),
    "a store open to all": (_store(lambda path: path.chmod(0o644)), "store", "warning", "open to others", "chmod 600"),
    "a spoilt store": (_store(_spoilt), "store", "error", "store.sqlite", "docs/store.md"),
    "nobody at the address": (
        _connector(url="http://127.0.0.1:1/calls"), "connector crm", "error", "connect", "firewall",
    ),
    "wrong credentials": (_asks, "connector crm", "error", "401", "docs/connectors"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found_with_its_remedy(office: Office, name: str) -> None:
    """The finding is about the right thing, as bad as it is, and says what to do; the exit code follows."""
    plant, about, level, text, remedy = PLANTED[name]
    plant(office)
    code, found = office.doctor()
    [finding] = [
        one
        for one in found["findings"]
        if (one["about"], one["level"]) == (about, level) and text in one["text"]
    ]
    assert remedy in finding["remedy"]
    assert finding["remedy"]
    assert code == max(Level[one["level"].upper()] for one in found["findings"]) > 0


def test_a_port_that_is_taken_is_told_with_the_program(office: Office) -> None:
    """Who has it, and what to do."""
    office.options["api"]["port"] = int(
        office.options["connectors"]["crm"]["url"].rpartition(":")[2].partition("/")[0]
    )
    code, found = office.doctor()
    [finding] = [one for one in found["findings"] if one["about"] == "port"]
    assert code == 2
    assert "is taken by python" in finding["text"]
    assert "api.port" in finding["remedy"]


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_an_account_without_the_right_to_read_is_told(
    office: Office, kind: str, request: pytest.FixtureRequest
) -> None:
    """A real server refuses: one finding, no traceback, no password in it."""
    server: Mariadb | Postgresql = request.getfixturevalue(kind)
    office.options["cel"]["url"] = server.url("nothere", user="nobody", password="hidden")
    code, found = office.doctor()
    [finding] = [one for one in found["findings"] if one["about"] == "database"]
    assert (code, finding["level"]) == (2, "error")
    assert finding["remedy"]
    assert "hidden" not in json.dumps(found)


def test_for_people_it_fits_the_terminal(office: Office) -> None:
    """One line a finding, its remedy below it; no colours in a pipe."""
    office.sql("DROP INDEX linkedid_index")
    office.config.write_text(yaml.safe_dump(office.options))
    office.config.chmod(0o600)
    program = [sys.executable, "-m", "celreplay", "doctor", "-c", str(office.config)]
    shown = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (1, "")
    lines = shown.stdout.splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith("warning  indexes: none on linkedid"))
    assert any(line.startswith("         -> at a quiet hour: CREATE INDEX") for line in lines[at:])
    assert "\x1b" not in shown.stdout


def test_captured_tables_are_healthy() -> None:
    """Two versions of Asterisk and the four back ends that hold everything: no finding from their rows."""
    for form in ("sqlite", "odbc-utc"):
        rows = [row for case in cases() if form in forms_of(case) for row in events_of(case, form)]
        now = max(row.eventtime for row in rows) + SECOND
        assert [finding.text for finding in about_rows(rows, now) if finding.level is not Level.OK] == []
