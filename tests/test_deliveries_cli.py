"""`celreplay deliveries` as an admin uses it at night: beside a real daemon, and without one."""

import asyncio
import getpass
import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from crm_server import CrmServer, Play
from running import Daemon, Pbx, run, until

REFUSAL = Play(status=422, body=b'{"error": "name too long"}')
AWAY = Play(status=503, headers={"retry-after": "3600"})
ME = f"cli:{getpass.getuser()}"


@pytest.fixture
async def crm() -> AsyncIterator[CrmServer]:
    async with CrmServer() as crm:
        yield crm


@pytest.fixture
def pbx(tmp_path: Path, crm: CrmServer) -> Pbx:
    return Pbx(tmp_path, crm.url)


async def deliveries(pbx: Pbx, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    what, *rest = arguments
    return await run(sys.executable, "-m", "celreplay", "deliveries", what, "-c", str(pbx.config), *rest)


async def listed(pbx: Pbx, *arguments: str) -> list[Mapping[str, Any]]:
    code, out, errors = await deliveries(pbx, "list", "--json", *arguments)
    assert code == 0, errors
    found: list[Mapping[str, Any]] = json.loads(out)["deliveries"]
    return found


async def refused(pbx: Pbx, crm: CrmServer, daemon: Daemon, calls: int = 1) -> list[str]:
    """Calls that the CRM has refused for good."""
    crm.default = REFUSAL
    linkedids = pbx.happens(calls)
    await until(lambda: len(daemon.events("delivery.attempt")) >= calls)
    crm.default = Play()
    return linkedids


async def test_a_dead_call_is_found_repaired_and_sent_again(pbx: Pbx, crm: CrmServer) -> None:
    """The list has its reason, the journal the answer; after the retry the daemon sends it as the same call."""
    async with pbx.daemon() as daemon:
        [linkedid] = await refused(pbx, crm, daemon)
        code, out, errors = await deliveries(pbx, "list", "--state", "dead")
        assert (code, errors) == (0, "")
        [line] = out.splitlines()
        assert f"  dead        crm  {linkedid}" in line
        assert "answered 422" in line
        code, out, _ = await deliveries(pbx, "show", linkedid, "crm")
        assert code == 0
        assert "permanent [422]  answered 422 Unprocessable" in out
        assert '{"error": "name too long"}' in out
        id_ = line.split()[0]
        code, out, errors = await deliveries(pbx, "retry", id_)
        assert (code, out, errors) == (0, "1 delivery to be sent again\n", "")
        await until(lambda: len(crm.received) == 2)
        await until(lambda: len(daemon.events("delivery.attempt")) == 2)
        [record] = await listed(pbx, "--linkedid", linkedid)
        assert await daemon.stop() == 0
    assert record["state"] == "delivered"
    assert (
        len({request.id for request in crm.received}) == len({request.body for request in crm.received}) == 1
    )
    _, out, _ = await deliveries(pbx, "show", id_, "--json")
    assert [attempt["outcome"] for attempt in json.loads(out)["journal"]] == ["permanent", "ok"]


async def test_a_discarded_call_is_sent_by_its_id_alone(pbx: Pbx, crm: CrmServer) -> None:
    """A replay of its period leaves it where a person has put it; one that names it sends it."""
    async with pbx.daemon() as daemon:
        [linkedid] = await refused(pbx, crm, daemon)
        [record] = await listed(pbx, "--state", "dead")
        code, out, _ = await deliveries(pbx, "discard", str(record["id"]))
        assert (code, out) == (0, "1 delivery discarded\n")
        assert await listed(pbx, "--state", "dead") == []
        replay = (sys.executable, "-m", "celreplay", "replay", "-c", str(pbx.config))
        await run(*replay, "--start-date", "-2")  # the first reach into the past is refused, once
        code, out, _ = await run(*replay, "--start-date", "-2")
        assert "1 skipped (discarded: sent again when asked for by id or with force=1)" in out
        assert len(crm.received) == 1
        code, out, errors = await run(*replay, "--id", linkedid)
        assert code == 0, errors
        assert await daemon.stop() == 0
    assert crm.linkedids() == [linkedid, linkedid]


async def test_all_dead_ones_are_sent_again_by_the_next_start(pbx: Pbx, crm: CrmServer) -> None:
    """Without a daemon the store remembers; filters narrow; who did it stands in the reason."""
    async with pbx.daemon() as daemon:
        linkedids = await refused(pbx, crm, daemon, calls=3)
        assert await daemon.stop() == 0
    code, out, _ = await deliveries(pbx, "retry", "--all-dead", "--linkedid", linkedids[0], "--yes")
    assert (code, out) == (0, "1 delivery to be sent again\n")
    code, out, _ = await deliveries(pbx, "retry", "--all-dead", "--reason", "no such", "--yes")
    assert (code, out) == (0, "0 deliveries to be sent again\n")
    code, out, errors = await deliveries(
        pbx, "retry", "--all-dead", "--connector", "crm", "--since", "-1", "--yes", "--rebuild"
    )
    assert (code, out) == (0, "2 deliveries to be sent again\n")
    assert errors == "celreplay: no daemon runs: its next start sends them\n"
    reasons = {record["reason"] for record in await listed(pbx, "--state", "pending")}
    assert all(f"retried by {ME}; it was dead: answered 422" in reason for reason in reasons)
    async with pbx.daemon() as daemon:
        await until(lambda: len(crm.received) == 6)
        assert await daemon.stop() == 0
    assert sorted(crm.linkedids()[3:]) == sorted(linkedids)


async def test_a_filter_is_not_carried_out_without_a_yes(pbx: Pbx, crm: CrmServer) -> None:
    """A script is told the number and has to say --yes; a person at a terminal is asked."""
    async with pbx.daemon() as daemon:
        await refused(pbx, crm, daemon, calls=2)
        assert await daemon.stop() == 0
    for what in ("retry", "discard"):
        code, _, errors = await deliveries(pbx, what, "--all-dead")
        assert (code, errors) == (2, "celreplay: this is about 2 deliveries: say --yes to go on\n")
    assert "Discard 2 deliveries? [y/N]: " in await answered(pbx, "n")
    assert len(await listed(pbx, "--state", "dead")) == 2
    assert "2 deliveries discarded" in await answered(pbx, "y")
    assert await listed(pbx, "--state", "dead") == []


async def answered(pbx: Pbx, answer: str) -> str:
    """What `discard --all-dead` says on a terminal to a person who answers so."""
    terminal, theirs = pty.openpty()
    command = (
        sys.executable,
        "-m",
        "celreplay",
        "deliveries",
        "discard",
        "-c",
        str(pbx.config),
        "--all-dead",
    )
    process = await asyncio.create_subprocess_exec(
        *command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    os.close(theirs)
    os.write(terminal, f"{answer}\n".encode())
    out, _ = await process.communicate()
    os.close(terminal)
    return out.decode()


async def test_a_connector_on_hold_is_tried_at_once(pbx: Pbx, crm: CrmServer) -> None:
    """The CRM had asked for an hour; who has repaired it says so, and what waited goes out."""
    crm.default = AWAY
    async with pbx.daemon() as daemon:
        [linkedid] = pbx.happens()
        await until(lambda: bool(daemon.events("connector.held")))
        _, out, _ = await deliveries(pbx, "list", "--state", "held")
        assert f"  held        crm  {linkedid}" in out
        assert "connector on hold since" in out
        assert "answered 503" in out
        crm.default = Play()
        code, out, errors = await deliveries(pbx, "retry", "--held", "--connector", "crm")
        assert (code, out, errors) == (0, "tried at once: crm\n", "")
        await until(lambda: bool(daemon.events("connector.released")))
        assert await listed(pbx, "--state", "held") == []
        code, out, _ = await deliveries(pbx, "retry", "--held")
        assert (code, out) == (0, "no connector is on hold\n")
        assert await daemon.stop() == 0


async def test_a_list_goes_on_where_it_ended(pbx: Pbx) -> None:
    """stderr tells with which cursor; the JSON form is the answer of the API."""
    async with pbx.daemon() as daemon:
        pbx.happens(3)
        await until(lambda: len(daemon.events("delivery.attempt")) == 3)
        assert await daemon.stop() == 0
    code, out, errors = await deliveries(pbx, "list", "--limit", "2")
    assert (code, len(out.splitlines())) == (0, 2)
    cursor = errors.removeprefix("celreplay: there are more: --cursor ").strip()
    _, out, errors = await deliveries(pbx, "list", "--limit", "2", "--cursor", cursor, "--json")
    body = json.loads(out)
    assert (len(body["deliveries"]), body["cursor"], errors) == (1, None, "")


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["retry"], "say which deliveries", 2),
        (["retry", "1", "--all-dead"], "ids or a filter", 2),
        (["retry", "1", "--connector", "crm"], "ids or a filter", 2),
        (["retry", "--all-dead", "--held"], "not both", 2),
        (["retry", "x"], "no number", 2),
        (["retry", "99"], "there is no delivery 99; nothing was done", 2),
        (["retry", "--all-dead", "--connector", "cmr"], "no connector 'cmr'", 2),
        (["discard", "99"], "there is no delivery 99; nothing was done", 2),
        (["list", "--state", "lost"], "no state 'lost'", 2),
        (["list", "--cursor", "x"], "cursor", 2),
        (["show", "99"], "there is no delivery of 99", 1),
        (["show", "1.1"], "there is no delivery of 1.1", 1),
        (["show", "1", "crm"], "has one connector", 2),
    ],
)
async def test_a_wrong_request_is_one_line(pbx: Pbx, arguments: list[str], words: str, code: int) -> None:
    """Whatever is wrong is told in one line on stderr."""
    async with pbx.daemon() as daemon:
        assert await daemon.stop() == 0
    found, out, errors = await deliveries(pbx, *arguments)
    assert (found, out, errors.count("\n")) == (code, "", 1), errors
    assert words in errors


async def test_without_a_store_it_says_so(pbx: Pbx) -> None:
    """A list before the first start makes no store."""
    pbx.write_config()
    code, out, errors = await deliveries(pbx, "list")
    assert (code, out) == (2, "")
    assert "there is none yet" in errors
    assert not (pbx.folder / "store.sqlite").exists()
