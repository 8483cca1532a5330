"""Talking to systemd, over real sockets."""

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from celreplay.config import DeliveryConfig, Duration
from celreplay.systemd import notify, watchdog_seconds

UNIT = Path(__file__).parent.parent / "systemd" / "celreplay.service"


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A listening service manager: `$NOTIFY_SOCKET` and its socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(10)
        if request.param == "path":
            name = address = str(tmp_path / "notify")
        else:
            name = f"@celreplay-test-{secrets.token_hex(8)}"
            address = "\0" + name[1:]
        listener.bind(address)
        yield name, listener


def test_states_arrive_in_one_datagram(manager: tuple[str, socket.socket]) -> None:
    """One assignment a line, sd_notify(3), over a path or an abstract name."""
    name, listener = manager
    assert notify("READY=1", "STATUS=reading\nnow", environ={"NOTIFY_SOCKET": name})
    assert listener.recv(1000) == b"READY=1\nSTATUS=reading now"


@pytest.mark.parametrize("address", ["", "relative", "/no/such/socket", "@celreplay-nobody-listens"])
def test_without_a_manager_nothing_happens(address: str) -> None:
    """On a terminal, or when the manager went away, the daemon works all the same."""
    assert notify("READY=1", environ={"NOTIFY_SOCKET": address} if address else {}) is False


def test_a_manager_that_does_not_read_holds_nobody(tmp_path: Path) -> None:
    """A full socket is passed over: no send waits."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        sent = [
            notify("WATCHDOG=1", environ={"NOTIFY_SOCKET": str(tmp_path / "notify")}) for _ in range(5000)
        ]
    assert sent[0] is True
    assert sent[-1] is False


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_it_bites(
    environ: dict[str, str], seconds: float | None
) -> None:
    """sd_watchdog_enabled(3); a watchdog for another process is none of ours."""
    assert watchdog_seconds(environ) == seconds


def unit_settings() -> dict[str, list[str]]:
    """The unit's assignments."""
    settings: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            settings.setdefault(name, []).append(value)
    return settings


def test_systemd_gives_a_stop_more_time_than_celreplay_takes() -> None:
    """Else systemd kills deliveries that `delivery.shutdown_deadline` lets finish."""
    [stop] = unit_settings()["TimeoutStopSec"]
    assert Duration.parse(stop) >= DeliveryConfig().shutdown_deadline + 10


def test_the_unit_uses_nothing_newer_than_debian_12() -> None:
    """RestartSteps= and RestartMaxDelaySec= came with systemd 254; Debian 12 has 252."""
    assert not unit_settings().keys() & {"RestartSteps", "RestartMaxDelaySec", "RestartMode"}


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """No unknown or misspelt setting; the program is put where a check can find it."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    text = UNIT.read_text().replace("/opt/celreplay/.venv/bin/celreplay", "/bin/true")
    unit = tmp_path / "celreplay.service"
    unit.write_text(text)
    run = subprocess.run(
        [analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    said = [line for line in run.stderr.splitlines() if "celreplay" in line]
    assert said == []
