"""The log: what a line looks like, and that no secret gets into one."""

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import warnings
from typing import Any

import pytest
import structlog

from celreplay import log
from celreplay.secret import CelUrl, Secret


@pytest.fixture
def stream(log_as_before: None) -> io.StringIO:  # noqa: ARG001  for what it does at the end
    """Where a configured log goes."""
    return io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """The JSON lines written so far."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_its_fields(stream: io.StringIO) -> None:
    """The name first, a UTC time, numbers as numbers, letters as letters."""
    log.configure(stream=stream)
    structlog.get_logger().info("delivery.settled", linkedid="1795396140.5", attempt=2, name="Ünal")
    [line] = lines(stream)
    assert list(line)[:2] == ["event", "level"]
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "delivery.settled",
        "level": "info",
        "linkedid": "1795396140.5",
        "attempt": 2,
        "name": "Ünal",
    }
    assert "Ünal" in stream.getvalue()


@pytest.mark.parametrize(
    ("level", "written"),
    [("debug", ["d", "i", "w", "e"]), ("info", ["i", "w", "e"]), ("warning", ["w", "e"]), ("error", ["e"])],
)
def test_the_level_holds_for_our_events_and_for_libraries(
    stream: io.StringIO, level: str, written: list[str]
) -> None:
    """One level for both ways."""
    log.configure(level, stream=stream)
    for logger in (structlog.get_logger(), logging.getLogger("aiohttp.server")):
        logger.debug("d")
        logger.info("i")
        logger.warning("w")
        logger.error("e")
    assert [line["event"] for line in lines(stream)] == written * 2


def test_libraries_take_the_same_way(stream: io.StringIO) -> None:
    """Their lines are JSON too, with the logger's name, masked alike."""
    log.configure(stream=stream)
    logging.getLogger("aiomysql").warning("cannot reach %s", "mysql://root:hunter2@127.0.0.1/db")
    [line] = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == (
        "cannot reach mysql://root:***@127.0.0.1/db",
        "aiomysql",
        "warning",
    )


def test_requests_served_are_no_news(stream: io.StringIO) -> None:
    """aiohttp's access lines would drown the log at `info`."""
    log.configure(stream=stream)
    logging.getLogger("aiohttp.access").info("GET /api/status")
    assert lines(stream) == []


def test_python_warnings_become_lines(stream: io.StringIO) -> None:
    """Nothing writes past the log."""
    log.configure(stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("soon gone", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    assert "soon gone" in lines(stream)[0]["event"]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"password": "hunter2"}, id="password"),
        pytest.param({"crm_secret": "hunter2"}, id="secret"),
        pytest.param({"Authorization": "Bearer hunter2"}, id="header"),
        pytest.param({"api_key": "hunter2"}, id="api_key"),
        pytest.param({"apikey": b"hunter2"}, id="bytes"),
        pytest.param({"access_token": ["hunter2"]}, id="a list"),
        pytest.param({"headers": {"authorization": "hunter2", "x": 1}}, id="inside a mapping"),
        pytest.param({"attempts": [{"cookie": "hunter2"}]}, id="inside a list"),
        pytest.param({"users": {"a": Secret("hunter2")}}, id="a Secret"),
        pytest.param({"url": CelUrl("mysql://u:hunter2@h/db")}, id="a database address"),
        pytest.param({"url": "https://u:hunter2@crm.example.com/"}, id="in an address"),
        pytest.param({"url": "https://crm.example.com/rest?a=1&auth=hunter2&b=2"}, id="in a query"),
        pytest.param({"reason": "sent Authorization: Bearer hunter2hunter2 and got 401"}, id="in a text"),
    ],
)
@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_gets_into_a_line(stream: io.StringIO, form: Any, fields: dict[str, object]) -> None:
    """By the field's name, its type, or what stands inside a text."""
    log.configure(form=form, stream=stream)
    structlog.get_logger().info("connector.held", connector="crm", **fields)
    assert "crm" in stream.getvalue()
    assert "***" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_names_and_figures_that_only_look_alike_are_kept(stream: io.StringIO) -> None:
    """A fencing token is a number, an author no authorization, an id no secret."""
    fields = {
        "token": 7,
        "author": "x",
        "idempotency_key": "call_1",
        "url": "https://crm.example.com/a?page=2",
        "caller": "79271110003",
        "text": "a@b.example:c/d",
    }
    log.configure(stream=stream)
    structlog.get_logger().info("x", **fields)
    assert fields.items() <= lines(stream)[0].items()


def test_a_traceback_is_masked_like_any_text(stream: io.StringIO) -> None:
    """Drivers put addresses into their exceptions."""
    log.configure(stream=stream)
    error = OSError("no route to mysql://u:hunter2@h/db")
    structlog.get_logger().error("task.died", exc_info=error)
    [line] = lines(stream)
    assert "no route to mysql://u:***@h/db" in line["exception"]


def test_what_json_does_not_know_is_still_a_line(stream: io.StringIO) -> None:
    """A log call never fails."""
    log.configure(stream=stream)
    structlog.get_logger().info("x", places={1, 2}, error=ValueError("bad"))
    assert lines(stream)[0]["error"] == "bad"


def test_configuring_again_replaces_the_first(stream: io.StringIO) -> None:
    """No event is written twice."""
    log.configure("debug", stream=stream)
    log.configure("info", "json", stream=stream)
    structlog.get_logger().info("once")
    logging.getLogger("x").info("once")
    assert len(lines(stream)) == 2


PROGRAM = "import structlog; from celreplay import log; log.configure(); structlog.get_logger().info('daemon.ready')"


def test_on_a_terminal_lines_are_for_people() -> None:
    """`auto` looks at stderr: here a real pseudo-terminal."""
    leader, follower = os.openpty()
    subprocess.run([sys.executable, "-c", PROGRAM], stderr=follower, check=True)
    os.close(follower)
    said = b""
    with contextlib.suppress(OSError):  # the end of a pseudo-terminal
        while part := os.read(leader, 4096):
            said += part
    os.close(leader)
    assert b"daemon.ready" in said
    assert not said.lstrip().startswith(b"{")


def test_in_a_pipe_lines_are_json() -> None:
    """What a service manager or a file gets."""
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    assert run.stdout == b""
    assert json.loads(run.stderr)["timestamp"]


def test_lines_for_the_journal_carry_no_time() -> None:
    """It has one of its own; `$JOURNAL_STREAM` is the device and inode of stderr (systemd.exec(5))."""
    reader, writer = os.pipe()
    status = os.fstat(writer)
    environ = {**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    subprocess.run([sys.executable, "-c", PROGRAM], stderr=writer, env=environ, check=True)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert json.loads(pipe.read()) == {"event": "daemon.ready", "level": "info"}


class _Broken(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    """Delivering goes on when the journal does not."""
    log.configure(stream=_Broken())
    structlog.get_logger("celreplay.test").error("store.failed", reason="the disk is full")
    log.configure(stream=(stream := io.StringIO()))
    structlog.get_logger("celreplay.test").error("store.failed", reason="the disk is full")
    assert "store.failed" in stream.getvalue()


@pytest.mark.parametrize("odd", ["\ud800", 2**70, float("nan"), object(), {1: "a"}, {(1, 2)}, b"\xff"])
def test_no_value_loses_the_line(stream: io.StringIO, odd: object) -> None:
    """Half a surrogate, a huge number, what is no JSON: the event is written in UTF-8, whatever is in it."""
    log.configure(stream=stream)
    structlog.get_logger("celreplay.test").warning("delivery.attempt", odd=odd)
    (line,) = lines(stream)
    assert line["event"] == "delivery.attempt"
    assert stream.getvalue().encode()
