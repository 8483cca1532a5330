"""A power cut at any moment: what was acknowledged is in what the disk has by then."""

import asyncio
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from running import PATIENCE

from celreplay.store.base import State
from celreplay.store.sqlite import SqliteStore, schema
from celreplay.store.sqlite.upkeep import inspect

HERE = Path(__file__).parent

# Saves calls, delivers every second one, and prints what has become of each once the store has said so.
WRITER = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from factories import START, make_finished
from celreplay.connectors.base import OutcomeKind
from celreplay.sources.base import Position
from celreplay.store.base import Reading, Settlement, State
from celreplay.store.sqlite import SqliteStore

async def main():
    store = SqliteStore.open(sys.argv[2], system="pbx")
    print("open", flush=True)
    for n in range(int(sys.argv[3])):
        reading = Reading(position=Position(id=n, eventtime=n), live_since=0)
        await store.save_calls([make_finished(f"{n}", payload=b"x" * 3000)], now=START, reading=reading)
        print("saved", n, flush=True)
        if n % 2:
            for claim in await store.claim("crm", 1, now=START, order_patience=900):
                print("claimed", claim.delivery.linkedid, flush=True)
                done = Settlement(delivery_id=claim.delivery_id, token=claim.token, state=State.DELIVERED,
                    reason="taken", kind=OutcomeKind.OK, ended_at=START)
                assert await store.settle([done]) == [True]
                print("delivered", claim.delivery.linkedid, flush=True)
    await store.aclose()

asyncio.run(main())
"""


class Writer:
    """A process that writes and acknowledges, and can be frozen between two of its instructions."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", WRITER, str(HERE), str(path), "1000000"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=HERE.parent)
        assert self.process.stdout is not None
        self.pipe = self.process.stdout
        self.lines = b""

    def run_until(self, lines: int) -> None:
        """Let it work until it has acknowledged so much."""
        while self.lines.count(b"\n") < lines:
            self.hear(PATIENCE)

    def hear(self, patience: float) -> None:
        """What it has said; waits for it as long as that."""
        while select.select([self.pipe], [], [], patience)[0]:
            said = os.read(self.pipe.fileno(), 65_536)
            assert said, "it has died"
            self.lines += said
            patience = 0

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop it as it stands. What it has acknowledged by then is in `lines`."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)
        self.hear(0)
        yield
        self.process.send_signal(signal.SIGCONT)

    def acknowledged(self) -> list[list[str]]:
        return [line.split() for line in self.lines.decode().rpartition("\n")[0].splitlines()]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.pipe.close()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(tmp_path / "store.db")
    yield writer
    writer.end()


async def holds(path: Path, acknowledged: Sequence[Sequence[str]]) -> None:
    """All of it is there, in the copy of a store."""
    assert inspect(path) == []
    store = SqliteStore.open(path, system="pbx")
    reading = await store.reading()
    saved = [int(words[1]) for words in acknowledged if words[0] == "saved"]
    assert not saved or (reading is not None and (reading.position.id or 0) >= saved[-1])
    for number in saved:
        assert await store.call(f"{number}") is not None
    journaled = {words[1]: words[0] for words in acknowledged if words[0] in ("claimed", "delivered")}
    for linkedid, last in journaled.items():
        (record,) = await store.deliveries(linkedid=linkedid)
        assert record.attempts == 1
        assert record.state in (
            {State.DELIVERED} if last == "delivered" else {State.DELIVERED, State.SENDING}
        )
    await store.aclose()


@pytest.mark.parametrize("seed", range(4))
def test_a_snapshot_at_any_moment_holds_what_was_acknowledged(
    tmp_path: Path, writer: Writer, seed: int
) -> None:
    """File and log as they stand while the writer works, checkpoints included: sound, and nothing is missing."""
    moments = random.Random(seed)  # noqa: S311 - no secret
    copies = []
    lines = 0
    for number in range(5):
        lines += moments.randint(1, 400)
        writer.run_until(lines)
        with writer.frozen():
            copy = tmp_path / f"copy{number}" / "store.db"
            copy.parent.mkdir()
            for end in moments.sample(["", "-wal"], 2):  # without -shm: it is made anew from the log
                shutil.copy(f"{tmp_path / 'store.db'}{end}", f"{copy}{end}")
            copies.append((copy, writer.acknowledged()))
    for copy, acknowledged in copies:
        asyncio.run(holds(copy, acknowledged))


def test_a_log_that_is_cut_anywhere_is_a_sound_store_of_before(tmp_path: Path, writer: Writer) -> None:
    """The last pages of the log did not get to the disk, or only in part: the store is one of an earlier moment,
    with all its calls up to some one, and none behind it."""
    moments = random.Random(1)  # noqa: S311 - no secret
    writer.run_until(40)
    with writer.frozen():
        whole, log = (tmp_path / "store.db").read_bytes(), (tmp_path / "store.db-wal").read_bytes()
    assert len(log) < 1000 * 4096, "nothing of it has been taken over into the file yet"
    for number in range(12):
        copy = tmp_path / f"cut{number}.db"
        copy.write_bytes(whole)
        kept = moments.randint(len(log) // 3, len(log))
        (tmp_path / f"cut{number}.db-wal").write_bytes(
            log[:kept] + moments.randbytes(min(5000, len(log) - kept))
        )
        assert inspect(copy) == []
        asyncio.run(_gapless(copy))


async def _gapless(path: Path) -> None:
    store = SqliteStore.open(path, system="pbx")
    reading = await store.reading()
    last = -1 if reading is None or reading.position.id is None else reading.position.id
    assert all([await store.call(f"{number}") for number in range(last + 1)])
    assert await store.call(f"{last + 1}") is None
    await store.aclose()


# what gets to the disk, as the kernel is asked for it


def traced(tmp_path: Path, calls: int) -> list[str]:
    """The system calls of a writer that makes its store anew."""
    if shutil.which("strace") is None:
        reason = "strace is not installed: the order of fsync and acknowledgement is not looked at"
        print(reason)
        pytest.skip(reason)
    log = tmp_path / "strace"
    names = "trace=openat,fsync,fdatasync,write,pwrite64"
    command = ["strace", "-f", "-y", "-s", "40", "-e", names, "-o", str(log)]
    done = subprocess.run(
        [*command, sys.executable, "-c", WRITER, str(HERE), str(tmp_path / "store.db"), str(calls)],
        capture_output=True,
        text=True,
        check=False,
        cwd=HERE.parent,
    )
    if "Operation not permitted" in done.stderr:
        reason = f"processes cannot be traced here: {done.stderr.strip()}"
        print(reason)
        pytest.skip(reason)
    assert done.returncode == 0, done.stderr
    return log.read_text().splitlines()


def test_every_acknowledgement_comes_after_the_sync_of_the_log(tmp_path: Path) -> None:
    """Between the last write to the log and the word that it is stored lies an fdatasync of it (synchronous=FULL);
    a new file's name is synced with its folder before anything is acknowledged."""
    dirty, acknowledged, folder = False, 0, False
    for line in traced(tmp_path, 12):
        if re.search(r"(pwrite64|write)\(\d+<[^>]*store\.db-wal>", line):
            dirty = True
        elif re.search(r"(fdatasync|fsync)\(\d+<[^>]*store\.db-wal>", line):
            dirty = False
        elif re.search(rf"fsync\(\d+<{re.escape(str(tmp_path))}>", line):
            folder = True
        elif re.search(r'write\(1<[^>]*>, "(saved|claimed|delivered)', line):
            acknowledged += 1
            assert not dirty, line
            assert folder, line
    assert acknowledged == 12 + 6 + 6


def test_a_commit_is_asked_for_in_full(tmp_path: Path) -> None:
    """synchronous=FULL (2) on the connections that write, whatever SQLite was built with."""
    with closing(schema.connect(tmp_path / "store.db", busy_timeout=1)) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
