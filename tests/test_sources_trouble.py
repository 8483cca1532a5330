"""Servers that go away, rights that are missing, writers that must not wait: on real databases."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from cel_tables import FORMS_READ, TABLES, Table, client, filled
from servers import Mariadb, Postgresql, free_port, running_mariadb, running_postgresql

from celreplay.errors import SourceError, SourceUnavailableError
from celreplay.sources.base import Position
from celreplay.sources.mysql import MysqlDatabase
from celreplay.sources.opening import source_of

FORMS = {form.name: form for form in FORMS_READ}
SERVERS = ("postgresql", "freepbx")


@pytest.fixture(params=SERVERS)
async def table(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Table]:
    async with filled(FORMS[request.param], request, tmp_path) as made:
        yield made


@pytest.fixture
async def file(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Table]:
    async with filled(FORMS["sqlite"], request, tmp_path) as made:
        yield made


async def test_a_reader_of_a_file_does_not_block_its_writer(file: Table) -> None:
    """Asterisk waits one second, then drops the row: here the writer would not wait at all."""
    await file.execute(
        "INSERT INTO cel (eventtype, eventtime, uniqueid, linkedid, appdata) WITH RECURSIVE n(i) AS "
        "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000) "
        "SELECT 'ANSWER', '1795500000.0', '1795500000.' || i, '1795500000.' || i, 'x' FROM n"
    )
    path = file.url.removeprefix("sqlite://")
    refused = written = pages = 0
    with closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as writer:
        async for page in file.source.linkedids_between(0, 2**52):
            pages += len(page.linkedids) > 0
            try:
                writer.execute("BEGIN IMMEDIATE")
                writer.execute("INSERT INTO cel (eventtype) VALUES ('HANGUP')")
                writer.execute("COMMIT")
                written += 1
            except sqlite3.OperationalError:
                refused += 1
    assert pages > 5
    assert (refused, written >= pages) == (0, True)


async def test_a_file_locked_by_its_writer_is_tried_again_later(file: Table) -> None:
    """A lock that stays is `later`, not `broken`."""
    await file.source.rows_after(Position(), 1)
    with closing(sqlite3.connect(file.url.removeprefix("sqlite://"), isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SourceUnavailableError, match="locked"):
            await file.source.rows_after(Position(), 1)
        writer.execute("COMMIT")
    assert await file.source.rows_after(Position(), 1)


async def test_a_file_that_is_replaced_is_read_anew(file: Table, tmp_path: Path) -> None:
    """logrotate moves the file away: the next read sees the new one."""
    assert len(await file.source.rows_after(Position(), 10)) == 10
    path = Path(file.url.removeprefix("sqlite://"))
    path.rename(tmp_path / "old.db")  # noqa: ASYNC240 - nothing else runs
    with pytest.raises(SourceError, match="No such file"):
        await file.source.rows_after(Position(), 10)
    with closing(sqlite3.connect(path)) as new:
        new.execute((TABLES / "sqlite.sql").read_text())
    assert await file.source.rows_after(Position(), 10) == []


async def test_bytes_that_are_no_utf8_do_not_stop_the_reading(tmp_path: Path) -> None:
    """Asterisk 16 stores caller names as they came; the row is read, with a warning."""
    path = tmp_path / "master.db"
    shutil.copy(TABLES / "bad-utf8-16.sqlite", path)
    rows = await source_of(f"sqlite://{path}").rows_after(Position(), 1000)
    assert [row.id for row in rows] == list(range(1, 46))
    warned = [row for row in rows if row.warnings]
    assert {row.warnings for row in warned} == {("cid_name holds bytes that are no UTF-8",)}
    assert "\ufffd" in warned[0].cid_name


async def test_reading_leaves_no_transaction_open(table: Table) -> None:
    """After each method the session is idle, with no transaction: DDL and VACUUM never wait for us."""
    await table.source.rows_after(Position(), 5)
    pages = table.source.linkedids_between(0, 2**52)
    await anext(pages)
    if table.form.server == "postgresql":
        states = await table.execute(
            "SELECT state, xact_start FROM pg_stat_activity WHERE application_name = 'celreplay' "
            "AND datname = current_database()"
        )
        assert states
        assert {tuple(row) for row in states} == {("idle", None)}
    else:
        states = await table.execute(
            "SELECT COMMAND FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID()"
        )
        assert {row[0] for row in states} == {"Sleep"}
        assert await table.execute("SELECT COUNT(*) FROM information_schema.INNODB_TRX") == ((0,),)
    await table.execute("ALTER TABLE cel ADD COLUMN note int")


async def test_our_sessions_cannot_write(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """PostgreSQL itself refuses a write of ours."""
    async with filled(FORMS["postgresql"], request, tmp_path) as table:
        from celreplay.sources.statements import Bound  # noqa: PLC0415 - only here

        database = table.source._database  # type: ignore[attr-defined]
        with pytest.raises(SourceError, match="read-only"):
            await database.fetch(Bound("DELETE FROM cel", ()))


async def test_an_account_of_another_host_is_explained(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """With skip-name-resolve the user `…@localhost` may not come over 127.0.0.1, whatever its password."""
    async with filled(FORMS["freepbx"], request, tmp_path) as table:
        name = table.url.rpartition("/")[2]
        user = f"local_{name}"
        await table.execute(f"CREATE USER {user}@localhost IDENTIFIED BY 'its-password'")
        server = request.getfixturevalue("mariadb")
        with pytest.raises(
            SourceError, match=rf"'{user}'@'<host of celreplay>'.*skip-name-resolve"
        ) as caught:
            await source_of(server.url(name, user, "its-password")).rows_after(Position(), 1)
        assert "its-password" not in str(caught.value)


async def test_a_wrong_database_is_told_beside_the_right(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The server says "denied" for a database that does not exist, so the remedy names both."""
    async with filled(FORMS["freepbx"], request, tmp_path) as table:
        user = f"other_{table.url.rpartition('/')[2]}"
        await table.execute(f"CREATE USER {user} IDENTIFIED BY ''")
        server = request.getfixturevalue("mariadb")
        with pytest.raises(SourceError, match=r"database's name in the URL; as root: GRANT SELECT ON"):
            await source_of(server.url("no_such_database", user)).rows_after(Position(), 1)


async def test_a_revoked_right_is_named_with_its_remedy(table: Table, request: pytest.FixtureRequest) -> None:
    """The message holds the GRANT; with it the same source goes on."""
    name = table.url.rpartition("/")[2]
    user = f"reader_{name}"
    if table.form.server == "postgresql":
        await table.execute(f"CREATE ROLE {user} LOGIN")
        grant, revoke = f"GRANT SELECT ON cel TO {user}", f"REVOKE SELECT ON cel FROM {user}"  # noqa: S608
        url = request.getfixturevalue("postgresql").url(name, user)
    else:
        await table.execute(f"CREATE USER {user} IDENTIFIED BY 'pa:ss@word'")
        grant = f"GRANT SELECT ON {name}.cel TO {user}"
        revoke = f"REVOKE SELECT ON {name}.cel FROM {user}"  # noqa: S608
        url = request.getfixturevalue("mariadb").url(name, user, "pa%3Ass%40word")
    await table.execute(grant)
    source = source_of(url)
    assert await source.rows_after(Position(), 1)
    await table.execute(revoke)
    with pytest.raises(SourceError, match="GRANT SELECT ON") as caught:
        await source.rows_after(Position(), 1)
    assert not isinstance(caught.value, SourceUnavailableError)
    assert "pa:ss" not in f"{caught.value}{source!r}"
    await table.execute(grant)
    assert await source.rows_after(Position(), 1)
    await source.aclose()


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
async def test_the_same_source_works_after_a_restart(kind: str) -> None:
    """Killed: `later`. Back: the very next read succeeds."""
    with running_postgresql() if kind == "postgresql" else running_mariadb() as server:
        database = "postgres" if kind == "postgresql" else "mysql"
        source = source_of(server.url(database), table="t")
        await _make(server)
        assert len(await source.rows_after(Position(), 9)) == 1
        server.stop(9)
        for _ in range(2):
            with pytest.raises(SourceUnavailableError, match="does not answer"):
                await source.rows_after(Position(), 9)
        server.start()
        await _answers(server)
        assert len(await source.rows_after(Position(), 9)) == 1
        server.stop()
        server.start()
        await _answers(server)
        assert len(await source.rows_after(Position(), 9)) == 1  # the idle connection is dead
        await source.aclose()


async def _make(server: Postgresql | Mariadb) -> None:
    ddl = "CREATE TABLE t (id int, eventtype varchar(9), eventtime varchar(20), uniqueid varchar(9), linkedid varchar(9))"
    row = "INSERT INTO t VALUES (1, 'ANSWER', '1795500000', '1.1', '1.1')"
    if isinstance(server, Mariadb):
        with client(server, "mysql") as cursor:
            cursor.execute(ddl)
            cursor.execute(row)
        return
    import asyncpg  # noqa: PLC0415 - only here

    connection = await asyncpg.connect(server.url("postgres"))
    await connection.execute(f"{ddl}; {row}")
    await connection.close()


async def _answers(server: Postgresql | Mariadb) -> None:
    """Recovery after a kill takes a moment in which PostgreSQL says so."""
    probe = source_of(server.url("postgres" if isinstance(server, Postgresql) else "mysql"), table="t")
    for _ in range(200):
        try:
            await probe.rows_after(Position(), 1)
            break
        except SourceUnavailableError:
            await asyncio.sleep(0.1)
    await probe.aclose()


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
async def test_nobody_listening_is_for_later(scheme: str) -> None:
    """Connection refused and an unknown host are `later`, without the password in the message."""
    for host in (f"127.0.0.1:{free_port()}", "nowhere.invalid"):
        source = source_of(f"{scheme}://asterisk:secret@{host}/cdr")
        with pytest.raises(SourceUnavailableError) as caught:
            await source.describe()
        assert "secret" not in f"{caught.value}{source!r}"


async def test_an_unknown_database_and_an_unknown_table_are_named(table: Table) -> None:
    """Nothing repairs itself there: the message says what is there instead."""
    nowhere = source_of(table.url.rpartition("/")[0] + "/no_such")
    with pytest.raises(SourceError, match="no_such") as caught:
        await nowhere.describe()
    assert not isinstance(caught.value, SourceUnavailableError)
    mistyped = source_of(table.url, table="clr")
    with pytest.raises(SourceError, match=r"no table clr .*\.cel"):
        await mistyped.describe()
    await mistyped.aclose()


async def test_a_table_in_another_schema_is_found(table: Table) -> None:
    """`schema.table` reads a table elsewhere."""
    schema = "public" if table.form.server == "postgresql" else table.url.rpartition("/")[2]
    url = table.url.rpartition("/")[0] + (
        "/" + table.url.rpartition("/")[2] if schema == "public" else "/mysql"
    )
    source = source_of(url, table=f"{schema}.cel", timezone="Europe/Moscow")
    assert await source.rows_after(Position(), 5) == table.events[:5]
    await source.aclose()


async def test_a_lock_on_the_table_is_for_later(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """An ALTER TABLE that takes long does not hang the reader for ever."""
    import asyncpg  # noqa: PLC0415 - only here

    async with filled(FORMS["postgresql"], request, tmp_path) as table:
        connection = await asyncpg.connect(table.url)
        await connection.execute("BEGIN; LOCK TABLE cel IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(SourceUnavailableError, match="lock"):
            await table.source.rows_after(Position(), 1)
        await connection.close()
        assert await table.source.rows_after(Position(), 1)


async def test_lookups_use_both_indexes(table: Table) -> None:
    """EXPLAIN shows index look-ups, no scan, for the look-up by keys."""
    from celreplay.sources.reader import _SQL  # noqa: PLC0415 - only here

    await table.source.describe()
    layout, dialect = table.source._layout, table.source._database.dialect  # type: ignore[attr-defined]
    names = [column for field, column in layout.columns.items() if field != "id"] + ["amaflags"]
    values = [f"CONCAT({name}, 'x')" if name in {"uniqueid", "linkedid"} else name for name in names]
    if table.form.server == "postgresql":
        await table.execute("SELECT setval('cel_id_seq', 100000)")
    for _ in range(6):
        await table.execute(f"INSERT INTO cel ({', '.join(names)}) SELECT {', '.join(values)} FROM cel")  # noqa: S608
    await table.execute("ANALYZE cel" if table.form.server == "postgresql" else "ANALYZE TABLE cel")
    keys = ["1795396145.39"]
    sql = dialect.bind(_SQL["rows_by_key"], layout.names, {"keys": keys, "known": keys}).sql
    for place, value in (("$1", f"ARRAY{keys}"), ("$2", f"ARRAY{keys}"), ("%s", repr(keys[0]))):
        sql = sql.replace(place, value)
    plan = str(await table.execute(f"EXPLAIN {sql}"))
    if table.form.server == "postgresql":
        assert "cel_linkedid" in plan
        assert "cel_uniqueid" in plan
        assert "Seq Scan" not in plan
    else:
        assert "linkedid_index" in plan
        assert "uniqueid_index" in plan
        assert "'ALL'" not in plan


@pytest.mark.parametrize("driver", ["asyncmy", "aiomysql"])
async def test_both_drivers_read_alike_over_a_socket(
    driver: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The accelerator changes nothing; zero dates and password-less sockets work with both."""
    pytest.importorskip(driver)
    async with filled(FORMS["freepbx"], request, tmp_path) as table:
        await table.execute("SET sql_mode = ''")
        server: Mariadb = request.getfixturevalue("mariadb")
        name = table.url.rpartition("/")[2]
        with client(server, name) as cursor:
            cursor.execute("SET sql_mode = ''")
            cursor.execute("UPDATE cel SET eventtime = '0000-00-00 00:00:00' ORDER BY id LIMIT 1")
        source = source_of(
            f"mysql://root@localhost/{name}?unix_socket={server.socket}", timezone="Europe/Moscow"
        )
        old = source._database  # type: ignore[attr-defined]
        source._database = MysqlDatabase(  # type: ignore[attr-defined]
            host="",
            port=None,
            user="root",
            password="",
            database=name,
            unix_socket=old._socket,
            driver=driver,
        )
        rows = await source.rows_after(Position(), 10_000)
        assert rows[0].warnings
        assert "is no time" in rows[0].warnings[0]
        assert rows[0].eventtime == int(rows[0].uniqueid.partition(".")[0]) * 1_000_000
        assert rows[1:] == table.events[1:]
        await source.aclose()


async def test_a_table_without_linkedid_says_what_to_do(tmp_path: Path) -> None:
    """Asterisk's sample cel_sqlite3_custom.conf makes such tables; nothing is guessed."""
    path = tmp_path / "master.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute((TABLES / "sqlite.sql").read_text().replace("linkedid,", ""))
    with pytest.raises(
        SourceError, match=r"no column linkedid.*cel_sqlite3_custom\.conf.*CHANNEL\(linkedid\)"
    ):
        await source_of(f"sqlite://{path}").rows_after(Position(), 1)


async def test_a_file_that_is_no_database_or_not_there(tmp_path: Path) -> None:
    """The file is named, and no driver's exception comes through."""
    (tmp_path / "text.db").write_text("no database" * 200)
    (tmp_path / "empty.db").touch()
    for name, said in (
        ("text.db", "not an SQLite database"),
        ("none.db", "No such file"),
        ("empty.db", "no table cel"),
    ):
        with pytest.raises(SourceError, match=rf"{name}: {said}") as caught:
            await source_of(f"sqlite://{tmp_path / name}").describe()
        assert not isinstance(caught.value, SourceUnavailableError)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "ftp://h/d",
        "sqlite://host/x",
        "sqlite://",
        "mysql://u:secret@h",
        "postgresql://u:secret@h:port/d",
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(url: str) -> None:
    """With the three forms as a hint, and without its password."""
    with pytest.raises(SourceError, match="URL of the CEL database") as caught:
        source_of(url)
    assert "secret" not in str(caught.value)


def test_an_unknown_zone_is_refused() -> None:
    """Before anything is read."""
    with pytest.raises(SourceError, match="unknown time zone 'Mars/Base'"):
        source_of("sqlite:///x", timezone="Mars/Base")


async def test_a_database_without_encoding_gives_its_bytes(postgresql: Postgresql) -> None:
    """SQL_ASCII keeps whatever Asterisk 16 wrote: read, with a warning."""
    import asyncpg  # noqa: PLC0415 - only here

    connection = await asyncpg.connect(postgresql.url("postgres"))
    await connection.execute("CREATE DATABASE raw ENCODING 'SQL_ASCII' TEMPLATE template0")
    await connection.close()
    connection = await asyncpg.connect(postgresql.url("raw"))
    await connection.execute("SET client_encoding = 'SQL_ASCII'")
    await connection.execute((TABLES / "postgresql.sql").read_text())
    await connection.execute(
        "INSERT INTO cel SELECT 1, 'ANSWER', '2026-11-23 04:09:00', '', E'\\xc8\\xe2', '', '', '', '', '', '', '', '', '', 3, '', '', "
        "'1795396140.7', '1795396140.7', '', '', NULL"
    )
    await connection.close()
    source = source_of(postgresql.url("raw"), timezone="Europe/Moscow")
    row = (await source.rows_after(Position(), 5))[0]
    assert (row.cid_name, row.warnings) == ("\ufffd\ufffd", ("cid_name holds bytes that are no UTF-8",))
    assert row.eventtime == 1795396140 * 1_000_000
    await source.aclose()


@pytest.mark.parametrize("driver", ["asyncmy", "aiomysql"])
async def test_broken_bytes_in_mariadb_do_not_stop_the_reading(mariadb: Mariadb, driver: str) -> None:
    """An old table may hold what its own encoding forbids: here the file of a MyISAM table is changed."""
    pytest.importorskip(driver)
    name = f"broken_{driver}"
    with client(mariadb) as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    with client(mariadb, name) as cursor:
        cursor.execute((TABLES / "freepbx.sql").read_text().replace("InnoDB", "MyISAM"))
        cursor.execute(
            "INSERT INTO cel (eventtype, eventtime, cid_name, uniqueid, linkedid, amaflags, cid_num, cid_ani, cid_rdnis, "
            "cid_dnid, exten, context, channame, appname, appdata, accountcode, peer, userdeftype, extra) VALUES "
            "('ANSWER', '2026-11-23 04:09:00', 'BROKENNAME', '1795396140.7', '1795396140.7', 3, '', '', '', '', '', '', '', '', '', '', '', '', '')"
        )
        cursor.execute("FLUSH TABLES")
        data = mariadb.data / name / "cel.MYD"
        data.write_bytes(data.read_bytes().replace(b"BROKENNAME", b"\xc8\xe2\xe0\xedKENNAM"))
        cursor.execute("FLUSH TABLES")
    source = source_of(mariadb.url(name))
    source._database = MysqlDatabase(  # type: ignore[attr-defined]
        host="127.0.0.1", port=mariadb.port, user="root", password="", database=name, driver=driver
    )
    for _ in range(2):
        row = (await source.rows_after(Position(), 5))[0]
        assert row.cid_name.endswith("KENNAM")
        assert row.warnings == ("cid_name holds bytes that are no UTF-8",)
    assert (await source.describe()).last.id == 1
    await source.aclose()
