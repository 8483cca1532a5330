"""`celreplay store`: the file is checked, copied and made smaller, beside a running daemon where that is possible."""

import asyncio
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from crm_server import CrmServer
from factories import START, make_call, make_finished
from running import Pbx, run, until

from celreplay.errors import StoreError
from celreplay.store.sqlite import SqliteStore, schema
from celreplay.store.sqlite.upkeep import back_up, inspect, vacuum


def store_command(pbx: Pbx, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "celreplay", "store", arguments[0], "-c", str(pbx.config), *arguments[1:]]


def filled(path: Path, calls: int = 50, size: int = 100) -> Path:
    """A store with calls that wait."""

    async def fill() -> None:
        store = SqliteStore.open(path, system="pbx")
        wishes = [make_finished(f"{n}", at=START + n, strand="1", payload=b"x" * size) for n in range(calls)]
        await store.save_calls(wishes, now=START)
        await store.save_calls([make_finished(call=make_call("b", linkedids=["b", "c"]))], now=START)
        await store.claim("crm", 2, now=START, order_patience=900)
        await store.aclose()

    asyncio.run(fill())
    return path


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


# check


def test_a_sound_store_has_no_findings(tmp_path: Path) -> None:
    """Nothing to tell, and nothing is changed."""
    path = filled(tmp_path / "store.db")
    before = path.read_bytes()
    assert inspect(path) == []
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("harm", "finding"),
    [
        ("UPDATE counters SET n = n + 3 WHERE state = 'pending'", "49 deliveries are pending, its counter says 52"),
        ("UPDATE replays SET waiting = 7", "replay 1: it does not say right how many"),
        ("UPDATE deliveries SET turn = 0 WHERE linkedid = '7'", "delivery 8: its place in its strand is wrong"),
        ("DELETE FROM payloads WHERE delivery_id = 8", "delivery 8: it waits and has no bytes to send"),
        ("INSERT INTO payloads (delivery_id, payload) VALUES (999, x'')", "payload of delivery 999: there is no"),
        ("INSERT INTO attempts (delivery_id, number, started_at) VALUES (999, 1, 1)", "attempts of delivery 999"),
        ("DELETE FROM calls WHERE linkedid = 'b'", "linkedid c: it is said to be a part of a call"),
        (
            "INSERT INTO delivery_keys VALUES ('7', 1, 'call', 'delivered', 1, 1, 0, 'r1')",
            "delivery 8: it is kept both whole and as a key",
        ),
    ],
)  # fmt: skip
def test_what_is_not_true_of_the_deliveries_is_told(tmp_path: Path, harm: str, finding: str) -> None:
    """Each kind of finding in words that say which thing is wrong, and how."""
    path = filled(tmp_path / "store.db")
    change(
        path,
        "INSERT INTO key_names (system, connector) VALUES ('pbx', 'crm')",
        "INSERT INTO replays (state, requested_at, requested_by, ids, force, dry_run, mark_delivered) "
        "VALUES ('done', 1, 'cli:root', '[]', '0', 0, 0)",
    )
    assert inspect(path) == []
    change(path, harm)
    assert [one for one in inspect(path) if finding in one]


def test_broken_pages_are_told_with_their_table(tmp_path: Path) -> None:
    """Random bytes in the middle of a table: its name stands in the finding."""
    path = filled(tmp_path / "store.db", calls=500)
    with closing(sqlite3.connect(path)) as connection:
        pages = connection.execute("SELECT pageno FROM dbstat WHERE name = 'payloads'").fetchall()
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((pages[-1][0] - 1) * size)
        file.write(b"\xa7" * size)
    findings = inspect(path)
    assert findings
    assert all(finding.startswith("damaged: payloads: ") for finding in findings), findings


def test_a_file_that_is_no_store_cannot_be_checked(tmp_path: Path) -> None:
    """Nothing there, another program's database: said, and nothing is made."""
    with pytest.raises(StoreError, match="there is none"):
        inspect(tmp_path / "store.db")
    assert list(tmp_path.iterdir()) == []
    change(tmp_path / "other.db", "CREATE TABLE cel (id)")
    with pytest.raises(StoreError, match="another program's"):
        inspect(tmp_path / "other.db")


async def test_the_commands_work_beside_the_daemon(tmp_path: Path) -> None:
    """check and backup while calls are delivered; the copy is whole and private; vacuum is refused; codes 0 and 2."""
    async with CrmServer() as crm:
        pbx = Pbx(tmp_path, crm.url)
        copy = tmp_path / "copy.sqlite"
        async with pbx.daemon() as daemon:
            pbx.happens(5)
            await until(lambda: len(crm.taken) >= 5)
            code, out, err = await run(*store_command(pbx, "check"))
            assert (code, "is sound" in out) == (0, True), err
            code, out, err = await run(*store_command(pbx, "backup", str(copy)))
            assert (code, "checked" in out) == (0, True), err
            code, _, err = await run(*store_command(pbx, "backup", str(copy)))
            assert (code, "is there already" in err) == (2, True)
            code, _, err = await run(*store_command(pbx, "vacuum"))
            assert (code, f"pid {daemon.process.pid}" in err) == (2, True)
            assert await daemon.stop() == 0
        assert copy.stat().st_mode & 0o777 == 0o600
        assert inspect(copy) == []
        code, out, err = await run(*store_command(pbx, "vacuum"))
        assert (code, "freed" in out) == (0, True), err


async def test_a_finding_is_exit_code_1(tmp_path: Path) -> None:
    """For a nightly job: the findings on stdout, what to do on stderr."""
    pbx = Pbx(tmp_path, "http://127.0.0.1:9/")
    pbx.write_config()
    await asyncio.to_thread(filled, tmp_path / "store.sqlite")
    change(tmp_path / "store.sqlite", "UPDATE counters SET n = 0 WHERE state = 'pending'")
    code, out, err = await run(*store_command(pbx, "check"))
    assert (code, out.count("\n")) == (1, 1)
    assert "docs/store.md" in err


# backup


async def test_a_backup_is_the_store_at_one_moment(tmp_path: Path) -> None:
    """While calls are being stored it holds a beginning of them without a gap, and its checks find nothing."""
    store = SqliteStore.open(tmp_path / "store.db", system="pbx")
    copies = []
    for number in range(200):
        await store.save_calls([make_finished(f"{number}")], now=START)
        if number % 60 == 30:
            copies.append((number, tmp_path / f"copy-{number}"))
            copying = asyncio.to_thread(back_up, store.path, copies[-1][1])
            more = store.save_calls([make_finished(f"beside {number}")], now=START)
            await asyncio.gather(copying, more)
    await store.aclose()
    for number, path in copies:
        assert inspect(path) == []
        copy = SqliteStore.open(path, system="pbx")
        assert all([await copy.call(f"{n}") for n in range(number + 1)])
        assert await copy.call(f"{number + 1}") is None
        await copy.aclose()


def test_a_backup_never_takes_the_place_of_a_file(tmp_path: Path) -> None:
    """Nor of a link that leads nowhere."""
    path = filled(tmp_path / "store.db")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("notes.txt", "link", "store.db"):
        with pytest.raises(StoreError, match="is there already"):
            back_up(path, tmp_path / name)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_damaged_store_gives_no_backup(tmp_path: Path) -> None:
    """A copy of what is broken would one day be taken for a backup: it is not kept."""
    path = filled(tmp_path / "store.db", calls=500)
    with closing(sqlite3.connect(path)) as connection:
        page = connection.execute("SELECT max(pageno) FROM dbstat WHERE name = 'payloads'").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa7" * 4096)
    with pytest.raises(StoreError, match="not sound"):
        back_up(path, tmp_path / "copy")
    assert [file.name for file in tmp_path.iterdir()] == ["store.db"]


def test_a_backup_without_room_leaves_nothing(tmp_path: Path) -> None:
    """A folder that is not there, too: what is in the way is named."""
    path = filled(tmp_path / "store.db")
    with pytest.raises(StoreError, match="nowhere"):
        back_up(path, tmp_path / "nowhere" / "copy")


# vacuum


def test_vacuum_gives_freed_room_back(tmp_path: Path) -> None:
    """After much was removed the file is smaller, and what is left is the same."""
    path = filled(tmp_path / "store.db", calls=500, size=10_000)
    change(path, "UPDATE payloads SET payload = x''")
    done = vacuum(path)
    assert done.before > 4_000_000
    assert done.after == path.stat().st_size < 2_000_000
    assert inspect(path) == []
    with closing(schema.connect(path, busy_timeout=1)) as connection:
        assert schema.version_of(connection) == len(schema.SCRIPTS)
        assert connection.execute("SELECT count(*) FROM deliveries").fetchone()[0] == 501


def test_vacuum_needs_room_on_the_disk(tmp_path: Path) -> None:
    """Twice the content, said before anything is done."""
    path = filled(tmp_path / "store.db")
    with closing(sqlite3.connect(path)) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    before = path.read_bytes()
    with pytest.raises(StoreError, match="must be free on its disk"):
        vacuum(path, free=2 * pages * 4096 - 1)
    assert path.read_bytes() == before
