"""The demo: its data, its receiver, and the whole of it as a process."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from celreplay.demo.data import calls_before, captured_calls, create_table, live_calls, write_rows
from celreplay.demo.receiver import Arrival, NotGenuineError, Receiver, verify
from celreplay.demo.run import faults_of

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NOW = 1_800_000_000.0


def test_every_captured_call_has_a_linkedid_of_its_own() -> None:
    """The demo counts calls by linkedid: no two captures share one, and each is written to its end."""
    calls = captured_calls()
    assert len({call.linkedid for call in calls}) == len(calls) >= 15
    assert all({row[15] for row in call.rows} == {call.linkedid} for call in calls)
    assert {call.rows[-1][0] for call in calls} == {"LINKEDID_END"}
    assert len(live_calls()) >= 3


def test_a_moved_call_keeps_its_gaps_and_its_ids_agree_with_its_times() -> None:
    """Moving a call changes every time and id in it by the same whole seconds."""
    for before in captured_calls():
        after = before.beginning_at(NOW)
        assert NOW - 1 < after.times[0] <= NOW
        shift = round(after.times[0] - before.times[0])
        assert [round(a - b) for a, b in zip(after.times, before.times, strict=True)] == [shift] * len(
            before.rows
        )
        old_seconds = {
            match for row in before.rows for match in re.findall(r"17953\d{5}(?=\.)", ",".join(row))
        }
        left = {match for row in after.rows for match in re.findall(r"17953\d{5}(?=\.)", ",".join(row))}
        assert old_seconds
        assert left.isdisjoint(old_seconds)
        assert int(after.linkedid.split(".")[0]) - int(before.linkedid.split(".")[0]) == shift


def test_the_calls_of_the_past_lie_within_the_last_day() -> None:
    """`start_date=-1` finds all of them: the oldest is younger than 24 hours, the last has ended."""
    calls = calls_before(NOW)
    assert min(call.times[0] for call in calls) > NOW - 86_400
    assert max(time for call in calls for time in call.times) < NOW - 60


def test_rows_lie_in_the_file_as_asterisk_writes_them(tmp_path: Path) -> None:
    """The CEL file has cel_sqlite3_custom's columns and keys that grow in the order of writing."""
    path = tmp_path / "cel.sqlite"
    create_table(path)
    call = captured_calls()[0]
    write_rows(path, call.rows)
    database = sqlite3.connect(path)
    rows = database.execute("SELECT AcctId, eventtype, linkedid, peeraccount FROM cel").fetchall()
    database.close()
    assert rows[0] == (1, "CHAN_START", call.linkedid, "")
    assert [row[0] for row in rows] == list(range(1, len(call.rows) + 1))


def signed(body: bytes, moment: float) -> dict[str, str]:
    at = datetime.fromtimestamp(int(moment), UTC)
    return {
        "webhook-id": "call_1",
        "webhook-timestamp": str(int(moment)),
        "webhook-signature": Webhook(SECRET).sign("call_1", at, body.decode()),
    }


def refusal(headers: dict[str, str], body: bytes) -> str:
    """Why the receiver refuses; empty when it does not."""
    try:
        verify(SECRET, headers, body, NOW)
    except NotGenuineError as error:
        return str(error) or "refused"
    return ""


def test_a_signature_of_the_standards_own_package_is_taken() -> None:
    """The receiver agrees with the package of Standard Webhooks."""
    body = b'{"data":{}}'
    headers = signed(body, NOW)
    assert refusal(headers, body) == ""
    headers["webhook-signature"] = "v2,other " + headers["webhook-signature"]
    assert refusal(headers, body) == ""
    headers["webhook-signature"] = "v1,other"
    assert refusal(headers, body) != ""


@pytest.mark.parametrize(
    ("changed", "body", "now"),
    [
        pytest.param({}, b'{"data":{"a":1}}', NOW, id="body-changed"),
        pytest.param({"webhook-id": "call_2"}, b'{"data":{}}', NOW, id="id-changed"),
        pytest.param({"webhook-signature": "v1,AAAA"}, b'{"data":{}}', NOW, id="wrong-signature"),
        pytest.param({"webhook-signature": ""}, b'{"data":{}}', NOW, id="no-signature"),
        pytest.param({"webhook-timestamp": ""}, b'{"data":{}}', NOW, id="no-timestamp"),
        pytest.param({}, b'{"data":{}}', NOW + 301, id="too-old"),
    ],
)
def test_a_request_that_proves_nothing_is_turned_away(
    changed: dict[str, str], body: bytes, now: float
) -> None:
    """Any change of body, id or time, and a missing header, is noticed."""
    headers = signed(b'{"data":{}}', NOW) | changed
    with pytest.raises(NotGenuineError):
        verify(SECRET, headers, body, now)


def came(*webhook_ids: str) -> Receiver:
    """A receiver to which requests came, each of the call `ID` of its `call_ID`."""
    receiver = Receiver(SECRET, tell=lambda _: None)
    receiver.arrivals = [
        Arrival(webhook_id=id_, forced=False, data={"linkedid": id_.removeprefix("call_")})
        for id_ in webhook_ids
    ]
    return receiver


@pytest.mark.parametrize(
    ("receiver", "queued_again", "state", "fault"),
    [
        pytest.param(came("call_1"), 0, "done", "1 calls did not come: 2", id="one-is-missing"),
        pytest.param(came("call_1", "call_2", "call_1"), 0, "done", "more than once: call_1", id="doubled"),
        pytest.param(came("call_1", "call_2", "call_3"), 0, "done", "nobody wrote: 3", id="unknown"),
        pytest.param(came("call_1", "call_2"), 1, "done", "queued 1 calls again", id="queued-again"),
        pytest.param(came("call_1", "call_2"), 0, "failed", "read_call is failed", id="replay-failed"),
    ],
)
def test_whatever_is_wrong_is_a_fault(receiver: Receiver, queued_again: int, state: str, fault: str) -> None:
    """A missing, doubled or unknown call, and anything sent by the second request, fails the demo."""
    (told,) = faults_of(receiver, {"1", "2"}, queued_again, state)
    assert fault in told


def test_a_request_that_was_turned_away_is_a_fault() -> None:
    """One wrong signature fails the demo, though all calls came."""
    receiver = came("call_1")
    assert faults_of(receiver, {"1"}, 0, "done") == []
    receiver.faults.append("no signature")
    assert faults_of(receiver, {"1"}, 0, "done") == ["turned away: no signature"]


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "celreplay", "demo", *arguments],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
        env={**os.environ, "COLUMNS": "80"},
    )


def test_the_demo_delivers_every_call_once() -> None:
    """The whole of it: old calls by HTTP Digest, live ones row by row, each arriving once and signed."""
    result = run_demo()
    assert result.returncode == 0, result.stdout + result.stderr
    calls = len(captured_calls())
    assert f"{calls} calls arrived, each once, each with a valid signature" in result.stdout
    assert len(re.findall(r"^  (?:past|live)  ", result.stdout, re.MULTILINE)) == calls
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_a_port_that_is_taken_is_told() -> None:
    """`--port` of somebody else is refused in one line; nothing is started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = run_demo("--port", str(port))
    assert result.returncode == 2
    assert result.stderr == f"celreplay: port {port} is taken (name another one: --port N)\n"


def test_the_demo_stays_up_for_requests_and_ends_by_ctrl_c() -> None:
    """With `--keep` the printed curl line works; Ctrl-C ends demo and daemon."""
    command = [sys.executable, "-u", "-m", "celreplay", "demo", "--keep"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout is not None
            line = next(line for line in demo.stdout if "curl --digest" in line)
            next(line for line in demo.stdout if "Ctrl-C" in line)
            asked = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
            assert json.loads(asked.stdout)["requested_by"] == "api:demo"
            (daemon,) = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
            demo.send_signal(signal.SIGINT)
            demo.stdout.read()
            assert demo.wait(40) == 0
            assert not Path(f"/proc/{daemon}").exists()
        finally:
            demo.kill()


@pytest.mark.timeout(120)
def test_no_daemon_outlives_a_demo_that_was_killed() -> None:
    """kill -9 leaves the demo no time to stop its daemon: the daemon ends by itself, in order."""
    command = [sys.executable, "-u", "-m", "celreplay", "demo", "--keep"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout is not None
            next(line for line in demo.stdout if "Ctrl-C" in line)
            (daemon,) = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
            log = Path(f"/proc/{daemon}/fd/2").readlink()
        finally:
            demo.kill()
    try:
        until(lambda: "daemon.stopped" in log.read_text())
        until(lambda: not is_running(int(daemon)))
    finally:
        if is_running(int(daemon)):
            os.kill(int(daemon), signal.SIGKILL)
        shutil.rmtree(log.parent)


def is_running(pid: int) -> bool:
    """A process that has ended may lie about until somebody asks for its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 50  # twice delivery.shutdown_deadline: reading may use it up, then sending
    while not condition():
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.05)
