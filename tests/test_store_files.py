"""The SQLite store as a file: rights, damage, full disks, several processes, sudden death."""

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from factories import START, make_finished
from structlog.testing import capture_logs

from celreplay.errors import StoreError
from celreplay.store.base import Queued, State
from celreplay.store.ownership import Ownership, holder
from celreplay.store.sqlite import SqliteStore, schema

NOBODY = 65534
HERE = Path(__file__).parent

# A process of its own that saves calls named PREFIX-0, PREFIX-1, … and prints each number once it is stored.
WRITER = """
import asyncio, os, sys
sys.path.insert(0, sys.argv[1])
from factories import make_finished
from celreplay.errors import StoreError
from celreplay.store.sqlite import SqliteStore

if len(sys.argv) > 5:
    os.setgroups([])
    os.setgid(int(sys.argv[5]))
    os.setuid(int(sys.argv[5]))

async def save(store, number):
    await store.save_calls([make_finished(f"{sys.argv[3]}-{number}", payload=b"x" * 2000)], now=1)
    print(number, flush=True)

async def main():
    store = SqliteStore.open(sys.argv[2], system="pbx")
    for first in range(0, int(sys.argv[4]), 8):
        async with asyncio.TaskGroup() as group:
            for number in range(first, first + 8):
                group.create_task(save(store, number))
    await store.aclose()

try:
    asyncio.run(main())
except (StoreError, ExceptionGroup) as error:
    error = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
    print(type(error).__name__, error, file=sys.stderr)
    sys.exit(3)
"""


def writer_command(path: Path, prefix: str, count: int) -> list[str]:
    return [sys.executable, "-c", WRITER, str(HERE), str(path), prefix, str(count)]


def modes_in(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}


async def open_and_save(path: Path, linkedid: str = "a") -> None:
    store = SqliteStore.open(path, system="pbx", busy_timeout=0.2)
    try:
        await store.save_calls([make_finished(linkedid)], now=START)
    finally:
        await store.aclose()


async def stored(path: Path, *linkedids: str) -> list[bool]:
    store = SqliteStore.open(path, system="pbx")
    found = [await store.call(one) is not None for one in linkedids]
    assert await store.check() == []
    await store.aclose()
    return found


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter (pytest's own is closed to them)."""
    folder = Path(tempfile.mkdtemp(prefix="celreplay-test-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Mode 0600 for the store, its log and its shared memory: they hold calls and tokens."""
    store = SqliteStore.open(tmp_path / "store.db", system="pbx")
    await store.save_calls([make_finished("a")], now=START)
    modes = modes_in(tmp_path)
    await store.aclose()
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


async def test_a_closed_store_is_one_file(tmp_path: Path) -> None:
    """Closing empties the write-ahead log: a copy of the file is a backup."""
    await open_and_save(tmp_path / "store.db")
    assert list(modes_in(tmp_path)) == ["store.db"]


async def test_commits_are_synced(tmp_path: Path) -> None:
    """Write-ahead log, and synchronous=FULL (2): a commit survives a power cut."""
    connection = schema.connect(tmp_path / "store.db", busy_timeout=1)
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    connection.close()


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The message names the file, the hint says what to do."""
    with pytest.raises(StoreError, match=r"nowhere/store\.db.*must exist"):
        await open_and_save(tmp_path / "nowhere" / "store.db")


async def test_a_folder_is_no_store(tmp_path: Path) -> None:
    """`store.url` names a file."""
    with pytest.raises(StoreError, match="cannot be opened"):
        await open_and_save(tmp_path)


async def test_another_file_is_no_store(tmp_path: Path) -> None:
    """Some other file is refused and left as it is."""
    path = tmp_path / "store.db"
    path.write_bytes(b"[general]\nuser = asterisk\n" * 100)
    with pytest.raises(StoreError, match="not a celreplay store"):
        await open_and_save(path)
    assert path.read_bytes().startswith(b"[general]")


async def test_a_damaged_store_says_so(tmp_path: Path) -> None:
    """Overwritten pages: the error tells of the damage and of the backup."""
    path = tmp_path / "store.db"
    for number in range(20):
        await open_and_save(path, f"{number}")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    with pytest.raises(StoreError, match=r"damaged.*backup"):
        await open_and_save(path)


async def test_a_locked_store_is_given_up_in_the_end_and_goes_on(tmp_path: Path) -> None:
    """Another program's lock beyond the time-out: StoreError; once it is gone, all works again."""
    path = tmp_path / "store.db"
    store = SqliteStore.open(path, system="pbx", busy_timeout=0.2)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        await store.save_calls([make_finished("a")], now=START)
    assert await store.counts() == {}  # reading is not held up
    other.execute("ROLLBACK")
    other.close()
    await store.save_calls([make_finished("b")], now=START)
    await store.aclose()
    assert await stored(path, "a", "b") == [False, True]


def test_a_store_that_cannot_be_written_to_says_so(open_folder: Path) -> None:
    """A file without the right to write (as root: used by another user)."""
    path = open_folder / "store.db"
    asyncio.run(open_and_save(path))
    path.chmod(0o444)
    open_folder.chmod(0o555)
    command = [*writer_command(path, "a", 1), *([str(NOBODY)] if os.geteuid() == 0 else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parent)
    open_folder.chmod(0o777)
    assert done.returncode == 3, done.stderr
    assert "must belong to celreplay's user" in done.stderr
    assert done.stdout == ""


def test_a_full_file_stops_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """At a limit of the file's size the store says what to look at; all it acknowledged is there."""
    path = tmp_path / "store.db"
    limit = ["bash", "-c", 'ulimit -f 600; exec "$@"', "bash"]
    done = subprocess.run(
        [*limit, *writer_command(path, "a", 100_000)],
        capture_output=True,
        text=True,
        check=False,
        cwd=HERE.parent,
    )
    assert done.returncode == 3, done.stderr
    assert "free space" in done.stderr or "make room" in done.stderr, done.stderr  # as the write was cut
    acknowledged = [f"a-{number}" for number in done.stdout.split()]
    assert len(acknowledged) > 10
    assert all(asyncio.run(stored(path, *acknowledged)))


def test_a_full_disk_is_told_and_survived(tmp_path: Path) -> None:
    """A file system of 1 MB runs full: StoreError in the process, which goes on once there is room."""
    script = tmp_path / "full.py"
    script.write_text(FULL_DISK)
    room = tmp_path / "room"
    room.mkdir()
    mount = 'mount -t tmpfs -o size=1m tmpfs "$1" && exec "${@:2}"'
    command = [
        "unshare",
        "-m",
        "bash",
        "-c",
        mount,
        "bash",
        str(room),
        sys.executable,
        str(script),
        str(HERE),
    ]
    if os.geteuid() != 0:
        command.insert(1, "-r")
    done = subprocess.run([*command, str(room)], capture_output=True, text=True, check=False, cwd=HERE.parent)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        reason = f"no file system can be mounted here: {done.stderr.strip()}"
        print(reason)
        pytest.skip(reason)
    assert done.stdout.split("\n")[:2] == ["full: the disk is full", "went on"], done.stderr


FULL_DISK = """
import asyncio, pathlib, sys
sys.path.insert(0, sys.argv[1])
from factories import make_finished
from celreplay.errors import StoreError
from celreplay.store.sqlite import SqliteStore

async def main():
    room = pathlib.Path(sys.argv[2])
    (room / "ballast").write_bytes(bytes(300_000))
    store = SqliteStore.open(room / "store.db", system="pbx")
    saved = []
    try:
        for n in range(10_000):
            await store.save_calls([make_finished(str(n), payload=b"x" * 2000)], now=1)
            saved.append(str(n))
    except StoreError as error:
        print("full:", "the disk is full" if "the disk is full" in str(error) else error)
    (room / "ballast").unlink()
    await store.save_calls([make_finished("more")], now=1)
    assert all([await store.call(one) for one in [*saved, "more"]])
    assert await store.check() == []
    print("went on")
    await store.aclose()

asyncio.run(main())
"""


async def test_two_processes_write_at_the_same_time(tmp_path: Path) -> None:
    """A command line tool beside the daemon: both finish, nothing is lost, the counters are right."""
    path = tmp_path / "store.db"
    store = SqliteStore.open(path, system="pbx")
    other = await asyncio.create_subprocess_exec(
        *writer_command(path, "other", 400), stdout=subprocess.PIPE, cwd=HERE.parent
    )
    for number in range(400):
        await store.save_calls([make_finished(f"mine-{number}")], now=START)
    output, _ = await other.communicate()
    assert other.returncode == 0
    assert len(output.split()) == 400
    assert await store.counts() == {"crm": {State.PENDING: 800}}
    assert await store.check() == []
    await store.aclose()


@pytest.mark.parametrize("seed", range(5))
def test_sudden_death_loses_nothing_that_was_acknowledged(tmp_path: Path, seed: int) -> None:
    """kill -9 of a writing process at some moment: every call it had acknowledged is in the store."""
    path = tmp_path / "store.db"
    process = subprocess.Popen(
        writer_command(path, "a", 1_000_000), stdout=subprocess.PIPE, text=True, cwd=HERE.parent
    )
    assert process.stdout is not None
    moment = random.Random(seed).randint(1, 400)  # noqa: S311  no secret
    acknowledged = [process.stdout.readline().strip() for _ in range(moment)]
    process.send_signal(signal.SIGKILL)
    acknowledged += process.stdout.read().split()
    process.wait()
    process.stdout.close()
    assert all(asyncio.run(stored(path, *(f"a-{number}" for number in acknowledged))))


# the schema


async def test_a_store_of_a_newer_celreplay_is_refused(tmp_path: Path) -> None:
    """Nothing is read from a schema that this version does not know."""
    path = tmp_path / "store.db"
    await open_and_save(path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(schema.SCRIPTS) + 1}")
    connection.close()
    with pytest.raises(StoreError, match="made by a newer celreplay"):
        SqliteStore.open(path, system="pbx")


async def test_another_programs_database_is_no_store(tmp_path: Path) -> None:
    """`store.url` names the CEL file: no table of ours gets into it."""
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE cel (id INTEGER PRIMARY KEY)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program's database"):
        SqliteStore.open(path, system="pbx")
    assert path.read_bytes() == before


def test_an_older_daemon_keeps_its_store_as_it_is(tmp_path: Path) -> None:
    """A command of a newer celreplay changes nothing under the feet of the one that runs."""
    path = tmp_path / "store.db"
    connection = schema.connect(path, busy_timeout=1)
    schema.migrate(connection, path, schema.SCRIPTS[:1])
    code = "import sys, time; from celreplay.store.ownership import Ownership as O; o = O.acquire(sys.argv[1]); print(o is not None, flush=True); time.sleep(60)"
    daemon = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True, cwd=HERE.parent
    )
    assert daemon.stdout is not None
    assert daemon.stdout.readline() == "True\n"
    with pytest.raises(StoreError, match=rf"pid {daemon.pid}\) is older.*restart"):
        SqliteStore.open(path, system="pbx")
    daemon.kill()
    daemon.wait()
    daemon.stdout.close()
    assert connection.execute("PRAGMA user_version").fetchone()[0] == 1
    connection.close()
    with Ownership.acquire(path) or pytest.fail("not free"):  # the daemon itself may
        asyncio.run(open_and_save(path))


def test_an_older_store_is_not_migrated_without_its_copy(tmp_path: Path) -> None:
    """No room for the copy: nothing is changed, and no half copy stays."""
    path = tmp_path / "store.db"
    asyncio.run(open_and_save(path))
    with closing(schema.connect(path, busy_timeout=1)) as connection:
        connection.execute("PRAGMA user_version = 1")
    code = "import sys; from celreplay.store.sqlite import SqliteStore; SqliteStore.open(sys.argv[1], system='pbx')"
    limit = ["bash", "-c", 'ulimit -f 40; exec "$@"', "bash", sys.executable, "-c", code, str(path)]
    done = subprocess.run(limit, capture_output=True, text=True, check=False, cwd=HERE.parent)
    assert "StoreError" in done.stderr, done.stderr
    assert [file.name for file in tmp_path.iterdir() if not file.name.startswith("store.db-")] == ["store.db"]
    with closing(schema.connect(path, busy_timeout=1)) as connection:
        assert schema.version_of(connection) == 1


async def test_an_older_store_is_migrated_and_kept(tmp_path: Path) -> None:
    """The scripts behind its version run in order; a copy from before stands beside it, mode 0600, as the log says."""
    path = tmp_path / "store.db"
    await open_and_save(path)
    scripts = [
        *schema.SCRIPTS,
        "CREATE TABLE t2 (x);\n",
        "CREATE TABLE t3 (x);\nINSERT INTO t3 VALUES (7);\n",
    ]
    connection = schema.connect(path, busy_timeout=1)
    with capture_logs() as logs:
        schema.migrate(connection, path, scripts)
    assert connection.execute("SELECT x FROM t3").fetchone()[0] == 7
    assert connection.execute("PRAGMA user_version").fetchone()[0] == len(scripts)
    schema.migrate(connection, path, scripts)
    connection.close()
    (name,) = [name for name in modes_in(tmp_path) if name.startswith(f"store.db.v{len(schema.SCRIPTS)}-20")]
    copy = tmp_path / name
    assert copy.stat().st_mode & 0o777 == 0o600
    assert [(entry["event"], entry["copy"]) for entry in logs] == [("store.upgraded", str(copy))]
    assert await stored(copy, "a") == [True]


async def test_a_store_of_the_first_schema_is_taken_over(tmp_path: Path) -> None:
    """What stood in a store of version 1 is there in the newest, and the checks find nothing wrong."""
    path = tmp_path / "store.db"
    connection = schema.connect(path, busy_timeout=1)
    schema.migrate(connection, path, schema.SCRIPTS[:1])
    connection.execute(
        "INSERT INTO deliveries (linkedid, connector, part, system, state, lane, started_at, updated_at,"
        " revision, reason, delivered_at) VALUES ('a', 'crm', 'call', 'pbx', 'delivered', 0, 1, 2, 'r1', '', 2)"
    )
    connection.close()
    store = SqliteStore.open(path, system="pbx")
    [queueing] = await store.save_calls([make_finished("a")], now=START)
    assert queueing.result is Queued.ALREADY_DELIVERED
    assert await store.check() == []
    await store.aclose()


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    """All scripts in one transaction: the store is as it was."""
    path = tmp_path / "store.db"
    await open_and_save(path)
    connection = schema.connect(path, busy_timeout=1)
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(
            connection, path, [*schema.SCRIPTS, "CREATE TABLE t2 (x);\nINSERT INTO nowhere VALUES (1);\n"]
        )
    connection.close()
    assert await stored(path, "a") == [True]


# who owns it


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    """The second gets None and can tell who is first; after close it may have it."""
    path = tmp_path / "store.db"
    assert holder(path) is None
    first = Ownership.acquire(path)
    assert first is not None
    assert Ownership.acquire(path) is None
    assert holder(path) == os.getpid()
    first.close()
    assert holder(path) is None
    with Ownership.acquire(path) or pytest.fail("not given back"):
        assert holder(path) == os.getpid()


def test_a_dead_owner_holds_nothing(tmp_path: Path) -> None:
    """The kernel gives the lock back; no pid file is in the way."""
    path = tmp_path / "store.db"
    code = "import sys, time; from celreplay.store.ownership import Ownership as O; o = O.acquire(sys.argv[1]); print(o is not None, flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True, cwd=HERE.parent
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    assert Ownership.acquire(path) is None
    assert holder(path) == process.pid
    process.kill()
    process.wait()
    process.stdout.close()
    with Ownership.acquire(path) or pytest.fail("held by a dead process"):
        assert holder(path) == os.getpid()


def test_a_lock_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """The folder is missing."""
    with pytest.raises(StoreError, match="must exist"):
        Ownership.acquire(tmp_path / "nowhere" / "store.db")


def test_files_that_root_makes_belong_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    """A command run by root before the daemon's first start must not lock the daemon's user out."""
    if os.geteuid() == 0:
        os.chown(tmp_path, NOBODY, NOBODY)
    path = tmp_path / "store.db"
    with Ownership.acquire(path) or pytest.fail("not free"):
        asyncio.run(open_and_save(path))
    owner = NOBODY if os.geteuid() == 0 else os.geteuid()
    assert {file.name: file.stat().st_uid for file in tmp_path.iterdir()} == {
        "store.db": owner,
        "store.db.lock": owner,
    }
