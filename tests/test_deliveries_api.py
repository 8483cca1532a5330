"""Deliveries over HTTP, with real curl, a real CEL file and a real store."""

import contextlib
import re
import shlex
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from factories import make_finished
from structlog.testing import capture_logs
from test_api import CALLS, LOGIN, NOW, ONE, TWO, Door, opened

from celreplay.connectors.base import OutcomeKind
from celreplay.store.base import Claim, Hold, Settlement, State
from celreplay.times import SECOND

REASON = "answered 422 Unprocessable Content: name too long"


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path) as door:
        yield door


@pytest.fixture
async def client(door: Door) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that knows the password."""
    digest = aiohttp.DigestAuthMiddleware("login", "password")
    async with aiohttp.ClientSession(door.url, middlewares=(digest,)) as session:
        yield session


async def dead(door: Door, *linkedids: str) -> list[int]:
    """Calls that the connector crm has refused; the ids of their deliveries."""
    await door.curl(LOGIN + f'read_call?id={",".join(linkedids)}&connector=crm"')
    while claims := await door.store.claim("crm", 10, now=NOW, order_patience=900):
        await door.store.settle([died(claim) for claim in claims])
    return [(await door.store.deliveries(linkedid=id_))[0].delivery_id for id_ in linkedids]


def died(claim: Claim) -> Settlement:
    return Settlement(
        delivery_id=claim.delivery_id,
        token=claim.token,
        state=State.DEAD,
        reason=REASON,
        kind=OutcomeKind.PERMANENT,
        ended_at=int(NOW) + 1500,
        http_status=422,
        answer=b'{"error": "name too long"}',
    )


def curl_lines() -> list[str]:
    """Those of the chapter in docs/api.md."""
    text = (Path(__file__).parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
    chapter = text.partition("## Deliveries\n")[2].partition("\n## ")[0]
    return [line for line in chapter.splitlines() if line.startswith("curl ")]


@pytest.mark.parametrize("line", curl_lines())
async def test_the_curl_lines_of_the_document(door: Door, line: str) -> None:
    """Each works as it is printed, but for the host and the ids: it finds what there is, and changes it."""
    first, second = await dead(door, ONE, TWO)
    await door.store.set_hold("crm", hold())
    here = re.sub(r"\b12\b", str(first), re.sub(r"\b13\b", str(second), line)).replace(
        "127.0.0.1:8077", "HOST"
    )
    status, body = await door.curl(here)
    assert status == 200, body
    if "-d" not in shlex.split(line):
        assert body.get("id") == first or {found["state"] for found in body["deliveries"]} <= {"dead"}
    elif "state=held" in line:
        assert body == {"retried": 0, "left": [], "resumed": ["crm"]}
    else:
        assert next(iter(body.values())) == (1 if "id=12" in line else 2)


def hold() -> Hold:
    later = int(NOW) + 300 * SECOND
    return Hold(kind=OutcomeKind.AUTH, reason="answered 401", since=int(NOW), next_canary_at=later)


async def test_a_delivery_is_shown_with_its_journal(door: Door, client: aiohttp.ClientSession) -> None:
    """What, why, and every attempt with its answer; an unknown one is 404."""
    [id_] = await dead(door, ONE)
    async with client.get(f"/pbx/deliveries/{id_}") as response:
        body = await response.json()
    started = body["call_started_at"]
    assert body == {
        "id": id_, "url": f"/pbx/deliveries/{id_}", "connector": "crm", "linkedid": ONE, "part": "call",
        "number": body["number"], "call_started_at": started, "state": "dead", "reason": REASON, "hold": None,
        "lane": "replay", "attempts": 1, "next_at": None, "updated_at": "2026-11-24T02:13:20.001Z",
        "delivered_at": None, "replay": 1,
        "journal": [{
            "number": 1, "started_at": "2026-11-24T02:13:20.000Z", "seconds": 0.002, "outcome": "permanent",
            "http_status": 422, "reason": REASON, "answer": '{"error": "name too long"}',
        }],
    }  # fmt: skip
    async with client.get("/pbx/deliveries/99") as response:
        assert (response.status, (await response.json())["error"]["code"]) == (404, "not_found")


async def test_a_list_is_read_page_by_page(door: Door, client: aiohttp.ClientSession) -> None:
    """Each page says where the next begins; together they hold every delivery once."""
    ids = ",".join(call.linkedid for call in CALLS)
    await door.curl(LOGIN + f'read_call?id={ids}"')
    found: list[int] = []
    pages, cursor = 0, ""
    while True:
        params = {"limit": "5", **({"cursor": cursor} if cursor else {})}
        async with client.get("/pbx/deliveries", params=params) as response:
            body = await response.json()
        found += [one["id"] for one in body["deliveries"]]
        pages, cursor = pages + 1, body["cursor"]
        if cursor is None:
            break
    assert len(found) == len(set(found)) == 2 * len(CALLS)
    assert pages == -(-2 * len(CALLS) // 5)


async def test_what_is_held_says_why_and_until_when(door: Door, client: aiohttp.ClientSession) -> None:
    """A delivery that waits at a connector on hold has the hold in it."""
    await door.curl(LOGIN + f'read_call?id={ONE}"')
    await door.store.set_hold("crm", hold())
    async with client.get("/pbx/deliveries?state=held") as response:
        [one] = (await response.json())["deliveries"]
    assert (one["connector"], one["state"]) == ("crm", "pending")
    assert one["hold"] == {
        "connector": "crm", "since": "2026-11-24T02:13:20.000Z", "reason": "answered 401", "next_try_at": "2026-11-24T02:18:20.000Z",
    }  # fmt: skip


async def test_a_retry_names_its_user(door: Door, client: aiohttp.ClientSession) -> None:
    """In the reason of the delivery, and in the log."""
    [id_] = await dead(door, ONE)
    with capture_logs() as logs:
        async with client.post("/pbx/deliveries/retry", json={"id": id_}) as response:
            assert await response.json() == {"retried": 1, "left": [], "resumed": []}
    [record] = await door.store.deliveries(linkedid=ONE, connector="crm")
    assert (record.state, record.next_at) == (State.PENDING, int(NOW))
    assert record.reason == f"to be sent again: retried by api:login; it was dead: {REASON}"
    [event] = [entry for entry in logs if entry["event"] == "deliveries.retried"]
    assert (event["by"], event["deliveries"], event["ids"]) == ("api:login", 1, [id_])


@pytest.mark.parametrize(
    ("gone", "status"),
    [
        pytest.param((), 200, id="from the rows"),
        pytest.param(("cel",), 200, id="from the stored call"),
        pytest.param(("cel", "calls"), 400, id="from nothing"),
    ],
)
async def test_new_bytes_are_made_where_the_old_ones_have_gone(
    door: Door, client: aiohttp.ClientSession, gone: Sequence[str], status: int
) -> None:
    """`rebuild` reads the call again; without its rows the stored call serves; without both it is refused."""
    [id_] = await dead(door, ONE)
    await door.store.retry({id_: None}, by="cli:anna", now=int(NOW))
    [before] = await door.store.claim("crm", 1, now=NOW, order_patience=900)
    await door.store.settle([died(before)])
    delete(door.folder / "store.sqlite", "payloads")
    for table in gone:
        delete(door.cel if table == "cel" else door.folder / "store.sqlite", table)
    async with client.post("/pbx/deliveries/retry", json={"id": id_}) as response:
        assert "has no bytes any more: rebuild" in (await response.json())["error"]["message"]
    async with client.post("/pbx/deliveries/retry", json={"id": id_, "rebuild": True}) as response:
        assert response.status == status
        text = await response.text()
    claims = await door.store.claim("crm", 1, now=NOW, order_patience=900)
    assert [claim.delivery.payload for claim in claims] == (
        [before.delivery.payload] if status == 200 else []
    )
    assert status == 200 or "neither its CEL rows nor its call" in text


def delete(file: Path, table: str) -> None:
    """What retention, or the PBX's own housekeeping, does in time."""
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.execute(f"DELETE FROM {table}")  # noqa: S608  a name of ours


REFUSED: Sequence[tuple[str, Mapping[str, Any], str | None, str]] = [
    ("retry", {}, None, "say which"),
    ("retry", {"id": []}, "id", "empty"),
    ("retry", {"id": "x"}, "id", "no number"),
    ("retry", {"id": [1, 99]}, "id", "no delivery 99; nothing"),
    ("retry", {"id": list(range(1, 1002))}, "id", "too many"),
    ("retry", {"id": 1, "state": "dead"}, "state", "not both"),
    ("retry", {"state": "lost"}, "state", "no state 'lost'"),
    ("retry", {"state": "delivered"}, "state", "only dead"),
    ("retry", {"state": "dead", "connector": "cmr"}, "connector", "no connector 'cmr'"),
    ("retry", {"state": "dead", "since": "yesterday"}, "since", "no time"),
    ("retry", {"state": "dead", "since": "-1", "until": "-2"}, "until", "nothing lies between"),
    ("retry", {"state": "dead", "reason": " "}, "reason", "empty"),
    ("retry", {"state": "dead", "linkedid": "abc"}, "linkedid", "no linkedid"),
    ("retry", {"state": "dead", "conector": "crm"}, "conector", "no parameter"),
    ("retry", {"state": "dead", "rebuild": "maybe"}, "rebuild", "0 or 1"),
    ("retry", {"state": "held", "since": "-1"}, "state", "no other filter"),
    ("retry", {"state": "held", "rebuild": True}, "rebuild", "as it is"),
    ("retry", {"state": "held", "connector": "crm"}, "connector", "not on hold"),
    ("discard", {}, None, "say which"),
    ("discard", {"id": [1, 99]}, "id", "no delivery 99; nothing"),
    ("discard", {"state": "held"}, "state", "not dead"),
    ("discard", {"state": "dead", "rebuild": "1"}, "rebuild", "no parameter"),
]


@pytest.mark.parametrize(
    ("what", "body", "parameter", "words"), REFUSED, ids=[f"{one[0]} {one[1]}"[:40] for one in REFUSED]
)
async def test_a_wrong_request_is_refused_whole(
    door: Door,
    client: aiohttp.ClientSession,
    what: str,
    body: Mapping[str, Any],
    parameter: str | None,
    words: str,
) -> None:
    """400 that names the parameter; the dead one is as it was."""
    [id_] = await dead(door, ONE)
    assert id_ == 1
    async with client.post(f"/pbx/deliveries/{what}", json=body) as response:
        error = (await response.json())["error"]
    assert (response.status, error["parameter"]) == (400, parameter)
    assert words in error["message"]
    [record] = await door.store.deliveries(linkedid=ONE)
    assert record.state is State.DEAD


@pytest.mark.parametrize(
    ("query", "parameter"),
    [("state=x", "state"), ("limit=0", "limit"), ("limit=1001", "limit"), ("cursor=1", "cursor"),
     ("connector=x", "connector"), ("since=0", "since"), ("order=asc", "order"), ("linkedid=1.1,2.2", "linkedid")],
)  # fmt: skip
async def test_a_wrong_list_is_refused(client: aiohttp.ClientSession, query: str, parameter: str) -> None:
    """400 that names the parameter."""
    async with client.get(f"/pbx/deliveries?{query}") as response:
        assert (response.status, (await response.json())["error"]["parameter"]) == (400, parameter)


async def test_many_are_changed_page_by_page(door: Door, client: aiohttp.ClientSession) -> None:
    """More than a transaction takes, all of one moment: each is changed once, those of others stay."""
    calls = [make_finished(f"1111111111.{n}") for n in range(1_200)]
    await door.store.save_calls([*calls, make_finished("2222222222.1", connectors=("gone",))], now=int(NOW))
    for connector in ("crm", "gone"):
        claims = await door.store.claim(connector, 2_000, now=int(NOW), order_patience=900)
        await door.store.settle([died(claim) for claim in claims])
    async with client.post("/pbx/deliveries/retry", json={"state": "dead"}) as response:
        body = await response.json()
    assert (body["retried"], [one["reason"] for one in body["left"]]) == (
        1_200,
        ["its connector gone is not in the config"],
    )
    counts = await door.store.counts()
    assert (counts["crm"][State.PENDING], counts["gone"][State.DEAD]) == (1_200, 1)
    claims = await door.store.claim("crm", 2_000, now=int(NOW), order_patience=900)
    await door.store.settle([died(claim) for claim in claims])
    async with client.post("/pbx/deliveries/discard", json={"state": "dead", "connector": "crm"}) as response:
        assert (await response.json())["discarded"] == 1_200
    assert (await door.store.counts())["crm"][State.SKIPPED] == 1_200
    assert await door.store.check() == []


async def test_one_that_cannot_be_sent_keeps_all_that_were_named(
    door: Door, client: aiohttp.ClientSession
) -> None:
    """Named ones go together or not at all; a filter takes what it can and says what it left."""
    one, two = await dead(door, ONE, TWO)
    await door.store.retry({two: None}, by="cli:anna", now=int(NOW))
    async with client.post("/pbx/deliveries/retry", json={"id": [one, two]}) as response:
        error = (await response.json())["error"]
    assert error["message"] == f"delivery {two} is pending and needs no retry; nothing was done"
    assert (await door.store.deliveries(linkedid=ONE))[0].state is State.DEAD


async def test_nobody_gets_in_without_a_password_or_from_another_site(door: Door) -> None:
    """The routes stand behind the same guards as the others."""
    [id_] = await dead(door, ONE)
    status, _ = await door.curl(f"curl HOST/pbx/deliveries/retry -d id={id_}")
    assert status == 401
    status, body = await door.curl(LOGIN + f"deliveries/retry\" -d id={id_} -H 'Origin: http://evil.example'")
    assert (status, body["error"]["code"]) == (403, "cross_site")
    assert (await door.store.deliveries(linkedid=ONE))[0].state is State.DEAD
