"""`celreplay replay` as a process, against a receiver that is there."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from running import told_of_the_past

from celreplay.demo.data import captured_calls, create_table, write_rows
from celreplay.demo.receiver import Receiver

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
CALLS = captured_calls()[:5]
EVERYTHING = ("--start-date", "2026-11-01")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A CRM on this machine."""
    receiver = Receiver(SECRET, tell=lambda _: None)
    yield receiver
    await receiver.stop()


@pytest.fixture
async def config(tmp_path: Path, receiver: Receiver) -> Path:
    """Five captured calls, and a config that delivers them to the receiver."""
    create_table(tmp_path / "cel.sqlite")
    write_rows(tmp_path / "cel.sqlite", [row for call in CALLS for row in call.rows])
    path = tmp_path / "celreplay.yaml"
    hook = {"type": "webhook", "url": await receiver.start(), "secret": SECRET}
    values = {
        "pbx": {"name": "office"},
        "cel": {"url": f"sqlite:///{tmp_path / 'cel.sqlite'}"},
        "store": {"url": f"sqlite:///{tmp_path / 'store.sqlite'}"},
        "connectors": {"crm": hook},
    }
    path.write_text(yaml.safe_dump(values))
    path.chmod(0o600)
    await told_of_the_past(tmp_path / "store.sqlite", "office")
    return path


async def replay(config: Path, *arguments: str) -> tuple[int | None, str, str]:
    """Exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "celreplay", "replay", "-c", str(config), *arguments,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate()
    return process.returncode, out.decode(), errors.decode()


async def test_a_period_is_sent_once(config: Path, receiver: Receiver) -> None:
    """Without a daemon the command delivers itself; the same period again sends nothing."""
    code, out, errors = await replay(config, *EVERYTHING)
    assert (code, out) == (0, "replay 1: done: 5 found, 5 to send, 5 delivered\n"), errors
    assert receiver.linkedids() == {call.linkedid for call in CALLS}
    code, out, errors = await replay(config, *EVERYTHING)
    assert (code, out) == (0, "replay 2: done: 5 found, 5 already delivered\n"), errors
    assert len(receiver.arrivals) == 5
    assert receiver.faults == []


async def test_a_named_call_is_sent_again_as_the_same(config: Path, receiver: Receiver) -> None:
    """An id named one by one is sent again under its old webhook-id, marked as forced."""
    await replay(config, *EVERYTHING)
    linkedid = CALLS[0].linkedid
    code, out, errors = await replay(config, "--id", linkedid)
    assert code == 0, errors
    assert f"{linkedid}  crm  sent again" in out
    first, again = (arrival for arrival in receiver.arrivals if arrival.linkedid == linkedid)
    assert again.webhook_id == first.webhook_id
    assert (first.forced, again.forced) == (False, True)


@pytest.mark.parametrize(
    ("force", "requests", "identities"),
    [
        pytest.param("--force=0", 1, 1, id="left-as-it-is"),
        pytest.param("--force", 2, 1, id="again-by-default"),
        pytest.param("--force=1", 2, 1, id="again"),
        pytest.param("--force=new", 2, 2, id="second-record"),
    ],
)
async def test_force_decides_what_is_sent_again(
    force: str, requests: int, identities: int, config: Path, receiver: Receiver
) -> None:
    """`--force=0` leaves what was delivered, `1` repeats it, `new` makes a record of its own."""
    linkedid = CALLS[0].linkedid
    await replay(config, "--id", linkedid)
    code, _, errors = await replay(config, "--id", linkedid, force)
    assert code == 0, errors
    assert len(receiver.arrivals) == requests
    assert len({arrival.webhook_id for arrival in receiver.arrivals}) == identities


async def test_a_dead_call_is_bad_news(config: Path, receiver: Receiver) -> None:
    """A call that the CRM refuses for good makes the exit code 1; what was sent is told beside it."""
    address, server = await refusing()
    change(config, {"connectors": {"crm": {"type": "webhook", "secret": SECRET, "url": address}}})
    code, out, errors = await replay(config, "--id", CALLS[0].linkedid)
    assert code == 1, errors
    server.close()
    assert "1 dead" in out
    assert receiver.arrivals == []


def change(config: Path, sections: dict[str, object]) -> None:
    """Replace sections of a config."""
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | sections))


async def refusing() -> tuple[str, asyncio.Server]:
    """A server that answers 422 to everything, and its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 422 Unprocessable Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", server


async def test_lines_tell_the_progress_where_there_is_no_terminal(config: Path) -> None:
    """Progress is plain lines on stderr; stdout has the result alone."""
    _, out, errors = await replay(config, *EVERYTHING)
    assert out.count("\n") == 1
    assert errors.splitlines()[-1] == "celreplay: replay 1: done, 5 of 5 sent"
    assert "\x1b" not in out + errors


async def test_a_bar_tells_the_progress_on_a_terminal(config: Path) -> None:
    """On a terminal a bar is drawn; the result is the same."""
    terminal, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "celreplay", "replay", "-c", str(config), *EVERYTHING,
        stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(theirs)
    drawn = asyncio.get_running_loop().run_in_executor(None, read_all, terminal)
    out, _ = await process.communicate()
    text = await drawn
    assert process.returncode == 0, text
    assert out.decode() == "replay 1: done: 5 found, 5 to send, 5 delivered\n"
    assert "finding calls" in text
    assert "delivering" in text
    assert "5/5" in text


def read_all(descriptor: int) -> str:
    """Everything until the other end is closed."""
    parts = []
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError:  # Linux says EIO when the last writer has gone
        pass
    os.close(descriptor)
    return b"".join(parts).decode()


async def test_a_running_daemon_does_the_work(config: Path, receiver: Receiver) -> None:
    """Beside a daemon the command only asks and watches: the daemon delivers."""
    change(config, {"api": {"port": 0}})
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "celreplay", "serve", "-c", str(config), stderr=subprocess.PIPE
    )
    try:
        assert daemon.stderr is not None
        async for line in daemon.stderr:
            if json.loads(line)["event"] == "daemon.ready":
                break
        code, out, errors = await replay(config, *EVERYTHING)
        assert (code, out) == (0, "replay 1: done: 5 found, 5 to send, 5 delivered\n"), errors
        daemon.terminate()
        log = (await daemon.stderr.read()).decode()
        assert await daemon.wait() == 0
    finally:
        if daemon.returncode is None:
            daemon.kill()
    assert log.count('"delivery.') >= 5
    assert len(receiver.arrivals) == 5


async def test_a_replay_to_a_crm_on_hold_says_so_and_is_cancelled(config: Path) -> None:
    """The progress names the hold with its reason; cancelling by its number ends the watching, too."""
    change(
        config, {"connectors": {"crm": {"type": "webhook", "secret": SECRET, "url": "http://127.0.0.1:1/"}}}
    )
    command = (sys.executable, "-m", "celreplay", "replay", "-c", str(config))
    process = await asyncio.create_subprocess_exec(
        *command, *EVERYTHING, "--force", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    async for line in process.stderr:
        if b"waiting: connector crm is on hold since" in line:
            break
    assert b"because no connection with 127.0.0.1:1: connection refused (next try" in line
    code, out, errors = await replay(config, "--cancel", "1")
    assert (code, errors) == (0, "")
    assert out.startswith("replay 1: cancelled: 5 found, 5 to send")
    out_of_watching, _ = await process.communicate()
    assert process.returncode == 1
    assert out_of_watching.decode().startswith("replay 1: cancelled: 5 found, 5 to send")


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("--cancel", "7"), "there is no replay 7", 1),
        (("--cancel", "7", "--dry-run"), "nothing else", 2),
        (("--cancel", "x"), "Invalid value", 2),
    ],
)
async def test_a_replay_that_is_none_cannot_be_cancelled(
    config: Path, arguments: tuple[str, ...], words: str, code: int
) -> None:
    """One line says why."""
    found, out, errors = await replay(config, *arguments)
    assert (found, out) == (code, "")
    assert words in errors
