"""The commands, each as a real process: what they print, and how they say that something is wrong."""

import csv
import io
import json
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from celreplay.calls.model import decode_call
from celreplay.cli import COMMANDS

CAPTURES = Path(__file__).parent / "captures"
CELREPLAY = [sys.executable, "-m", "celreplay"]
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def celreplay(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*CELREPLAY, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, "COLUMNS": "80", **(env or {})},
    )


def refused(result: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """The one line on stderr; fails where there is a traceback or another exit code."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stderr.strip().splitlines()
    assert lines
    assert all(line.startswith("celreplay: ") for line in lines), lines
    return lines[-1]


def cel_file(path: Path, *cases: str) -> Path:
    """A file of cel_sqlite3_custom with the rows of captures, each AcctId once: folders share rows."""
    folders = [CAPTURES / case for case in cases] or sorted(CAPTURES.iterdir())
    rows: dict[int, dict[str, str]] = {}
    for folder in folders:
        file = folder / "cel.csv"
        if file.exists() and folder.name[0].isdigit():
            with file.open(encoding="utf-8", newline="") as lines:
                rows |= {int(row["AcctId"]): row for row in csv.DictReader(lines)}
    columns = list(next(iter(rows.values())))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TABLE cel (AcctId INTEGER PRIMARY KEY, {', '.join(columns[1:])})")
        database.executemany(
            f"INSERT INTO cel VALUES ({', '.join('?' * len(columns))})",  # noqa: S608  # marks only
            [list(rows[key].values()) for key in sorted(rows)],
        )
    return path


def config_file(folder: Path, cel: Path, **sections: Any) -> Path:
    """A config over that file."""
    path = folder / "celreplay.yaml"
    config = {
        "cel": {"url": f"sqlite:///{cel}", "stale_after": "1 min"},
        "store": {"url": f"sqlite:///{folder / 'store.sqlite'}"},
        **sections,
    }
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    path.chmod(0o600)
    return path


def to_webhook(url: str) -> dict[str, Any]:
    """The sections of a config that delivers."""
    hook = {"type": "webhook", "url": url, "secret": SECRET}
    return {"pbx": {"name": "office"}, "api": {"port": 0}, "connectors": {"crm": hook}}


def nowhere() -> str:
    """An address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/"


@pytest.fixture(scope="module")
def all_captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config with nothing but `cel.url`, over all captures."""
    folder = tmp_path_factory.mktemp("captures")
    path = folder / "celreplay.yaml"
    cel = cel_file(folder / "cel.sqlite")
    path.write_text(yaml.safe_dump({"cel": {"url": f"sqlite:///{cel}"}}), encoding="utf-8")
    return path


def test_help_names_every_command_and_loads_none() -> None:
    """`--help` is quick: it imports no driver, no HTTP, no rich."""
    probe = (
        "import sys; sys.argv = ['celreplay', '--help']\n"
        "from celreplay.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('loaded:', [name for name in ('aiohttp', 'rich', 'asyncpg', 'msgspec') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "loaded: []" in result.stdout
    for name in COMMANDS:
        assert f"  {name} " in result.stdout


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_help_of_a_command_begins_as_the_list_says(name: str) -> None:
    """The list of commands tells what each command's own help says."""
    result = celreplay(name, "--help", env={"COLUMNS": "120"})
    assert result.returncode == 0
    assert COMMANDS[name] in result.stdout


def test_version() -> None:
    """`--version` prints the version of the package."""
    from celreplay import __version__  # noqa: PLC0415  # only here

    assert celreplay("--version").stdout == f"celreplay {__version__}\n"


def test_json_has_one_call_a_line(all_captures: Path) -> None:
    """`calls --all --format json` prints every finished call of the table once, as docs/call.md has it."""
    result = celreplay("calls", "-c", all_captures, "--all", "--json")
    assert result.returncode == 0, result.stderr
    calls = [decode_call(line) for line in result.stdout.splitlines()]
    assert len({call.linkedid for call in calls}) == len(calls) > 60
    by_id = {call.linkedid: call for call in calls}
    assert by_id["1795396140.0"].answered_by == "101"
    assert by_id["1795396140.0"].caller.number == "79161234501"


def test_csv_has_the_same_calls(all_captures: Path) -> None:
    """`--format csv` prints the calls of the JSON, and no cell of it is a formula."""
    lines = celreplay("calls", "-c", all_captures, "--all", "--json").stdout.splitlines()
    result = celreplay("calls", "-c", all_captures, "--all", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["linkedid"] for row in rows] == [json.loads(line)["linkedid"] for line in lines]
    cells = [cell for row in rows for cell in row.values()]
    assert not [cell for cell in cells if re.match(r"[=@]|[+-]\D", cell)]


def test_the_table_fits_the_terminal(all_captures: Path) -> None:
    """The table is no wider than the terminal and counts the calls."""
    result = celreplay("calls", "-c", all_captures, "--all")
    lines = result.stdout.splitlines()
    assert result.returncode == 0, result.stderr
    assert max(map(len, lines)) <= 80
    assert lines[-1] == f"{len(lines) - 3} calls"
    assert "1795396140.0" in result.stdout


def test_names_come_through_an_ascii_locale(all_captures: Path) -> None:
    """A caller's name that the locale cannot say does not end the listing."""
    result = celreplay("calls", "-c", all_captures, "--all", env={"LC_ALL": "C", "PYTHONUTF8": "0"})
    assert result.returncode == 0, result.stderr


def test_calls_by_any_of_their_ids(all_captures: Path) -> None:
    """A linkedid and the uniqueid of a leg name the same call; a comma list and repetition mean the same."""
    for ids in (["1795396140.0"], ["1795396140.1"], ["1795396140.0,1795396140.1"]):
        result = celreplay("calls", "-c", all_captures, "--json", "--id", *ids)
        assert [json.loads(line)["linkedid"] for line in result.stdout.splitlines()] == ["1795396140.0"]


def test_an_unknown_id_is_told_after_the_known_ones(all_captures: Path) -> None:
    """Known ids are printed, unknown ones are told, and the exit code is 1."""
    result = celreplay("calls", "-c", all_captures, "--json", "--id", "1795396140.0", "--id", "1111111111.1")
    assert json.loads(result.stdout)["linkedid"] == "1795396140.0"
    assert result.returncode == 1
    error = json.loads(result.stderr)["error"]
    assert (error["code"], error["message"]) == ("not_found", "no CEL row has the id 1111111111.1")
    plain = celreplay("calls", "-c", all_captures, "--id", "1111111111.1")
    assert refused(plain, code=1) == "celreplay: no CEL row has the id 1111111111.1"


def test_a_period_has_the_calls_with_a_row_in_it(all_captures: Path) -> None:
    """`--start-date` and `--end-date` take UNIX seconds; the call is whole, though it begins before."""
    result = celreplay(
        "calls", "-c", all_captures, "--json",
        "--start-date", "1795396144", "--end-date", "1795396144",
    )  # fmt: skip
    calls = [decode_call(line) for line in result.stdout.splitlines()]
    first = next(call for call in calls if call.linkedid == "1795396140.0")
    assert first.started_at.iso() == "2026-11-23T01:09:00.267Z"
    everything = celreplay("calls", "-c", all_captures, "--all", "--json").stdout.splitlines()
    assert 0 < len(calls) < len(everything)


def test_a_view_of_the_table_gives_the_same_calls(tmp_path: Path) -> None:
    """A view has no index on id, and its epochs may be texts: a period before all of them finds all."""
    cel = cel_file(tmp_path / "cel.sqlite", "01-in-answered-1", "02-in-abandoned-ringing-1")
    config = config_file(tmp_path, cel)
    through_the_table = celreplay("calls", "-c", config, "--all", "--json").stdout
    with closing(sqlite3.connect(cel)) as database, database:
        database.execute("ALTER TABLE cel RENAME TO rows")
        database.execute("CREATE VIEW cel AS SELECT * FROM rows")
    through_the_view = celreplay("calls", "-c", config, "--all", "--json").stdout
    assert len(through_the_table.splitlines()) == 2
    assert through_the_view == through_the_table


@pytest.mark.parametrize("name", ["missing.sqlite", "."])
def test_no_head_of_a_table_stands_before_an_error(tmp_path: Path, name: str) -> None:
    """What cannot be read is told in one line, with its remedy, and nothing is printed."""
    result = celreplay("calls", "-c", config_file(tmp_path, tmp_path / name), "--all")
    said = refused(result)
    assert result.stdout == ""
    assert "master.db" in said


def test_an_unfinished_call_is_shown_as_such(tmp_path: Path) -> None:
    """A call that goes on, or that nobody has ended yet, is shown as far as its rows go, and told."""
    cel = cel_file(tmp_path / "cel.sqlite", "01-in-answered-1")
    with closing(sqlite3.connect(cel)) as database, database:
        database.execute("DELETE FROM cel WHERE eventtype IN ('HANGUP', 'CHAN_END', 'LINKEDID_END')")
    config = config_file(tmp_path, cel)
    config.write_text(config.read_text().replace("1 min", "36500 days"))
    result = celreplay("calls", "-c", config, "--all", "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout)["complete"] is False
    assert "1 call has not finished" in result.stderr
    named = celreplay("calls", "-c", config, "--id", "1795396140.0", "--json")
    assert named.stdout == result.stdout


def test_a_closed_pipe_ends_quietly(tmp_path: Path, all_captures: Path) -> None:
    """`| head -1` ends the listing without a word on stderr."""
    errors = tmp_path / "stderr"
    command = shlex.join([*CELREPLAY, "calls", "-c", str(all_captures), "--all", "--json"])
    script = f"set -o pipefail; {command} 2>{shlex.quote(str(errors))} | head -1 | cut -c1-10; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=50)
    line, code = result.stdout.splitlines()
    assert line == '{"linkedid'
    assert code in {"0", "141"}
    assert errors.read_text() == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param([], "say which calls", id="nothing-named"),
        pytest.param(["--start-date", "yesterday"], "start_date 'yesterday' is no time", id="bad-date"),
        pytest.param(["--start-date", "0"], "0 is refused", id="zero"),
        pytest.param(["--start-date", "-1", "--end-date", "-2"], "before", id="end-before-start"),
        pytest.param(["--end-date", "-1"], "--end-date needs --start-date", id="end-alone"),
        pytest.param(["--id", "x"], "no linkedid or uniqueid", id="bad-id"),
        pytest.param(["--id", "1.1", "--start-date", "-1"], "not both", id="id-and-period"),
        pytest.param(["--all", "--id", "1.1"], "--all", id="all-and-id"),
        pytest.param(["--format", "xml", "--all"], "xml", id="bad-format"),
        pytest.param(["--nonsense"], "--nonsense", id="unknown-option"),
    ],
)
def test_a_wrong_request_is_one_line(arguments: list[str], words: str, all_captures: Path) -> None:
    """What a user can get wrong is refused in one line that names it, exit code 2."""
    assert words in refused(celreplay("calls", "-c", all_captures, *arguments))


@pytest.mark.parametrize("command", [["calls", "--all"], ["replay", "--id", "1.1"], ["status"], ["serve"]])
def test_a_missing_config_is_one_line(command: list[str], tmp_path: Path) -> None:
    """Every command names the config file that it cannot read."""
    missing = tmp_path / "none.yaml"
    assert str(missing) in refused(celreplay(*command, "-c", missing))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"SQLite format 3\0" + b"broken" * 500, "", id="damaged"),
        pytest.param(b"no database at all", "not an SQLite database", id="no-database"),
        pytest.param(None, "", id="missing"),
    ],
)
def test_a_cel_file_that_is_none_is_one_line(content: bytes | None, words: str, tmp_path: Path) -> None:
    """A CEL file that cannot be read is told with its path, exit code 2."""
    cel = tmp_path / "cel.sqlite"
    if content is not None:
        cel.write_bytes(content)
    line = refused(celreplay("calls", "-c", config_file(tmp_path, cel), "--all"))
    assert str(cel) in line
    assert words in line


def test_check_config_shows_what_was_understood_without_secrets(tmp_path: Path) -> None:
    """The config is printed with its defaults, as YAML; secrets and passwords are masked."""
    config = config_file(tmp_path, tmp_path / "cel.sqlite", **to_webhook("http://127.0.0.1/"))
    values = yaml.safe_load(config.read_text())
    values["cel"]["url"] = "mysql://reader:hidden-password@127.0.0.1/asteriskcdrdb"
    values["api"]["users"] = {"admin": "hidden-too"}
    config.write_text(yaml.safe_dump(values))
    result = celreplay("check-config", "-c", config)
    assert result.returncode == 0, result.stderr
    shown = yaml.safe_load(result.stdout)
    assert shown["cel"]["url"] == "mysql://reader:***@127.0.0.1/asteriskcdrdb"
    assert shown["api"]["users"] == {"admin": "***"}
    assert shown["cel"]["grace"] == "3 s"
    assert shown["connectors"]["crm"]["type"] == "webhook"
    assert "hidden" not in result.stdout + result.stderr
    assert SECRET not in result.stdout


def test_check_config_tells_all_mistakes_at_once(tmp_path: Path) -> None:
    """Each mistake is a line of its own, with its path in the file."""
    path = tmp_path / "celreplay.yaml"
    path.write_text("cel: {url: 'oracle://x', grace: soon}\napi: {prot: 1}\n")
    result = celreplay("check-config", "-c", path)
    refused(result)
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    for place in ("cel.url", "cel.grace", "api.prot"):
        assert any(place in line for line in lines), lines


def test_a_file_that_is_no_yaml_is_one_line(tmp_path: Path) -> None:
    """Broken YAML is told with its line."""
    path = tmp_path / "celreplay.yaml"
    path.write_text("cel: {url: [\n")
    assert "line 2" in refused(celreplay("check-config", "-c", path))


def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(tmp_path: Path) -> None:
    """`replay --dry-run` lists the calls; nobody is connected to, nothing is queued."""
    cel = cel_file(tmp_path / "cel.sqlite", "01-in-answered-1", "03-in-busy-1")
    config = config_file(tmp_path, cel, **to_webhook(nowhere()))
    result = celreplay("replay", "-c", config, "--start-date", "2026-11-01", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "1795396140.0  crm  would be sent" in result.stdout
    assert "1795396141.4  crm  would be sent" in result.stdout
    status = json.loads(celreplay("status", "-c", config, "--json").stdout)
    assert all(sum(states.values()) == 0 for states in status["connectors"].values())


def test_marked_calls_are_never_sent_by_a_period(tmp_path: Path) -> None:
    """`--mark-delivered` records calls as delivered elsewhere; a later replay of the period finds them done."""
    cel = cel_file(tmp_path / "cel.sqlite", "01-in-answered-1", "03-in-busy-1")
    config = config_file(tmp_path, cel, **to_webhook(nowhere()))
    marked = celreplay("replay", "-c", config, "--start-date", "2026-11-01", "--mark-delivered")
    assert marked.returncode == 0, marked.stderr
    assert "2 marked as delivered" in marked.stdout
    again = celreplay("replay", "-c", config, "--start-date", "2026-11-01")
    assert again.returncode == 0, again.stderr
    assert "2 already delivered" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        pytest.param([], "say which calls", 2, id="nothing-named"),
        pytest.param(["--id", "1795396140.0", "--connector", "crn"], "crn", 2, id="unknown-connector"),
        pytest.param(["--id", "1795396140.0", "--force=maybe"], "maybe", 2, id="bad-force"),
        pytest.param(["--id", "1111111111.1"], "1111111111.1", 1, id="unknown-id"),
        pytest.param(["--start-date", "soon"], "soon", 2, id="bad-date"),
    ],
)
def test_a_wrong_replay_is_one_line(arguments: list[str], words: str, code: int, tmp_path: Path) -> None:
    """A replay that cannot be is refused, and nothing has happened."""
    cel = cel_file(tmp_path / "cel.sqlite", "01-in-answered-1")
    config = config_file(tmp_path, cel, **to_webhook(nowhere()))
    assert words in refused(celreplay("replay", "-c", config, *arguments), code)


def test_status_before_the_first_start(tmp_path: Path) -> None:
    """Without a store there is nothing to tell but that; no store is made by asking."""
    cel = cel_file(tmp_path / "cel.sqlite", "01-in-answered-1")
    config = config_file(tmp_path, cel)
    result = celreplay("status", "-c", config)
    assert result.returncode == 0, result.stderr
    assert "not running" in result.stdout
    assert "not begun" in result.stdout
    assert not (tmp_path / "store.sqlite").exists()


def test_status_beside_a_running_daemon(tmp_path: Path) -> None:
    """`status` names the daemon's pid and says that reading is at the table's end; SIGTERM ends it with 0."""
    cel = cel_file(tmp_path / "cel.sqlite", "01-in-answered-1")
    config = config_file(tmp_path, cel, **to_webhook(nowhere()))
    with subprocess.Popen(
        [*CELREPLAY, "serve", "-c", str(config)], stderr=subprocess.PIPE, text=True
    ) as daemon:
        try:
            assert daemon.stderr is not None
            for line in daemon.stderr:
                if "daemon.ready" in line:
                    break
            status = {"reading": None}
            while status["reading"] is None:
                status = json.loads(celreplay("status", "-c", config, "--json").stdout)
            assert status["daemon"] == {"running": True, "pid": daemon.pid}
            assert status["reading"]["rows_behind"] == 0
            assert f"running (pid {daemon.pid})" in celreplay("status", "-c", config).stdout
            second = refused(celreplay("serve", "-c", config))
            assert str(daemon.pid) in second
            daemon.send_signal(signal.SIGTERM)
            daemon.stderr.read()
            assert daemon.wait(30) == 0
        finally:
            daemon.kill()
    assert "not running" in celreplay("status", "-c", config).stdout


def test_explain_tells_where_a_call_stands(tmp_path: Path) -> None:
    """`explain` ends with the call's state for each connector, and the reason."""
    cel = cel_file(tmp_path / "cel.sqlite", "01-in-answered-1")
    config = config_file(tmp_path, cel, **to_webhook(nowhere()))
    assert "DELIVERIES" not in celreplay("explain", "-c", config, "1795396140.0").stdout
    celreplay("replay", "-c", config, "--start-date", "2026-11-01", "--mark-delivered")
    result = celreplay("explain", "-c", config, "1795396140.0")
    assert result.returncode == 0, result.stderr
    *_, heading, delivery = result.stdout.splitlines()
    assert heading == "DELIVERIES"
    assert "79161234501 → 74951230101" in result.stdout
    assert "crm call  delivered: marked as delivered elsewhere" in delivery
    assert "no linkedid" in refused(celreplay("explain", "-c", config, "x"))


def test_a_replay_to_a_crm_that_is_down_may_be_left(tmp_path: Path) -> None:
    """A replay to a CRM that is down waits. Ctrl-C leaves it (exit 130, no traceback), and nothing is lost:
    `explain` has the attempt, `status` the hold."""
    cel = cel_file(tmp_path / "cel.sqlite", "01-in-answered-1")
    config = config_file(tmp_path, cel, **to_webhook(nowhere()))
    command = [*CELREPLAY, "replay", "-c", str(config), "--start-date", "2026-11-01", "--force"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as replay:
        holds: dict[str, Any] = {}
        while not holds:
            holds = json.loads(celreplay("status", "-c", config, "--json").stdout)["holds"]
        replay.send_signal(signal.SIGINT)
        assert replay.stderr is not None
        errors = replay.stderr.read()
        assert replay.wait(40) == 130
    assert "Traceback" not in errors
    assert "replay 1 goes on with the next start of celreplay\n" in errors
    assert "on hold     crm" in celreplay("status", "-c", config).stdout
    assert "  1. " in celreplay("explain", "-c", config, "1795396140.0").stdout


@pytest.mark.parametrize("scheme", ["mysql", "postgresql"])
def test_a_database_that_is_away_is_one_line(scheme: str, tmp_path: Path) -> None:
    """A database that refuses the connection is told in one line, without its password."""
    port = nowhere().rpartition(":")[2].rstrip("/")
    path = tmp_path / "celreplay.yaml"
    path.write_text(f"cel: {{url: '{scheme}://reader:hidden@127.0.0.1:{port}/cel'}}\n")
    path.chmod(0o600)
    line = refused(celreplay("calls", "-c", path, "--all"))
    assert "hidden" not in line
    assert port in line


def test_without_a_command_the_help_is_shown() -> None:
    """`celreplay` alone tells what there is, exit code 2."""
    result = celreplay()
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: celreplay")


def test_a_full_disk_is_one_line(all_captures: Path) -> None:
    """Output that cannot be written is told in one line."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        result = subprocess.run(
            [*CELREPLAY, "calls", "-c", str(all_captures), "--all", "--format", "json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=50,
        )
    assert refused(result) == "celreplay: No space left on device"


def test_json_of_what_was_understood_and_of_each_mistake(all_captures: Path, tmp_path: Path) -> None:
    """`--json`: the config as one object, and a broken one as an error with all its mistakes."""
    told = celreplay("check-config", "-c", all_captures, "--json")
    assert json.loads(told.stdout)["cel"]["url"].startswith("sqlite:")
    assert list(json.loads(told.stderr.splitlines()[-1])) == ["note"]
    broken_config = tmp_path / "broken.yaml"
    broken_config.write_text("cel: {url: 5}\npxb: {}\n", encoding="utf-8")
    broken = celreplay("check-config", "-c", broken_config, "--json")
    assert (broken.returncode, broken.stdout) == (2, "")
    error = json.loads(broken.stderr)["error"]
    assert error["code"] == "config"
    assert len(error["mistakes"]) > 1


def test_json_of_a_wrong_use(all_captures: Path) -> None:
    """What click refuses is JSON too where JSON was asked for."""
    wrong = celreplay("calls", "-c", all_captures, "--json", "--nonsense")
    assert (wrong.returncode, json.loads(wrong.stderr)["error"]["code"]) == (2, "usage")


def test_without_a_place_to_print_nothing_is_done(tmp_path: Path) -> None:
    """A closed stdout ends the command with code 2, not with a traceback."""
    command = shlex.join(
        [*CELREPLAY, "calls", "-c", str(config_file(tmp_path, tmp_path / "cel.sqlite")), "--all"]
    )
    result = subprocess.run(["bash", "-c", f"{command} >&-"], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_a_password_is_hashed_for_the_config(tmp_path: Path) -> None:
    """HA1 = H(user:realm:password) of RFC 7616 section 3.4.2, as sha256sum and md5sum make it; the config takes
    the lines as they are printed, and shows none of them."""
    command = [*CELREPLAY, "hash-password", "night"]
    made = subprocess.run(command, input="owl\n", capture_output=True, text=True, check=True)
    for program, key in (("sha256sum", "sha256"), ("md5sum", "md5")):
        summed = subprocess.run(
            [program], input="night:celreplay:owl", capture_output=True, text=True, check=True
        )
        assert f"  {key}: {summed.stdout.split()[0]}\n" in made.stdout
    lines = "".join(f"    {line}\n" for line in made.stdout.splitlines())
    config = tmp_path / "celreplay.yaml"
    config.write_text(f"cel: {{url: 'sqlite:////cel'}}\napi:\n  users:\n{lines}      role: read\n")
    config.chmod(0o600)
    checked = celreplay("check-config", "-c", config)
    assert checked.returncode == 0, checked.stderr
    shown = yaml.safe_load(checked.stdout)["api"]["users"]["night"]
    assert shown == {"password": None, "sha256": "***", "md5": "***", "role": "read"}
    empty = subprocess.run(command, input="\n", capture_output=True, text=True, check=False)
    assert (empty.returncode, empty.stderr) == (2, "celreplay: the password of night is empty\n")
