"""A call as a test case: nobody is left in it, and it is still the same call."""

import csv
import io
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest
import yaml
from captures_io import cases, decoded, events_of, forms_of, truth_of
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from celreplay.calls.capturing import COLUMNS, Case, case_of, summary
from celreplay.calls.interpret import calls_of
from celreplay.calls.masking import Mask
from celreplay.calls.numbering import PbxRules, same_number
from celreplay.cel.events import CelEvent
from celreplay.cel.grouping import groups_of

RULES = PbxRules(system="pbx")
KEY = b"not so secret"
NOBODY = {"Anonymous"}
PAIRS = [
    pytest.param(case, form, id=f"{case}-{form}")
    for case in cases()
    for form in forms_of(case)
    if events_of(case, form)
]


def cases_of(case: str, form: str) -> Iterator[tuple[Case, list[CelEvent]]]:
    """The groups of a capture as test cases, each with its rows."""
    for group in groups_of(events_of(case, form)):
        made = case_of(group.events, RULES, KEY)
        assert isinstance(made, Case), made
        yield made, list(group.events)


@cache
def people() -> frozenset[str]:
    """Every number and name of every capture, as the truths have them."""
    truths = [truth_of(case) for case in cases()]
    numbers = {truth[key] or "" for truth in truths for key in ("caller_number", "dialled_number")}
    names = {str(truth.get("caller_name") or "") for truth in truths}
    return frozenset(
        {run for number in numbers for run in re.findall(r"\d{6,}", number)}
        | {name for name in names if re.search(r"[^\W\d_]{3}", name)}
    )


@pytest.mark.parametrize(("case", "form"), PAIRS)
def test_nobody_is_left_in_a_case(case: str, form: str) -> None:
    """No number of six digits and more, and no name, of any capture stands in the files."""
    for made, events in cases_of(case, form):
        fields = (
            "cid_num",
            "cid_ani",
            "cid_rdnis",
            "cid_dnid",
            "exten",
            "appdata",
            "channame",
            "extra",
            "peer",
        )
        texts = [getattr(event, field) for event in events for field in fields]
        ids = {re.split(r"[-.]", event.uniqueid)[-2] for event in events} | {
            event.channame.rpartition("-")[2].partition(";")[0] for event in events
        }
        uuid = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
        runs = {run for text in texts for run in re.findall(r"\d{6,}", re.sub(uuid, "", text))}
        numbers = {run for run in runs if run not in ids and not re.fullmatch(r"0000[0-9]{4}|0000\d+", run)}
        names = {event.cid_name for event in events if re.search(r"[^\W\d_]{3}", event.cid_name)}
        written = "\n".join(cell for row in made.rows for cell in row) + str(made.calls)
        assert not {one for one in (people() | numbers | names) - NOBODY if one in written}


@pytest.mark.parametrize(("case", "form"), PAIRS)
def test_a_case_is_read_like_the_call_it_was(case: str, form: str) -> None:
    """As the suite reads `tests/calls/`: what the YAML says, and what of the original is no person's."""
    for made, events in cases_of(case, form):
        rows = decoded(list(COLUMNS), made.rows, None)
        (group,) = groups_of(rows)
        calls = calls_of(group.events, RULES)
        assert [summary(call) for call in calls] == made.calls
        assert made.pbx == {}
        for call, original in zip(calls, calls_of(events, RULES), strict=True):
            for field in (
                "linkedids",
                "direction",
                "disposition",
                "wait",
                "ring",
                "talk",
                "hold",
                "sip_code",
            ):
                assert getattr(call, field) == getattr(original, field)
            assert [leg.disposition for leg in call.legs] == [leg.disposition for leg in original.legs]


def masked(text: str, *, rows: list[CelEvent] | None = None) -> str:
    """A text of the rows (by default of a captured call) after masking."""
    return Mask(rows or events_of("01-in-answered-1", "sqlite"), KEY).text(text)


@given(st.from_regex(r"[0-9]{6,15}", fullmatch=True), st.from_regex(r"[0-9]{1,4}", fullmatch=True))
def test_numbers_keep_their_length_and_their_likeness(number: str, prefix: str) -> None:
    """A number with a prefix is still that number with a prefix, and none is itself."""
    mask = Mask([], KEY)
    one, other = mask.number(number), mask.number(prefix + number)
    assert len(one) == len(number)
    assert one != number
    assert other.endswith(one)
    assert same_number(one, other)


@given(st.from_regex(r"[0-9]{6,15}", fullmatch=True), st.integers(0, 14), st.integers(1, 9))
def test_two_numbers_stay_two(number: str, place: int, step: int) -> None:
    """That differ in one digit, wherever it stands."""
    at = place % len(number)
    other = number[:at] + str((int(number[at]) + step) % 10) + number[at + 1 :]
    assert Mask([], KEY).number(number) != Mask([], KEY).number(other)


def test_a_number_that_becomes_another_of_the_call_is_masked_anew() -> None:
    """Else a person's number would stand there after all."""
    other = Mask([], KEY + bytes([0])).number("79031110001")
    made = case_of(with_texts(cid_dnid="79031110001", cid_rdnis=other), RULES, KEY)
    assert isinstance(made, Case)
    assert not any(other in cell for row in made.rows for cell in row)


def test_a_number_becomes_the_same_everywhere() -> None:
    """With or without separators, in a string of Dial, a channel, a file, JSON."""
    number = masked("79031110001")
    assert masked("PJSIP/79031110001@trunk-main,60,T") == f"PJSIP/{number}@trunk-main,60,T"
    assert masked('{"extension":"+79031110001"}') == f'{{"extension":"+{number}"}}'
    assert masked("out-79031110001.wav") == f"out-{number}.wav"
    dashed = Mask([], KEY).number("+7 (903) 111-00-01")
    assert re.sub(r"\D", "", dashed) == number
    assert re.sub(r"\d", "0", dashed) == "+0 (000) 000-00-00"


@pytest.mark.parametrize(
    "written", ["+7 (903) 111-00-01", "7-903-111-00-01", "7 903 111 00 01", "7.903.111.00.01"]
)
def test_a_number_as_people_write_it_is_masked_too(written: str) -> None:
    """Between words, in the same digits as everywhere else; two extensions side by side are none."""
    said = masked(f"call {written}, please")
    assert re.sub(r"\D", "", said) == masked("79031110001")
    assert re.sub(r"\d", "0", said) == re.sub(r"\d", "0", f"call {written}, please")
    assert masked("rings 101 102") == "rings 101 102"


def test_a_name_in_an_address_is_replaced() -> None:
    """As a dialplan puts it into the address of a web request."""
    events = [
        replace(event, cid_name="Zoë Örn") for event in with_texts(appdata="x?name=Zo%C3%AB%20%C3%96rn&y=1")
    ]
    made = case_of(events, RULES, KEY)
    assert isinstance(made, Case)
    assert made.rows[1][COLUMNS.index("appdata")] == "x?name=Name1&y=1"


def test_extensions_and_the_ids_of_the_rows_stay() -> None:
    """What Asterisk numbers by itself is nobody's number."""
    first = events_of("01-in-answered-1", "sqlite")[0]
    for text in (first.uniqueid, first.channame, "PJSIP/101,20", "1c22b79b-9512-4fa8-8737-001234567890"):
        assert masked(text) == text
    assert masked("sip:101@203.0.113.5:5060").startswith("sip:101@192.0.2.")


def test_another_key_gives_other_numbers() -> None:
    """Without the key nobody finds the numbers again."""
    assert Mask([], b"one").number("79031110001") != Mask([], b"other").number("79031110001")


def with_texts(**texts: str) -> list[CelEvent]:
    """A captured call whose second row has these texts."""
    events = events_of("01-in-answered-1", "sqlite")
    return [events[0], replace(events[1], **texts), *events[2:]]


def test_a_name_is_replaced_wherever_it_stands() -> None:
    """In other columns, in JSON, in the name of a file; in words that only contain a short one it is not."""
    events = [
        replace(event, cid_name="Zoë Örn") if at == 0 else replace(event, cid_name="Al") if at == 1 else event
        for at, event in enumerate(with_texts(appdata="Local/1,zoë_örn.wav,Al", extra='{"a":"ZOË ÖRN"}'))
    ]
    made = case_of(events, RULES, KEY)
    assert isinstance(made, Case)
    row = dict(zip(COLUMNS, made.rows[1], strict=True))
    assert row["cidname"].startswith("Name")
    assert re.fullmatch(r"Local/1,Name\d\.wav,Name\d", row["appdata"])
    assert re.fullmatch(r'\{"a":"Name\d"\}', row["eventextra"])


def test_texts_of_the_admins_own_lose_their_letters() -> None:
    """Account codes and user events may hold anything."""
    said = replace(
        events_of("01-in-answered-1", "sqlite")[3],
        eventtype="NOTE",
        user_defined=True,
        userdeftype="NOTE",
        extra='{"extra":"VIP \\u0418van, call 79261110009"}',
    )
    events = with_texts(accountcode="Müller GmbH")
    rows = [replace(row, id=number) for number, row in enumerate([*events[:4], said, *events[4:]])]
    made = case_of(rows, RULES, KEY)
    assert isinstance(made, Case)
    assert "xxxxxx xxxx" in made.rows[1]
    (row,) = (row for row in made.rows if "NOTE" in row)
    assert re.fullmatch(r'\{"extra":"xxx xxxx, xxxx 79\d{9}"\}', row[COLUMNS.index("eventextra")])


def test_what_reads_differently_without_its_people_is_refused() -> None:
    """The fields are named, their values are not: they may be people."""
    events = [replace(event, cid_name="trunk-main") for event in events_of("10-out-answered-1", "sqlite")]
    renamed = [replace(event, context="ctx", cid_num="") for event in events]
    rules = PbxRules(system="pbx", extensions=r"7903111\d+")
    told = case_of(renamed, rules, KEY)
    assert isinstance(told, str)
    assert "read differently" in told
    assert "79031110001" not in told


def test_what_the_config_must_say_goes_with_the_case() -> None:
    """Trunks and extensions, masked like the rest, where the call cannot be read without them."""
    events = [
        replace(event, **{
            field: getattr(event, field).replace("trunk-main", "74951230099").replace("from-", "")
            for field in ("channame", "peer", "extra", "appdata", "context")
        })
        for event in events_of("14-internal-answered-1", "sqlite")
    ]  # fmt: skip
    rules = PbxRules(system="pbx", trunks=("PJSIP/158",))
    made = case_of(events, rules, KEY)
    assert isinstance(made, Case)
    assert made.pbx == {"trunks": ["PJSIP/158"], "extensions": ""}
    assert made.calls[0]["direction"] == "incoming"


def test_rows_that_are_no_call_are_refused() -> None:
    """SIP MESSAGE makes rows too."""
    rows = [replace(event, channame="Message/ast_msg_queue") for event in with_texts()]
    assert "no call" in str(case_of(rows, RULES, KEY))


def table(folder: Path, case: str) -> Path:
    """A config over a CEL file with a capture."""
    with (Path(__file__).parent / "captures" / case / "cel.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    with closing(sqlite3.connect(folder / "cel.db")) as database, database:
        database.execute(f"CREATE TABLE cel ({', '.join(header)})")
        database.executemany(f"INSERT INTO cel VALUES ({', '.join('?' * len(header))})", rows)  # noqa: S608
    config = folder / "celreplay.yaml"
    config.write_text(f"cel: {{url: 'sqlite:///{folder / 'cel.db'}'}}\n")
    return config


def capture(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "celreplay", "capture", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


def test_the_command_writes_both_files_for_their_owner_alone(tmp_path: Path) -> None:
    """The form of `tests/calls/`; a file that is there stays, unless forced."""
    linkedid = truth_of("16-blind-transfer-1")["linkedid"]
    config, out = table(tmp_path, "16-blind-transfer-1"), tmp_path / "case"
    ran = capture(linkedid, "-c", config, "-o", f"{out}.csv")
    rows_file, calls_file = tmp_path / "case.csv", tmp_path / "case.yaml"
    assert (ran.returncode, ran.stdout.split()) == (0, [str(rows_file), str(calls_file)]), ran.stderr
    assert {stat.S_IMODE(path.stat().st_mode) for path in (rows_file, calls_file)} == {0o600}
    header, *rows = csv.reader(io.StringIO(rows_file.read_text("utf-8")))
    (call,) = calls_of(decoded(header, rows, None), RULES)
    assert yaml.safe_load(calls_file.read_text("utf-8")) == summary(call)
    before = rows_file.read_bytes()
    again = capture(linkedid, "-c", config, "-o", out)
    assert (again.returncode, rows_file.read_bytes()) == (2, before)
    assert "--force" in again.stderr
    calls_file.chmod(0o644)
    forced = capture(linkedid, "-c", config, "-o", out, "--force")
    assert forced.returncode == 0
    assert rows_file.read_bytes() != before
    assert stat.S_IMODE(calls_file.stat().st_mode) == 0o600


def test_two_calls_of_one_group_stand_in_a_list(tmp_path: Path) -> None:
    """Both customers of a merge, under `calls`."""
    truth = truth_of("26-merged-1a")
    ran = capture(truth["linkedid"], "-c", table(tmp_path, "26-merged-1a"), "-o", tmp_path / "case")
    assert ran.returncode == 0, ran.stderr
    assert len(yaml.safe_load((tmp_path / "case.yaml").read_text("utf-8"))["calls"]) == 2


def test_a_call_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    """Nothing is written."""
    ran = capture("1.1", "-c", table(tmp_path, "01-in-answered-1"), "-o", tmp_path / "case")
    assert (ran.returncode, ran.stderr) == (1, "celreplay: no CEL row has the id 1.1\n")
    assert not list(tmp_path.glob("case*"))
