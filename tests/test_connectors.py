"""The contract of all connectors, over real sockets: whatever the CRM does, each delivery gets its outcome."""

import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from crm_server import CrmServer, How, Play, tls_server
from delivering import call_of, webhook_options
from fakes import FakeConnector
from structlog.testing import capture_logs

from celreplay.calls.model import Call, Caller
from celreplay.clock import SystemClock
from celreplay.connectors.base import (
    Checkpoint,
    Connector,
    Delivery,
    Exchange,
    Outcome,
    OutcomeKind,
    Probe,
    Probing,
    Request,
    Response,
)
from celreplay.connectors.failures import place
from celreplay.connectors.http import HttpDriver
from celreplay.connectors.state import SharedState
from celreplay.connectors.table import build
from celreplay.connectors.trip import ClaimLostError, Trip
from celreplay.units import Duration

SHORT = Duration(0.2)
"""Time-out of exchanges that must run into it."""

Make = Callable[[str, Duration], Connector]


def webhook(url: str, timeout: Duration) -> Connector:
    return build("crm", "office", webhook_options(url, timeout=timeout))


@pytest.fixture(params=[pytest.param(webhook, id="webhook")])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes the connector under test for an address: a new one is a line here."""
    maker: Make = request.param
    return maker


@pytest.fixture
async def crm() -> AsyncIterator[CrmServer]:
    async with CrmServer() as server:
        yield server


@pytest.fixture
async def driver() -> AsyncIterator[HttpDriver]:
    async with HttpDriver() as driver:
        yield driver


async def send(
    driver: HttpDriver, connector: Connector, call: Call | None = None, trip: Trip | None = None
) -> Outcome:
    """One attempt."""
    call = call or call_of(1)
    delivery = Delivery(
        system="office",
        connector=connector.name,
        linkedid=call.linkedid,
        part="call",
        payload=connector.prepare(call, "call"),
    )
    trip = trip or Trip()
    steps = connector.exchange([delivery], trip.state, SystemClock().now())
    [outcome] = await driver.exchange(steps, 1, trip)
    return outcome


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_any_2xx_is_success(make: Make, crm: CrmServer, driver: HttpDriver, status: int) -> None:
    """A call that was taken is done, and was taken once."""
    crm.play(Play(status))
    assert (await send(driver, make(crm.url, Duration(5)))).kind is OutcomeKind.OK
    [entry] = crm.ledger.values()
    assert (entry.requests, entry.taken) == (1, 1)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, OutcomeKind.PERMANENT),
        (401, OutcomeKind.AUTH),
        (403, OutcomeKind.AUTH),
        (404, OutcomeKind.CONFIG),
        (408, OutcomeKind.RETRY),
        (410, OutcomeKind.CONFIG),
        (413, OutcomeKind.PERMANENT),
        (500, OutcomeKind.RETRY),
        (502, OutcomeKind.THROTTLE),
        (503, OutcomeKind.THROTTLE),
        (504, OutcomeKind.THROTTLE),
    ],
)
async def test_each_error_class(
    make: Make, crm: CrmServer, driver: HttpDriver, status: int, kind: OutcomeKind
) -> None:
    """An error status has its class; the reason names it, the journal keeps the beginning of the answer."""
    crm.play(Play(status, body=b"because" + b"." * 5000))
    outcome = await send(driver, make(crm.url, Duration(5)))
    assert (outcome.kind, outcome.http_status) == (kind, status)
    assert f"answered {status}" in outcome.reason
    assert outcome.answer == b"because" + b"." * 1017


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [("7", 7, 7), ("Fri, 01 Jan 2100 00:00:00 GMT", 86_400, 86_400), ("Mon, 01 Jan 2001 00:00:00 GMT", 0, 0)],
)
async def test_throttling_tells_how_long(
    make: Make, crm: CrmServer, driver: HttpDriver, header: str, least: float, most: float
) -> None:
    """429 with Retry-After, in seconds or as a date."""
    crm.play(Play(429, headers={"Retry-After": header}))
    outcome = await send(driver, make(crm.url, Duration(5)))
    assert outcome.kind is OutcomeKind.THROTTLE
    assert outcome.retry_after is not None
    assert least <= outcome.retry_after <= most


async def test_no_answer_is_uncertain(make: Make, crm: CrmServer, driver: HttpDriver) -> None:
    """The request left and nothing came back: it may have been taken."""
    crm.play(Play(how=How.HANG))
    outcome = await send(driver, make(crm.url, SHORT))
    assert outcome.kind is OutcomeKind.UNCERTAIN
    assert outcome.reason == f"127.0.0.1:{crm.port}: no complete answer within 0.2 s; it may have been taken"


@pytest.mark.parametrize("takes", [False, True], ids=["before it was taken", "after it was taken"])
async def test_a_cut_connection_is_uncertain(
    make: Make, crm: CrmServer, driver: HttpDriver, *, takes: bool
) -> None:
    """The sender sees the same, whether the call was taken or not."""
    crm.play(Play(how=How.RESET, takes=takes))
    outcome = await send(driver, make(crm.url, Duration(5)))
    assert outcome.kind is OutcomeKind.UNCERTAIN
    assert "the connection was cut" in outcome.reason


async def test_what_is_not_http_is_uncertain(make: Make, crm: CrmServer, driver: HttpDriver) -> None:
    """Something else listens there, or a broken proxy."""
    crm.play(Play(how=How.RUBBISH))
    outcome = await send(driver, make(crm.url, Duration(5)))
    assert (outcome.kind, "is not HTTP" in outcome.reason) == (OutcomeKind.UNCERTAIN, True)


@pytest.mark.parametrize("how", [How.DRIP, How.RESET_IN_BODY], ids=["dripping", "cut"])
async def test_an_answer_without_end(make: Make, crm: CrmServer, driver: HttpDriver, how: How) -> None:
    """A webhook's status suffices; a connector that needs the body says uncertain."""
    connector = make(crm.url, SHORT)
    crm.play(Play(how=how, takes=True))
    outcome = await send(driver, connector)
    expected = OutcomeKind.OK if isinstance(_first_request(connector), Request) else OutcomeKind.UNCERTAIN
    assert outcome.kind is expected


def _first_request(connector: Connector) -> Request | None:
    """The request, when its status suffices."""
    payload = connector.prepare(call_of(1), "call")
    delivery = Delivery(system="s", connector=connector.name, linkedid="1.1", part="call", payload=payload)
    step = next(connector.exchange([delivery], {}, SystemClock().now()))
    return step if isinstance(step, Request) and step.status_suffices else None


async def test_a_huge_answer_is_not_read(make: Make, crm: CrmServer, driver: HttpDriver) -> None:
    """Megabytes that nobody asked for cost neither memory nor the success."""
    crm.play(Play(body=b"<html>" + b"x" * 8_000_000))
    outcome = await send(driver, make(crm.url, Duration(5)))
    assert (outcome.kind, len(outcome.answer)) == (OutcomeKind.OK, 1024)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_never_followed(
    make: Make, crm: CrmServer, driver: HttpDriver, status: int
) -> None:
    """A moved receiver is a matter for the admin: the call goes to no address that nobody configured."""
    crm.play(Play(status, headers={"Location": "/elsewhere"}))
    outcome = await send(driver, make(crm.url, Duration(5)))
    assert outcome.kind is OutcomeKind.CONFIG
    assert [request.path for request in crm.received] == ["/calls"]


async def test_a_refused_connection_throttles(make: Make, crm: CrmServer, driver: HttpDriver) -> None:
    """Nothing has left: the connector is held, and takes the call when the CRM is back."""
    connector = make(crm.url, Duration(5))
    await crm.shut()
    trip = Trip()
    outcome = await send(driver, connector, trip=trip)
    assert (outcome.kind, trip.left) == (OutcomeKind.THROTTLE, False)
    assert outcome.reason == f"no connection with 127.0.0.1:{crm.port}: connection refused"
    await crm.listen()
    assert (await send(driver, connector)).kind is OutcomeKind.OK


async def test_a_name_that_does_not_resolve_throttles(make: Make, driver: HttpDriver) -> None:
    """DNS may be away for a while (RFC 6761 section 6.4: `.invalid` never resolves)."""
    trip = Trip()
    outcome = await send(driver, make("http://crm.invalid/calls", Duration(5)), trip=trip)
    assert (outcome.kind, trip.left) == (OutcomeKind.THROTTLE, False)
    assert outcome.reason == "no connection with crm.invalid:80: the name does not resolve"


async def test_a_connection_that_takes_too_long_throttles(make: Make) -> None:
    """Neither accepted nor refused: nothing has left."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        async with HttpDriver(connect_timeout=0.1) as driver:
            trip = Trip()
            outcome = await send(driver, make(f"http://127.0.0.1:{port}/", Duration(5)), trip=trip)
    assert (outcome.kind, trip.left) == (OutcomeKind.THROTTLE, False)
    assert outcome.reason == f"no connection with 127.0.0.1:{port}: timed out"


async def test_an_untrusted_certificate_is_a_setting(make: Make, driver: HttpDriver, tmp_path: Path) -> None:
    """Nothing is sent to a server that cannot prove who it is; the reason says what is wrong."""
    async with tls_server(tmp_path) as crm:
        trip = Trip()
        outcome = await send(driver, make(crm.url, Duration(5)), trip=trip)
    assert (outcome.kind, trip.left, crm.received) == (OutcomeKind.CONFIG, False, [])
    assert outcome.reason.startswith(f"the certificate of 127.0.0.1:{crm.port} is not trusted: self")


async def test_https_on_a_plain_port_is_a_setting(make: Make, crm: CrmServer, driver: HttpDriver) -> None:
    """No TLS there: the URL is wrong."""
    outcome = await send(driver, make(crm.url.replace("http://", "https://"), Duration(5)))
    assert outcome.kind is OutcomeKind.CONFIG
    assert outcome.reason.startswith(f"no TLS with 127.0.0.1:{crm.port}: ")


async def test_a_clock_that_is_wrong_is_told(make: Make, driver: HttpDriver) -> None:
    """A receiver whose clock is ten minutes off refuses the signature: credentials, not the call."""
    async with CrmServer(clock=lambda: SystemClock().now() / 1e6 + 600) as crm:
        outcome = await send(driver, make(crm.url, Duration(5)))
    assert outcome.kind is OutcomeKind.AUTH
    assert b"timestamp" in outcome.answer


async def test_the_same_call_twice_is_the_same_call(make: Make, crm: CrmServer, driver: HttpDriver) -> None:
    """A second delivery carries the same identity and the same bytes: the receiver can tell."""
    connector = make(crm.url, Duration(5))
    await send(driver, connector)
    await send(driver, connector)
    [entry] = crm.ledger.values()
    assert (entry.requests, entry.duplicates, len(entry.bodies)) == (2, 1, 1)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(
            call_of(1, caller=Caller(number="5550143", name='Łukasz 日本 📞\u2028\x01"\\')), id="unicode"
        ),
        pytest.param(call_of(1, caller=Caller()), id="anonymous"),
        pytest.param(call_of(1, ended_at=None, complete=False), id="without an end"),
        pytest.param(call_of(1, recordings=[f"/var/spool/{'r' * 90}/{n}" for n in range(2000)]), id="200 kB"),
    ],
)
async def test_every_call_arrives_as_it_is(
    make: Make, crm: CrmServer, driver: HttpDriver, call: Call
) -> None:
    """Odd names, no caller, no end, a large call: what arrives is what was stored, byte for byte."""
    connector = make(crm.url, Duration(5))
    assert (await send(driver, connector, call)).kind is OutcomeKind.OK
    [received] = crm.received
    assert received.body == connector.prepare(call, "call")
    assert received.refusal == ""


# what the driver promises to every connector


async def drive(driver: HttpDriver, connector: FakeConnector, trip: Trip, count: int = 1) -> list[Outcome]:
    deliveries = [
        Delivery(system="office", connector="crm", linkedid=f"1.{number}", part="call", payload=b"{}")
        for number in range(count)
    ]
    steps = connector.exchange(deliveries, trip.state, SystemClock().now())
    return list(await driver.exchange(steps, count, trip))


async def test_a_body_that_is_needed_must_be_complete(crm: CrmServer, driver: HttpDriver) -> None:
    """Without `status_suffices` half an answer is none."""

    def steps() -> Exchange:
        yield Request(method="POST", url=crm.url, headers=signed, body=body, timeout=SHORT)
        raise AssertionError

    signed, body = _signed(crm)
    for how in (How.DRIP, How.RESET_IN_BODY):
        crm.play(Play(how=how))
        [outcome] = await driver.exchange(steps(), 1, Trip())
        assert outcome.kind is OutcomeKind.UNCERTAIN


async def test_a_body_is_read_up_to_the_limit(crm: CrmServer) -> None:
    """What lies behind the limit is left on the wire: an endless answer ends there."""

    def steps() -> Exchange:
        response = yield Request(method="POST", url=crm.url, headers=signed, body=body, timeout=5)
        assert response is not None
        return [Outcome(kind=OutcomeKind.OK, reason="", answer=response.body)]

    signed, body = _signed(crm)
    crm.play(Play(how=How.DRIP))
    async with HttpDriver(body_limit=7) as driver:
        [outcome] = await driver.exchange(steps(), 1, Trip())
    assert (outcome.kind, outcome.answer) == (OutcomeKind.OK, b"{      ")


def _signed(crm: CrmServer) -> tuple[dict[str, str], bytes]:
    """Headers and body that the receiver accepts."""
    connector = webhook(crm.url, SHORT)
    payload = connector.prepare(call_of(1), "call")
    delivery = Delivery(system="s", connector="crm", linkedid="1.1", part="call", payload=payload)
    step = next(connector.exchange([delivery], {}, SystemClock().now()))
    assert isinstance(step, Request)
    return dict(step.headers), step.body


async def test_a_connector_sees_headers_in_lower_case_and_a_limited_body(crm: CrmServer) -> None:
    """The response a generator is sent: status, lower-case headers, the body up to the limit."""
    seen: list[Response | None] = []

    def steps() -> Exchange:
        seen.append((yield Request(method="POST", url=crm.url, headers=signed, body=body)))
        return [Outcome(kind=OutcomeKind.OK, reason="")]

    signed, body = _signed(crm)
    crm.play(Play(201, headers={"X-Budget": "9"}, body=b"y" * 5000))
    async with HttpDriver(body_limit=1000) as driver:
        await driver.exchange(steps(), 1, Trip())
    [response] = seen
    assert response is not None
    assert (response.status, response.headers["x-budget"], response.body) == (201, "9", b"y" * 1000)


async def test_a_bug_before_anything_left_is_retried(driver: HttpDriver) -> None:
    """An exception in a generator is our fault, logged as such; the delivery is tried again."""
    connector = FakeConnector()
    connector.script.append(KeyError("id"))
    with capture_logs() as logs:
        outcomes = await drive(driver, connector, Trip(), count=2)
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.RETRY] * 2
    assert outcomes[0].reason == "KeyError in the connector; see the log"
    assert [(log["event"], log["log_level"]) for log in logs] == [("connector.broken", "error")]


async def test_a_bug_after_a_request_had_left_is_uncertain(crm: CrmServer, driver: HttpDriver) -> None:
    """The CRM may have taken what the connector then failed to understand."""
    connector = FakeConnector()
    connector.request = lambda _: Request(method="POST", url=crm.url, body=b"{}")
    connector.script.append(ValueError("no JSON"))
    with capture_logs():
        [outcome] = await drive(driver, connector, Trip())
    assert outcome.kind is OutcomeKind.UNCERTAIN


async def test_a_request_that_cannot_be_written_harms_nobody(crm: CrmServer, driver: HttpDriver) -> None:
    """A line break in a header is refused by the library: a bug of the connector, not the end of the worker."""
    connector = FakeConnector()
    connector.request = lambda _: Request(method="POST", url=crm.url, headers={"x": "a\r\nb: c"})
    with capture_logs() as logs:
        [outcome] = await drive(driver, connector, Trip())
    assert outcome.kind in (OutcomeKind.RETRY, OutcomeKind.UNCERTAIN)
    assert [log["event"] for log in logs] == ["connector.broken"]
    assert crm.received == []


@pytest.mark.parametrize("url", ["nonsense", "http://", "http://[::1/", "http://crm.example.com:99999/"])
async def test_an_unusable_url_is_a_setting(driver: HttpDriver, url: str) -> None:
    """Whatever stands in the config, it ends in an outcome."""
    connector = FakeConnector()
    connector.request = lambda _: Request(method="POST", url=url)
    [outcome] = await drive(driver, connector, Trip())
    assert (outcome.kind, outcome.reason) == (OutcomeKind.CONFIG, "the URL is not usable")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:geheim@crm.example.com/rest/1/geheim/?auth=geheim", "crm.example.com:443"),
        ("http://crm.example.com:8080/", "crm.example.com:8080"),
        ("http://[::1/", "the CRM"),
        ("http://[::1]/", "[::1]:80"),
    ],
)
def test_reasons_name_the_host_only(url: str, shown: str) -> None:
    """User, password, path and query of an address may be secrets."""
    assert place(url) == shown


async def test_a_lost_claim_sends_nothing_more(crm: CrmServer, driver: HttpDriver) -> None:
    """When a checkpoint is refused, somebody else has the delivery."""

    async def refused(_: Checkpoint) -> bool:
        return False

    def steps() -> Exchange:
        yield Checkpoint(data=b"1")
        yield Request(method="POST", url=crm.url)
        return []

    with pytest.raises(ClaimLostError):
        await driver.exchange(steps(), 1, Trip(on_checkpoint=refused))
    assert crm.received == []


async def test_a_wrong_number_of_outcomes_is_a_bug(driver: HttpDriver) -> None:
    """One outcome for each delivery, or none is believed."""

    def steps() -> Exchange:
        yield from ()
        return [Outcome(kind=OutcomeKind.OK, reason="")]

    with capture_logs():
        outcomes = await driver.exchange(steps(), 2, Trip())
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.RETRY] * 2


async def test_a_probe_that_gets_no_answer_says_so(crm: CrmServer, driver: HttpDriver) -> None:
    """A question that was not answered is no answer: the connector is held, the question comes again."""
    connector = FakeConnector(can_probe=True)
    delivery = Delivery(system="office", connector="crm", linkedid="1.1", part="call", payload=b"{}")
    connector.probes.append(Probe.DONE)
    now = SystemClock().now()
    assert await driver.probe(connector.probe(delivery, {}, now), Trip()) is Probe.DONE

    def asking() -> Probing:
        yield Request(method="GET", url=crm.url.replace(str(crm.port), "1"), timeout=SHORT)
        return Probe.ABSENT

    answer = await driver.probe(asking(), Trip())
    assert isinstance(answer, Outcome)
    assert answer.kind is OutcomeKind.THROTTLE


async def test_state_is_saved_once_for_each_change(driver: HttpDriver) -> None:
    """The state is stored when it has changed, and only then."""
    saved: list[dict[str, str]] = []

    async def save(values: object) -> None:
        assert isinstance(values, dict)
        saved.append(dict(values))

    def steps(state: SharedState) -> Exchange:
        yield Checkpoint(data=b"1")
        state["token"] = "second"
        yield Checkpoint(data=b"2")
        yield Checkpoint(data=b"3")
        state["token"] = "third"
        return [Outcome(kind=OutcomeKind.OK, reason="")]

    trip = Trip(state=SharedState({"token": "first"}, save))
    await driver.exchange(steps(trip.state), 1, trip)
    assert saved == [{"token": "second"}, {"token": "third"}]
