"""The daemon as a process: it starts, delivers, survives and ends as systemd and the admin expect."""

import json
import random
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cel_file import fill
from crm_server import CrmServer, Play
from running import Pbx, run, until

from celreplay.demo.data import COLUMNS, CapturedCall, write_rows


@pytest.fixture
async def crm() -> AsyncIterator[CrmServer]:
    async with CrmServer() as crm:
        yield crm


@pytest.fixture
def pbx(tmp_path: Path, crm: CrmServer) -> Pbx:
    return Pbx(tmp_path, crm.url)


async def test_finished_calls_arrive_while_it_runs(pbx: Pbx, crm: CrmServer) -> None:
    """Every call written after the start arrives once, signed; SIGTERM ends it with code 0."""
    async with pbx.daemon() as daemon:
        expected = pbx.happens(5)
        await until(lambda: len(crm.linkedids()) >= 5)
        assert await daemon.stop() == 0
    assert sorted(crm.linkedids()) == sorted(expected)
    assert "STOPPING=1" in daemon.told
    assert {entry["outcome"] for entry in daemon.events("delivery.attempt")} == {"ok"}


async def test_the_calls_of_downtime_arrive_after_the_start(pbx: Pbx, crm: CrmServer) -> None:
    """What was written while it was off is caught up with, each call once."""
    async with pbx.daemon() as daemon:
        assert await daemon.stop() == 0
    expected = pbx.happens(7)
    async with pbx.daemon():
        await until(lambda: len(crm.linkedids()) >= 7)
    assert sorted(crm.linkedids()) == sorted(expected)


async def test_killed_at_any_moment_it_loses_nothing(pbx: Pbx, crm: CrmServer) -> None:
    """kill -9 again and again while calls flow: all arrive; what comes twice has its webhook-id of before."""
    pbx.options["connectors"]["crm"]["timeout"] = "1s"
    crm.pause = 0.01
    moments = random.Random(1)  # noqa: S311  the same moments in every run
    async with pbx.daemon() as daemon:
        await daemon.stop()
    expected: list[str] = []
    for _ in range(6):
        async with pbx.daemon() as daemon:
            enough = len(crm.received) + moments.randint(1, 9)
            expected += pbx.happens(10)
            await until(lambda: len(crm.received) >= enough)  # noqa: B023  called in this round only
            await daemon.kill()
    async with pbx.daemon() as daemon:
        await until(lambda: len(crm.taken) >= len(expected))
        assert await daemon.stop() == 0
    assert set(crm.linkedids()) == set(expected)
    assert len(crm.ledger) == len(expected)
    assert all(len(entry.bodies) == 1 for entry in crm.ledger.values())


def _is_answered_from_outside(call: CapturedCall) -> bool:
    first = call.rows[0][COLUMNS.index("channame")]
    return "trunk" in first and any("BRIDGE_ENTER" in row for row in call.rows)


@pytest.mark.parametrize("on_change", ["ignore", "resend"])
async def test_a_call_whose_rows_come_late_is_told_and_updated_if_wished(
    tmp_path: Path, crm: CrmServer, on_change: str
) -> None:
    """Rows land after their call was delivered: the log says that it has changed; `on_change: resend` sends it
    under the same webhook-id with the type call.updated, `ignore` sends nothing."""
    pbx = Pbx(tmp_path, crm.url, on_change=on_change)
    kind = COLUMNS.index("eventtype")
    async with pbx.daemon() as daemon:
        call = next(one for one in iter(pbx.call, None) if _is_answered_from_outside(one))
        write_rows(pbx.cel, [row for row in call.rows if not row[kind].startswith("BRIDGE")])
        await until(lambda: len(crm.received) == 1)
        write_rows(pbx.cel, [row for row in call.rows if row[kind].startswith("BRIDGE")])
        await until(lambda: bool(daemon.events("tail.call_changed")))
        [later] = pbx.happens(1)
        await until(lambda: later in crm.linkedids())
        await daemon.stop()
    updates = [one for one in crm.received if one.json["type"] == "call.updated"]
    assert crm.linkedids() == [call.linkedid] * (1 + len(updates)) + [later]
    if on_change == "ignore":
        assert not updates
    else:
        [update] = updates
        assert update.id == crm.received[0].id
        assert update.json["data"]["revision"] != crm.received[0].json["data"]["revision"]


async def test_a_replay_that_is_killed_goes_on_where_it_stopped(pbx: Pbx, crm: CrmServer) -> None:
    """kill -9 while it looks up and while it delivers: at the end its counts are right, and the CRM, which is
    asked about what was in doubt, has taken each call once."""
    hook = pbx.options["connectors"]["crm"]
    hook |= {"timeout": "1s", "lookup_url": crm.lookup_url, "workers": 8}
    calls = [pbx.call() for _ in range(300)]
    fill(pbx.cel, reversed(calls))
    expected = {call.linkedid for call in calls}
    crm.pause = 0.005
    moments = random.Random(2)  # noqa: S311  the same moments in every run
    async with pbx.daemon() as daemon:
        asked = f"{daemon.api}/pbx/read_call?start_date=-2&force=1"
        code, out, _ = await run("curl", "-s", "--digest", "-u", "admin:night", asked)
        assert (code, json.loads(out)["replay"]) == (0, 1)
        await daemon.kill()
    for _ in range(4):
        async with pbx.daemon() as daemon:
            enough = len(crm.received) + moments.randint(1, 40)
            await until(lambda: len(crm.received) >= enough)  # noqa: B023  called in this round only
            await daemon.kill()
    async with pbx.daemon() as daemon:
        await until(lambda: len(crm.taken) >= len(expected))
        replay: dict[str, Any] = {"state": ""}
        while replay["state"] != "done":
            _, out, _ = await run(
                "curl", "-s", "--digest", "-u", "admin:night", f"{daemon.api}/pbx/replays/1"
            )
            replay = json.loads(out)
        assert await daemon.stop() == 0
    counts = replay["counts"]
    assert {name: counts[name] for name in ("found", "queued", "delivered", "dead", "waiting")} == {
        "found": 300, "queued": 300, "delivered": 300, "dead": 0, "waiting": 0,
    }  # fmt: skip
    assert set(crm.linkedids()) == expected
    assert {entry.taken for entry in crm.ledger.values()} == {1}


async def test_a_crm_that_is_down_costs_no_call(pbx: Pbx, crm: CrmServer) -> None:
    """Connections refused: health says so, nothing is burnt, and all arrive when it is back."""
    await crm.shut()
    async with pbx.daemon() as daemon:
        expected = pbx.happens(3)
        await until(lambda: bool(daemon.events("delivery.attempt")))
        code, out, _ = await run("curl", "-s", f"{daemon.api}/healthz")
        assert code == 0
        assert "crm" in out
        await daemon.stop()
    await crm.listen()
    async with pbx.daemon():
        await until(lambda: len(crm.linkedids()) >= 3)
    assert sorted(crm.linkedids()) == sorted(expected)


async def test_what_is_in_flight_may_finish_at_the_stop(pbx: Pbx, crm: CrmServer) -> None:
    """SIGTERM while the CRM takes its time over a call: the answer is waited for and kept."""
    crm.pause = 1.0
    async with pbx.daemon() as daemon:
        pbx.happens(1)
        await until(lambda: crm.at_once > 0)
        assert await daemon.stop() == 0
    async with pbx.daemon() as daemon:
        await daemon.stop()
    assert len(crm.received) == 1


async def test_curl_sends_old_calls_again(pbx: Pbx, crm: CrmServer) -> None:
    """A period brings the calls from before the first start, after one warning; a named id is sent again."""
    expected = pbx.happens(4)
    async with pbx.daemon() as daemon:
        curl = ("curl", "-s", "--digest", "-u", "admin:night")
        code, out, _ = await run(*curl, f"{daemon.api}/pbx/read_call?start_date=-1")
        assert "reaches back before live reading" in out
        code, out, _ = await run(*curl, f"{daemon.api}/pbx/read_call?start_date=-1")
        assert code == 0, out
        await until(lambda: len(crm.linkedids()) >= 4)
        code, out, _ = await run(*curl, f"{daemon.api}/pbx/read_call?id={expected[0]}")
        await until(lambda: len(crm.linkedids()) >= 5)
    assert sorted(crm.linkedids()) == sorted([*expected, expected[0]])
    assert crm.received[-1].headers["celreplay-attempt"] == "forced"
    assert len(crm.ledger) == 4


async def test_a_second_daemon_is_refused(pbx: Pbx) -> None:
    """One store, one daemon: the second says which process is in the way, in one line."""
    async with pbx.daemon() as daemon:
        code, _, err = await run(*_serve(pbx))
        assert code == 2
        assert f"pid {daemon.process.pid}" in err
        assert len(err.strip().splitlines()) == 1


async def test_a_changed_name_is_refused_unless_it_is_meant(pbx: Pbx, crm: CrmServer) -> None:
    """Under another pbx.name every call would be new; `--rename` says it is meant."""
    async with pbx.daemon() as daemon:
        await daemon.stop()
    pbx.options["pbx"]["name"] = "pbx2"
    pbx.write_config()
    code, _, err = await run(*_serve(pbx))
    assert code == 2
    assert "--rename" in err
    async with pbx.daemon("--rename") as daemon:
        pbx.happens(1)
        await until(lambda: len(crm.received) >= 1)
        await daemon.stop()
    assert crm.received[0].json["data"]["system"] == "pbx2"


async def test_a_taken_port_is_told_in_one_line(pbx: Pbx) -> None:
    """Who has it, and which key to change."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        pbx.options["api"]["port"] = other.getsockname()[1]
        pbx.write_config()
        code, _, err = await run(*_serve(pbx))
    assert code == 2
    assert "api.port" in err
    assert "Traceback" not in err


async def test_a_refused_call_stops_nobody(pbx: Pbx, crm: CrmServer) -> None:
    """One call the CRM will never take: it is dead with its reason, the others arrive."""
    pbx.write_config()
    async with pbx.daemon() as daemon:
        calls = [pbx.call() for _ in range(4)]
        bad = calls[1].linkedid
        crm.rule = lambda received: (
            Play(status=422, body=b"no such field") if received.linkedid == bad else None
        )
        fill(pbx.cel, calls)
        await until(lambda: len(crm.taken) >= 3 and len(crm.received) >= 4)
        assert await daemon.stop() == 0
    dead = [entry for entry in daemon.events("delivery.attempt") if entry["linkedid"] == bad]
    assert [entry["outcome"] for entry in dead] == ["permanent"]


def _serve(pbx: Pbx) -> list[str]:
    return [sys.executable, "-m", "celreplay", "serve", "-c", str(pbx.config)]
