"""The HTTP door with real curl, real sockets, a real CEL file and a real store."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import aiohttp
import pytest
import structlog
from aiohttp import web
from fakes import FakeClock
from structlog.testing import capture_logs

from celreplay.api.app import make_app
from celreplay.api.digest import DEFAULT_ALGORITHMS, DigestAuth
from celreplay.calls.interpret import PbxRules
from celreplay.cel.events import CelEvent
from celreplay.config import Secret
from celreplay.connectors.base import Connector
from celreplay.connectors.table import build
from celreplay.connectors.webhook import WebhookOptions
from celreplay.deliveries import Deliveries
from celreplay.demo.data import captured_calls, create_table, write_rows
from celreplay.health import Health
from celreplay.intake import Intake
from celreplay.lookup import Settled
from celreplay.monitor import Monitor
from celreplay.replay import Replayer
from celreplay.services import BEFORE_LIVE_READING, Services
from celreplay.sources.base import CelSource
from celreplay.sources.opening import source_of
from celreplay.store.base import ReplayState, State
from celreplay.store.sqlite import SqliteStore
from celreplay.times import SECOND, Instant

MOSCOW = ZoneInfo("Europe/Moscow")
FIRST = 1_795_400_000
CALLS = [call.beginning_at(FIRST + 60 * place) for place, call in enumerate(captured_calls())]
NOW = Instant((FIRST + 86_400) * SECOND)  # 2026-11-24T02:13:20Z, 05:13:20 in Moscow
ONE, TWO = CALLS[0].linkedid, CALLS[1].linkedid
UNKNOWN = "1111111111.1"
JSON = "application/json"


class Door:
    """celreplay's HTTP door over a CEL file with calls of yesterday; nothing is sent anywhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cel = folder / "cel.sqlite"
        self.clock = FakeClock(int(NOW))
        self.health = Health()
        self.port = 0
        self.has_begun = True

    async def open(
        self,
        stack: AsyncExitStack,
        *,
        algorithms: Sequence[str] = DEFAULT_ALGORITHMS,
        body_timeout: float = 20.0,
        source: CelSource | None = None,
    ) -> None:
        """Start everything; `stack` ends it."""
        self.store = SqliteStore.open(self.folder / "store.sqlite", system="pbx1")
        stack.push_async_callback(self.store.aclose)
        await self.store.once(BEFORE_LIVE_READING, now=self.clock.now())
        await self.store.once(BEFORE_LIVE_READING, now=self.clock.now())
        source = source or source_of(f"sqlite:///{self.cel}")
        stack.push_async_callback(source.aclose)
        intake = Intake(PbxRules(system="pbx1"), _connectors())
        self.replayer = Replayer(source, self.store, intake, self.clock, Settled())
        services = Services(
            source=source,
            store=self.store,
            replayer=self.replayer,
            connectors=_connectors(),
            health=self.health,
            clock=self.clock,
        )
        stack.push_async_callback(services.aclose)
        auth = DigestAuth({"login": "password", "reader": "password"}, algorithms=algorithms)
        self.deliveries = Deliveries(
            source=source, store=self.store, intake=intake, connectors=_connectors(), clock=self.clock
        )
        self.monitor = Monitor(
            source=source,
            store=self.store,
            store_path=self.folder / "store.sqlite",
            health=self.health,
            clock=self.clock,
            vitals=dict,
            has_begun=lambda: self.has_begun,
        )
        app = make_app(
            services,
            self.deliveries,
            self.monitor,
            auth,
            zone=MOSCOW,
            clock=self.clock,
            readers={"reader"},
            body_timeout=body_timeout,
        )
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        stack.push_async_callback(self.runner.cleanup)
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.port = self.runner.addresses[0][1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def curl(self, command: str) -> "Answer":
        """Run a command line as the shell runs it. `HOST` in it is this door."""
        line = command.replace("HOST", f"127.0.0.1:{self.port}")
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", line + " -q -s -S -w '\\n%{http_code}'", stdout=-1, stderr=-1, cwd=self.folder
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        body, _, status = out.decode().rpartition("\n")
        return Answer(int(status), json.loads(body))


class Answer(NamedTuple):
    """What the door said."""

    status: int
    body: Any


def _connectors() -> Mapping[str, Connector]:
    secret = Secret("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    options = WebhookOptions(url="http://127.0.0.1:1/", secret=secret)
    return {name: build(name, "pbx1", options) for name in ("crm", "archive")}


@asynccontextmanager
async def opened(folder: Path, **options: Any) -> AsyncIterator[Door]:
    door = Door(folder)
    create_table(door.cel)
    write_rows(door.cel, [row for call in CALLS for row in call.rows])
    async with AsyncExitStack() as stack:
        await door.open(stack, **options)
        yield door


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


LOGIN = 'curl --digest -u login:password "HOST/pbx/'

DOCUMENT = [
    pytest.param(LOGIN + f'read_call?id={ONE}"', {"ids": [ONE]}, id="one id"),
    pytest.param(
        LOGIN + f'read_call" \\\n-H "Content-Type: application/json" \\\n-d \'{{"id":["{ONE}", "{TWO}"]}}\'',
        {"ids": [ONE, TWO]},
        id="several ids",
    ),
    pytest.param(
        LOGIN + 'read_call?\\\nstart_date=2021-05-25%2010:30:00&\\\nend_date=2021-05-25%2022:00:00"',
        {"period": {"start": "2021-05-25T07:30:00.000Z", "end": "2021-05-25T19:00:01.000Z"}},
        id="date-time",
    ),
    pytest.param(
        LOGIN + 'read_call?start_date=1622138519"',
        {"period": {"start": "2021-05-27T18:01:59.000Z", "end": NOW.iso()}},
        id="UNIX time",
    ),
    pytest.param(
        LOGIN + 'read_call?start_date=-2&end_date=-1"',
        {"period": {"start": "2026-11-21T21:00:00.000Z", "end": "2026-11-22T21:00:00.000Z"}},
        id="the day before yesterday",
    ),
    pytest.param(
        LOGIN + 'read_call?start_date=-7"',
        {"period": {"start": "2026-11-16T21:00:00.000Z", "end": NOW.iso()}},
        id="a week",
    ),
    pytest.param(
        LOGIN + 'read_call?start_date=-0"',
        {"period": {"start": "2026-11-23T21:00:00.000Z", "end": NOW.iso()}},
        id="today",
    ),
]


@pytest.mark.parametrize("algorithms", [("SHA-256", "MD5"), ("MD5",)], ids=["SHA-256 and MD5", "MD5 only"])
@pytest.mark.parametrize(("command", "expected"), DOCUMENT)
async def test_the_curl_lines_of_the_document(
    tmp_path: Path, command: str, expected: Mapping[str, object], algorithms: Sequence[str]
) -> None:
    """Each line of the document works as it is printed, but for host, credentials and ids."""
    async with opened(tmp_path, algorithms=algorithms) as door:
        status, body = await door.curl(command)
    assert (status, body["url"]) == (202, f"/pbx/replays/{body['replay']}")
    assert {name: body[name] for name in expected} == expected


async def test_a_reader_looks_and_has_nothing_processed(door: Door) -> None:
    """The role read: GET shows; read_call, also by GET, and whatever else changes something is refused."""
    curl = "curl --digest -u reader:password"
    assert (await door.curl(f"{curl} HOST/pbx/replays")).status == 200
    for request in (
        f"HOST/pbx/read_call?id={ONE}",
        "-X POST HOST/pbx/read_call",
        "-X DELETE HOST/pbx/replays/1",
    ):
        status, body = await door.curl(f"{curl} {request}")
        assert (status, body["error"]["code"]) == (403, "role"), request
    assert await door.store.replays() == []


async def test_ids_answer_with_what_became_of_each(door: Door) -> None:
    """Known ids are queued at once for every connector, the unknown one is listed; nothing is queued twice."""
    first = await door.curl(LOGIN + f'read_call?id={ONE},{UNKNOWN}&id={ONE}"')
    assert first.status == 202
    assert first.body["not_found"] == [UNKNOWN]
    assert {(item["linkedid"], item["connector"]) for item in first.body["queued"]} == {
        (ONE, "crm"),
        (ONE, "archive"),
    }
    assert first.body["counts"]["queued"] == 2
    assert first.body["force"] == "1"
    second = await door.curl(LOGIN + f'read_call?id={ONE}"')
    assert [item["linkedid"] for item in second.body["already_waiting"]] == [ONE, ONE]
    assert second.body["queued"] == []


async def test_a_uniqueid_finds_its_call(door: Door) -> None:
    """Any channel of the call may be named."""
    uniqueids = {row[14] for row in CALLS[0].rows}
    other = max(uniqueids - {ONE})
    found = await door.curl(LOGIN + f'read_call?id={other}"')
    assert {item["linkedid"] for item in found.body["queued"]} == {ONE}


async def test_no_known_id_is_404_with_the_list_and_nothing_happens(door: Door) -> None:
    """The answer names the ids, and no replay has come of it."""
    status, body = await door.curl(LOGIN + f'read_call?id={UNKNOWN}&id=2222222222.2"')
    assert (status, body["error"]["code"], body["error"]["parameter"]) == (404, "not_found", "id")
    assert body["not_found"] == [UNKNOWN, "2222222222.2"]
    assert await door.store.replays() == []


async def test_curl_without_a_header_sends_json_as_a_form(door: Door) -> None:
    """`-d` with JSON and no Content-Type is understood as meant, also with numbers and -0."""
    status, body = await door.curl(LOGIN + 'read_call" -d \'{"start_date": -0}\'')
    assert (status, body["period"]["start"]) == (202, "2026-11-23T21:00:00.000Z")
    status, body = await door.curl(LOGIN + f'read_call" -d id={ONE} -d force=0 -d connector=crm')
    assert (status, body["force"], body["connector"]) == (202, "0", "crm")


async def test_ten_thousand_ids_at_once(door: Door) -> None:
    """A body of 10,000 ids is taken; the CEL table is asked for all of them."""
    ids = [ONE, *(f"1111111111.{n}" for n in range(9_999))]
    (door.folder / "ids.json").write_text(json.dumps({"id": ids}))
    status, body = await door.curl(LOGIN + f'read_call" -H "Content-Type: {JSON}" -d @ids.json')
    assert (status, body["counts"]["not_found"], body["counts"]["found"]) == (202, 9_999, 1)


async def test_a_client_may_ask_before_it_sends_its_body(door: Door) -> None:
    """Old versions of curl send `Expect: 100-continue` with every longer body."""
    command = f"read_call\" -H 'Expect: 100-continue' -H 'Content-Type: {JSON}' -d '{{\"id\": \"{ONE}\"}}'"
    assert (await door.curl(LOGIN + command)).status == 202


async def test_a_replay_is_followed_listed_and_cancelled(door: Door, client: aiohttp.ClientSession) -> None:
    """202 gives an address; there are the state and the counts; DELETE takes back what waits."""
    async with client.get("/pbx/read_call", params={"id": ONE}) as made:
        location = made.headers["Location"]
    async with client.get(location) as shown:
        body = await shown.json()
    assert (shown.status, body["state"], body["requested_by"]) == (200, "delivering", "api:login")
    async with client.delete(location) as cancelled:
        assert (cancelled.status, (await cancelled.json())["state"]) == (200, "cancelled")
    async with client.get("/pbx/replays?limit=5") as listed:
        replays = (await listed.json())["replays"]
    assert [(replay["url"], replay["state"]) for replay in replays] == [(location, "cancelled")]
    assert (await door.store.counts())["crm"].get(State.PENDING, 0) == 0


async def test_a_dry_run_queues_nothing(door: Door, client: aiohttp.ClientSession) -> None:
    """The report stands in the answer and at the replay's address; the outbox stays empty."""
    async with client.get("/pbx/read_call", params={"id": ONE, "dry_run": "1"}) as made:
        body = await made.json()
    assert (made.status, body["dry_run"], body["counts"]["queued"]) == (202, True, 2)
    assert await door.store.deliveries() == []


async def test_wait_answers_when_the_replay_has_ended(door: Door, client: aiohttp.ClientSession) -> None:
    """`wait` holds the answer until all of the replay is done."""
    stop = asyncio.Event()
    working = asyncio.create_task(door.replayer.run(stop))
    params = {"start_date": "-3", "dry_run": "1", "wait": "300"}
    async with client.get("/pbx/read_call", params=params) as made:
        body = await made.json()
    stop.set()
    await working
    assert (made.status, body["state"], body["counts"]["found"]) == (202, "done", len(CALLS))


async def test_wait_answers_when_the_time_is_up(client: aiohttp.ClientSession) -> None:
    """Nobody delivers here: after the time asked for the answer says how far it is."""
    async with client.get("/pbx/read_call", params={"id": ONE, "wait": "2"}) as made:
        assert (made.status, (await made.json())["state"]) == (202, "delivering")


async def test_a_stopping_daemon_answers_those_who_wait(tmp_path: Path) -> None:
    """A wait of minutes does not hold the shutdown up."""
    async with opened(tmp_path) as door:
        door.clock = FakeClock(int(NOW), manual=True)
        async with AsyncExitStack() as stack:
            await door.open(stack)
            waiting = asyncio.create_task(door.curl(LOGIN + f'read_call?id={ONE}&wait=300"'))
            while not await door.store.replays():  # noqa: ASYNC110  the store is another party
                await asyncio.sleep(0.01)
            await door.runner.cleanup()
            assert (await waiting).status == 202


async def test_aiohttps_own_client_logs_in(client: aiohttp.ClientSession) -> None:
    """Another implementation of Digest agrees, also when it uses a nonce again and again."""
    statuses = []
    for target in ("/pbx/replays", "/pbx/replays?limit=7", "/pbx/read_call?start_date=2026-11-20%2010:00:00"):
        async with client.get(target) as response:
            statuses.append(response.status)
    async with client.post("/pbx/read_call", json={"id": [ONE]}) as response:
        statuses.append(response.status)
    assert statuses == [200, 200, 202, 202]


async def test_a_client_whose_nonce_expired_goes_on_by_itself(
    door: Door, client: aiohttp.ClientSession
) -> None:
    """stale=true makes a client try again with the new nonce, without asking for the password."""
    async with client.get("/pbx/replays"):
        pass
    await door.clock.sleep(301)
    async with client.get("/pbx/replays") as response:
        assert response.status == 200


async def test_a_replayed_request_is_refused(door: Door) -> None:
    """A captured Authorization header opens nothing a second time."""
    seen: list[str] = []

    async def spy(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        seen.append(request.headers.get("Authorization", ""))
        return await handler(request)

    digest = aiohttp.DigestAuthMiddleware("login", "password")
    async with (
        aiohttp.ClientSession(door.url, middlewares=(digest, spy)) as session,
        session.get("/pbx/replays") as first,
    ):
        assert first.status == 200
    captured = {"Authorization": seen[-1]}
    async with (
        aiohttp.ClientSession(door.url) as thief,
        thief.get("/pbx/replays", headers=captured) as second,
    ):
        assert second.status == 401
        assert "stale=true" in second.headers["WWW-Authenticate"]


async def test_no_password_a_wrong_one_and_an_unknown_user(door: Door) -> None:
    """All three get 401 in JSON; wrong password and unknown user get the same words."""
    nobody = await door.curl('curl "HOST/pbx/replays"')
    wrong = await door.curl('curl --digest -u login:wrong "HOST/pbx/replays"')
    unknown = await door.curl('curl --digest -u other:password "HOST/pbx/replays"')
    assert nobody.status == wrong.status == unknown.status == 401
    assert nobody.body["error"]["code"] == "unauthorized"
    assert wrong.body == unknown.body


async def test_guessing_is_answered_with_429(door: Door) -> None:
    """After some wrong passwords the address has to wait, and is told how long."""
    for _ in range(6):
        await door.curl('curl --digest -u login:wrong "HOST/pbx/replays"')
    status, body = await door.curl(LOGIN + 'replays"')
    assert (status, body["error"]["code"]) == (429, "too_many_failures")
    await door.clock.sleep(1)
    assert (await door.curl(LOGIN + 'replays"')).status == 200


async def test_credentials_come_before_the_body(door: Door) -> None:
    """What is wrong in a request is told only to who may make it."""
    async with (
        aiohttp.ClientSession(door.url) as session,
        session.post("/pbx/read_call", data=b"{", headers={"Content-Type": JSON}) as response,
    ):
        assert response.status == 401
        challenges = response.headers.getall("WWW-Authenticate")
    offered = [value.split("algorithm=")[1][:3] for value in challenges]
    assert offered == ["SHA", "MD5"]


REFUSALS = [
    pytest.param("GET", "/pbx/nothing", {}, 404, "not_found", None, id="404"),
    pytest.param("GET", "/pbx/replays/999", {}, 404, "not_found", None, id="404 replay"),
    pytest.param("DELETE", "/pbx/replays/999", {}, 404, "not_found", None, id="404 cancel"),
    pytest.param("GET", "/pbx/replays/9999999999999999999", {}, 404, "not_found", None, id="404 number"),
    pytest.param("PUT", "/pbx/read_call", {}, 405, "method_not_allowed", None, id="405"),
    pytest.param("GET", "/pbx/read_call", {}, 400, "missing_parameter", None, id="400 nothing"),
    pytest.param("GET", "/pbx/read_call?ids=1.1", {}, 400, "unknown_parameter", "ids", id="400 unknown"),
    pytest.param("GET", "/pbx/read_call?start_date=0", {}, 400, "bad_request", "start_date", id="400 date"),
    pytest.param(
        "GET", "/pbx/read_call?id=1.1&connector=x", {}, 400, "bad_request", "connector", id="400 crm"
    ),
    pytest.param("GET", "/pbx/replays?limit=0", {}, 400, "bad_request", "limit", id="400 limit"),
    pytest.param("GET", "/pbx/replays?x=1", {}, 400, "unknown_parameter", "x", id="400 list"),
    pytest.param("GET", "/pbx/read_call?id=1.1", {"data": b"x"}, 400, "unexpected_body", None, id="400 body"),
    pytest.param(
        "POST", "/pbx/read_call", {"data": "{", "type": JSON}, 400, "bad_request", None, id="400 JSON"
    ),
    pytest.param(
        "POST",
        "/pbx/read_call",
        {"data": '{"\\ud800": 1}', "type": JSON},
        400,
        "unknown_parameter",
        "?",
        id="400 surrogate",
    ),
    pytest.param(
        "POST",
        "/pbx/read_call",
        {"data": "<a/>", "type": "text/xml"},
        415,
        "unsupported_media_type",
        None,
        id="415",
    ),
    pytest.param(
        "POST",
        "/pbx/read_call",
        {"data": b" " * 1_000_001, "type": JSON},
        413,
        "request_entity_too_large",
        None,
        id="413",
    ),
    pytest.param("GET", "/pbx/replays", {"site": "cross-site"}, 403, "cross_site", None, id="403 page"),
    pytest.param("GET", "/pbx/replays", {"site": "same-site"}, 403, "cross_site", None, id="403 neighbour"),
    pytest.param(
        "GET", "/pbx/replays", {"origin": "http://evil.test"}, 403, "cross_site", None, id="403 origin"
    ),
    pytest.param("GET", "/pbx/replays", {"origin": "null"}, 403, "cross_site", None, id="403 null"),
]


@pytest.mark.parametrize(("method", "target", "sent", "status", "code", "parameter"), REFUSALS)
async def test_every_refusal_is_json(
    client: aiohttp.ClientSession,
    door: Door,
    method: str,
    target: str,
    sent: Mapping[str, Any],
    status: int,
    code: str,
    parameter: str | None,
) -> None:
    """Each error has a code, a message and the parameter; nothing has happened."""
    names = {
        "type": "Content-Type",
        "site": "Sec-Fetch-Site",
        "origin": "Origin",
    }
    headers = {names[name]: value for name, value in sent.items() if name in names}
    async with client.request(method, target, data=sent.get("data"), headers=headers) as response:
        body = await response.json()
    error = body["error"]
    assert (response.status, error["code"], error["parameter"]) == (status, code, parameter)
    assert error["message"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    assert status != 405 or response.headers["Allow"] == "GET,POST"
    assert await door.store.replays() == []


async def test_a_body_that_is_not_encoded_as_it_says_is_refused(door: Door) -> None:
    """A broken gzip is the client's mistake, and told as one."""
    status, body = await door.curl(LOGIN + 'read_call" -H "Content-Encoding: gzip" -d id=1.1')
    assert (status, body["error"]["code"]) == (400, "bad_request")


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}])
async def test_a_persons_own_browser_is_let_in(
    door: Door, client: aiohttp.ClientSession, headers: dict[str, str]
) -> None:
    """Typed into the address line, or from a page of the door itself."""
    own = {**headers, "Origin": door.url}
    async with client.get("/pbx/replays", headers=own) as response:
        assert response.status == 200


async def test_a_look_by_head_processes_nothing(door: Door, client: aiohttp.ClientSession) -> None:
    """HEAD is refused where GET would start work."""
    async with client.head(f"/pbx/read_call?id={ONE}") as response:
        assert response.status == 405
    assert await door.store.replays() == []


async def test_a_body_that_does_not_come_is_408(tmp_path: Path) -> None:
    """A client that announces a body and stays silent is let go."""

    async def silence() -> AsyncIterator[bytes]:
        yield b"{"
        await gone.wait()

    gone = asyncio.Event()
    digest = aiohttp.DigestAuthMiddleware("login", "password")
    async with (
        opened(tmp_path, body_timeout=0.1) as door,
        aiohttp.ClientSession(door.url, middlewares=(digest,)) as session,
    ):
        async with session.get("/pbx/replays"):
            pass
        async with session.post("/pbx/read_call", data=silence()) as response:
            body = await response.json()
            gone.set()
    assert (response.status, body["error"]["code"]) == (408, "request_timeout")


async def test_healthz_needs_no_password(door: Door) -> None:
    """200 while all is well; 503 with what is wrong, told on this host."""
    assert await door.curl('curl "HOST/healthz"') == Answer(200, {"ok": True, "problems": []})
    door.health.problem("cel", "no answer from the database")
    status, body = await door.curl('curl "HOST/healthz"')
    assert (status, body) == (503, {"ok": False, "problems": ["cel: no answer from the database"]})


async def test_a_store_that_cannot_be_used_is_503(door: Door) -> None:
    """The client learns that it is not its fault, and when to ask again."""
    await door.store.aclose()
    status, body = await door.curl(LOGIN + 'read_call?start_date=-1"')
    assert (status, body["error"]["code"]) == (503, "store_unusable")


async def test_a_missing_cel_table_is_503(door: Door) -> None:
    """Ids cannot be looked up: nothing is taken, and the reason is told."""
    door.cel.unlink()
    status, body = await door.curl(LOGIN + f'read_call?id={ONE}"')
    assert status == 503
    assert body["error"]["code"] in {"cel_unavailable", "cel_unusable"}
    assert await door.store.replays() == []


class BrokenSource:
    """A source with a fault of programming."""

    async def rows_of(self, keys: Collection[str]) -> Sequence[CelEvent]:
        raise RuntimeError(f"a secret of the inside {len(keys)}")

    async def aclose(self) -> None:
        return None


async def test_a_fault_of_ours_is_500_without_a_traceback(tmp_path: Path) -> None:
    """The client gets a number, the log gets the number and the traceback."""
    async with opened(tmp_path, source=BrokenSource()) as door:
        with capture_logs() as logs:
            status, body = await door.curl(LOGIN + f'read_call?id={ONE}"')
    assert (status, body["error"]["code"]) == (500, "internal_error")
    assert "secret" not in json.dumps(body)
    failed = [entry for entry in logs if entry["event"] == "api.failed"]
    assert [(entry["log_level"], entry["request_id"]) for entry in failed] == [
        ("error", body["error"]["request_id"])
    ]


async def test_each_request_is_one_line_in_the_log_without_secrets(door: Door) -> None:
    """Method, path, status, user, address and milliseconds; no header, no query."""
    with capture_logs() as logs:
        await door.curl(LOGIN + f'read_call?id={ONE}"')
        await door.curl('curl --digest -u other:geheim "HOST/pbx/replays"')
    lines = [entry for entry in logs if entry["event"] == "api.request"]
    assert [(line["status"], line["user"], line["claimed_user"]) for line in lines] == [
        (401, "", ""),
        (202, "login", ""),
        (401, "", ""),
        (401, "", "other"),
    ]
    assert {(line["method"], line["address"]) for line in lines} == {("GET", "127.0.0.1")}
    assert "nonce" not in str(lines)
    assert "?" not in str(lines)
    assert "geheim" not in str(lines)


async def test_a_request_can_be_found_again_in_the_log(door: Door) -> None:
    """`X-Request-Id` of the client, or one of ours, stands in the answer and in what is logged."""
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        for given, taken in (("night-1", True), ("a b", False), ("x" * 65, False), ("", False)):
            await door.curl(
                f'curl -D head.txt -H "X-Request-Id: {given}" '
                + LOGIN.removeprefix("curl ")
                + f'read_call?id={ONE}"'
            )
            found = re.findall(
                r"^x-request-id: (.*)$", (door.folder / "head.txt").read_text(), re.MULTILINE | re.IGNORECASE
            )[-1].strip()
            assert (found == given) is taken
            assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", found)
            told = {entry["event"] for entry in logs if entry.get("request_id") == found}
            assert told >= {"api.request", "replay.requested"}


async def test_a_connections_next_request_is_not_logged_under_the_users_name(
    client: aiohttp.ClientSession,
) -> None:
    """Who asks without credentials is nobody, also on a connection that had a user before."""
    async with client.get("/pbx/replays") as response:
        await response.read()
    with capture_logs() as logs:
        async with client.get("/healthz", middlewares=()) as response:
            await response.read()
    assert [line["user"] for line in logs if line["event"] == "api.request"] == [""]


async def test_status_tells_everything_or_one_element(door: Door) -> None:
    """`/status` for monitoring; `path=` selects an element; a path that leads nowhere is 404, and login is needed."""
    await door.curl(LOGIN + f'read_call?id={ONE}"')
    status, body = await door.curl("curl --digest -u reader:password HOST/status")
    assert status == 200
    assert body["connectors"]["crm"]["pending"] == 1
    assert body["connectors"]["crm"]["oldest_due"].startswith("2026-11-23T02:13:")
    assert body["store_bytes"] > 0
    for path, expected in {
        "connectors.crm.pending": 1,
        "problems": {},
        "cel_error": None,
        "connectors": body["connectors"],
    }.items():
        assert await door.curl(f"curl --digest -u login:password 'HOST/status?path={path}'") == (
            200,
            expected,
        ), path
    for path in ("nothing", "connectors.crm.nothing", "store_bytes.x", "."):
        status, answer = await door.curl(f"curl --digest -u login:password 'HOST/status?path={path}'")
        assert (status, answer["error"]["parameter"]) == (404, "path")
    assert (await door.curl("curl HOST/status")).status == 401


async def test_readiness_is_about_reading_and_the_store(door: Door) -> None:
    """503 until the place in the table is known, and while a database is away; no credentials."""
    door.has_begun = False
    assert await door.curl("curl HOST/readyz") == (503, {"ready": False})
    door.has_begun = True
    assert await door.curl("curl HOST/readyz") == (200, {"ready": True})
    door.health.problem("cel", "away")
    assert await door.curl("curl HOST/readyz") == (503, {"ready": False})


async def test_a_period_is_taken_at_once(door: Door) -> None:
    """A period is answered before any row is read; the work is the replayer's."""
    status, body = await door.curl(LOGIN + 'read_call?start_date=-1"')
    assert (status, body["state"], body["force"]) == (202, "requested", "0")
    replay = await door.store.replay(body["replay"])
    assert replay is not None
    assert replay.state is ReplayState.REQUESTED


def test_the_document_lists_every_route(request: pytest.FixtureRequest) -> None:
    """docs/api.md names each route, parameter and error code."""
    text = (request.config.rootpath / "docs" / "api.md").read_text(encoding="utf-8")
    app = make_app(
        None,  # type: ignore[arg-type]  # no handler runs
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        DigestAuth({}),
        zone=MOSCOW,
        clock=FakeClock(),
    )
    routes = {
        f"{route.method} {route.resource.canonical}"
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    codes = {str(param.values[4]) for param in REFUSALS}
    words = {"id", "start_date", "end_date", "force", "dry_run", "connector", "wait", "mark_delivered"}
    missing = {word for word in routes | codes | words if f"`{word}`" not in text}
    assert not missing
