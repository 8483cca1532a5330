"""The webhook connector by itself: bytes, signatures, identities, answers. No network."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from crm_server import SECRET
from delivering import START, call_of
from standardwebhooks import Webhook

from celreplay import __version__
from celreplay.calls.model import Call, Caller, decode_call, encode
from celreplay.connectors.base import Delivery, Outcome, OutcomeKind, Probe, Request, Response
from celreplay.connectors.table import CONNECTORS, OPTIONS, build
from celreplay.connectors.webhook import (
    WebhookConnector,
    WebhookOptions,
    key_of,
    outcome_of,
    sign,
    webhook_id,
)
from celreplay.times import SECOND, Instant
from celreplay.units import Duration, Secret

URL = "https://crm.example.com/calls"
OLD_SECRET = "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="
NOW = Instant(START * SECOND)
BODY = (
    b'{"type":"call.finished","timestamp":"2026-11-22T10:00:05Z",'
    b'"data":{"linkedid":"1700000000.12","disposition":"ANSWERED"}}'
)


def options(**fields: object) -> WebhookOptions:
    return WebhookOptions(**{"url": URL, "secret": Secret(SECRET), **fields})  # type: ignore[arg-type]


def delivery(**fields: object) -> Delivery:
    fields = {"system": "office", "connector": "crm", "linkedid": "1700000000.12", "part": "call", **fields}
    return Delivery(**{"payload": BODY, **fields})  # type: ignore[arg-type]


def request_of(connector: WebhookConnector, **fields: object) -> Request:
    step = next(connector.exchange([delivery(**fields)], {}, NOW))
    assert isinstance(step, Request)
    return step


@pytest.mark.parametrize(
    ("secret", "message_id", "timestamp", "body", "signature"),
    [
        pytest.param(
            SECRET,
            "msg_0f2c6a1b",
            1795341605,
            BODY,
            "v1,XZB+cZ2Bmiklb953kuSLTa645MKdq4/dJLdfoeXIGcs=",
            id="bytes 0 to 31",
        ),
        pytest.param(
            OLD_SECRET,
            "msg_0f2c6a1b",
            1795341605,
            BODY,
            "v1,fqxAy1FyFTWsuSxXAgS7ljllSFMPuJhH5BZvhhNAy9I=",
            id="bytes 32 to 63",
        ),
        pytest.param(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            id="the specification's own",
        ),
    ],
)
def test_signatures_are_the_specification_s(
    secret: str, message_id: str, timestamp: int, body: bytes, signature: str
) -> None:
    """Ours equal the published vectors and what the reference package makes."""
    assert sign(key_of(Secret(secret)), message_id, timestamp, body) == signature
    moment = datetime.fromtimestamp(timestamp, UTC)
    assert Webhook(secret).sign(message_id, moment, body.decode()) == signature


def test_the_webhook_id_is_the_same_for_ever() -> None:
    r"""SHA-256 over system, connector, linkedid and part, each followed by a NUL byte; this vector never changes:
    printf '%s\0' office crm 1700000000.12 call | sha256sum"""
    expected = hashlib.sha256(b"office\0crm\x001700000000.12\0call\0").hexdigest()
    assert expected == "b138e20dd3c8b67b1a07273a66b78ab1339c0bb1122469eaa138be5ae7534a2d"
    assert webhook_id(delivery()) == f"call_{expected}"
    assert webhook_id(delivery(payload=b"other", attempt=7, forced=True)) == f"call_{expected}"


def test_different_deliveries_have_different_ids() -> None:
    """No two identities run together, and none has a `.`, which the signed text uses."""
    identities: list[Mapping[str, object]] = [
        {},
        {"system": "officec", "connector": "rm"},
        {"part": "call:2"},
        {"linkedid": "1700000000.1", "part": "2call"},
        {"connector": "crm2"},
        {"system": "office2"},
    ]
    ids = {webhook_id(delivery(**identity)) for identity in identities}
    assert len(ids) == len(identities)
    assert not any("." in one for one in ids)


def test_the_body_is_the_call_minified() -> None:
    """`data` is the call as everywhere else, the timestamp its end."""
    call = call_of(1)
    body = WebhookConnector("crm", options()).prepare(call, "call")
    assert body == (
        b'{"type":"call.finished","timestamp":"' + call.ended_at.iso().encode()  # type: ignore[union-attr]
        + b'","data":' + encode(call) + b"}"
    )  # fmt: skip
    assert decode_call(encode(json.loads(body)["data"])) == call


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(call_of(1, ended_at=None), id="no end"),
        pytest.param(call_of(1, caller=Caller()), id="anonymous"),
        pytest.param(call_of(1, caller=Caller(number="5550143", name="Żółć 📞 \x07\"'")), id="odd name"),
    ],
)
def test_every_call_has_a_body(call: Call) -> None:
    """A call that never ended is dated by its start; missing and odd callers are no obstacle."""
    body = json.loads(WebhookConnector("crm", options()).prepare(call, "call"))
    assert body["timestamp"] == (call.ended_at or call.started_at).iso()
    assert body["data"]["caller"]["name"] == call.caller.name


def test_the_request_is_a_standard_webhook() -> None:
    """The stored bytes are sent unchanged, signed for this attempt."""
    request = request_of(WebhookConnector("crm", options(timeout=Duration(7))))
    assert (request.method, request.url, request.body, request.timeout) == ("POST", URL, BODY, 7)
    identity = webhook_id(delivery())
    assert request.headers == {
        "content-type": "application/json",
        "user-agent": f"celreplay/{__version__}",
        "webhook-id": identity,
        "webhook-timestamp": str(START),
        "webhook-signature": sign(key_of(Secret(SECRET)), identity, START, BODY),
    }


def test_while_a_secret_changes_both_sign() -> None:
    """With several secrets the header has a signature of each, the first secret's first."""
    both = options(secret=(Secret(OLD_SECRET), Secret(SECRET)))
    signatures = request_of(WebhookConnector("crm", both)).headers["webhook-signature"].split(" ")
    identity = webhook_id(delivery())
    assert signatures == [sign(key_of(Secret(one)), identity, START, BODY) for one in (OLD_SECRET, SECRET)]


def test_further_headers_are_sent() -> None:
    """Headers of the config go along; a forced delivery says so."""
    connector = WebhookConnector("crm", options(headers={"Authorization": Secret("Bearer abc")}))
    headers = request_of(connector, forced=True).headers
    assert headers["Authorization"] == "Bearer abc"
    assert headers["celreplay-attempt"] == "forced"


def answer(status: int, **headers: str) -> Outcome:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return outcome_of(Response(status=status, headers=named, body=b"x" * 5000), NOW)


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        (OutcomeKind.OK, (200, 201, 202, 204, 299)),
        (OutcomeKind.PERMANENT, (400, 413, 422)),
        (OutcomeKind.AUTH, (401, 403)),
        (OutcomeKind.CONFIG, (300, 301, 302, 303, 307, 308, 404, 405, 410)),
        (OutcomeKind.THROTTLE, (429, 502, 503, 504)),
        (OutcomeKind.RETRY, (402, 406, 408, 409, 418, 500, 501, 505, 599)),
    ],
)
def test_answers_by_class(kind: OutcomeKind, statuses: tuple[int, ...]) -> None:
    """Each status has its class, its words and its first kilobyte."""
    for status in statuses:
        outcome = answer(status)
        assert outcome.kind is kind, status
        assert outcome.reason.startswith(f"answered {status}")
        assert (outcome.http_status, len(outcome.answer)) == (status, 1024)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("999999999999", 86_400),  # a day at most
        ("Mon, 23 Nov 2026 02:14:20 GMT", 60),  # START is 02:13:20
        ("Mon, 23 Nov 2026 02:00:00 GMT", 0),  # has passed
        ("Fri, 01 Jan 2038 00:00:00 GMT", 86_400),
        ("Monday, 23-Nov-26 02:14:20 GMT", 60),  # the obsolete forms of RFC 9110 section 5.6.7
        ("Mon Nov 23 02:14:20 2026", 60),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    """Both forms count from now, at most a day; what is neither is ignored."""
    assert answer(503, retry_after=text).retry_after == seconds


def test_retry_after_makes_a_failure_a_throttle() -> None:
    """A receiver that names a time is busy, not unable; what is refused for good stays refused."""
    assert answer(500, retry_after="5").kind is OutcomeKind.THROTTLE
    assert answer(408, retry_after="5").kind is OutcomeKind.THROTTLE
    assert answer(401, retry_after="5").kind is OutcomeKind.AUTH
    assert answer(422, retry_after="5").kind is OutcomeKind.PERMANENT
    assert answer(200, retry_after="5").retry_after is None


def test_a_receiver_may_end_the_retries_of_a_call() -> None:
    """`webhook-delivery: abort-message` on a failure is final; on a success it means nothing."""
    assert answer(500, webhook_delivery="abort-message").kind is OutcomeKind.PERMANENT
    assert answer(503, webhook_delivery="abort-message", retry_after="9").kind is OutcomeKind.PERMANENT
    assert answer(200, webhook_delivery="abort-message").kind is OutcomeKind.OK


def test_an_update_says_so() -> None:
    """`type` is call.updated, the rest as ever; a look-up cannot tell whether an update has arrived."""
    connector = WebhookConnector("crm", options(lookup_url=f"{URL}/{{webhook_id}}"))
    whole, update = connector.prepare(call_of(1), "call"), connector.prepare(call_of(1), "call", update=True)
    assert json.loads(update) == {**json.loads(whole), "type": "call.updated"}
    with pytest.raises(StopIteration) as end:
        next(connector.probe(delivery(payload=update, forced=True), {}, NOW))
    assert end.value.value is Probe.UNKNOWN


def look_up(status: int, **headers: str) -> Probe | Outcome:
    """What an answer to a look-up comes to."""
    asking = options(lookup_url=f"{URL}/{{webhook_id}}")
    probing = WebhookConnector("crm", asking).probe(delivery(), {}, NOW)
    request = next(probing)
    assert (request.method, request.body) == ("GET", b"")
    assert request.url == f"{URL}/{webhook_id(delivery())}"
    verifier = Webhook(SECRET)
    moment = datetime.fromtimestamp(NOW // SECOND, UTC)
    assert request.headers["webhook-signature"] == verifier.sign(webhook_id(delivery()), moment, "")
    with pytest.raises(StopIteration) as end:
        probing.send(Response(status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}))
    answered: Probe | Outcome = end.value.value
    return answered


def test_a_receiver_with_a_look_up_can_be_asked() -> None:
    """`lookup_url`: a signed GET; 2xx = it has the call, 404 = it has not; whatever else says neither."""
    assert build("crm", "office", options(lookup_url=f"{URL}/{{webhook_id}}")).can_probe
    assert look_up(200) is Probe.DONE
    assert look_up(204) is Probe.DONE
    assert look_up(404) is Probe.ABSENT


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, OutcomeKind.AUTH),
        (405, OutcomeKind.CONFIG),
        (410, OutcomeKind.CONFIG),
        (400, OutcomeKind.CONFIG),
        (301, OutcomeKind.CONFIG),
        (429, OutcomeKind.THROTTLE),
        (503, OutcomeKind.THROTTLE),
    ],
)
def test_a_look_up_that_says_nothing_is_no_answer(status: int, kind: OutcomeKind) -> None:
    """Neither "has it" nor "has it not": the call stays uncertain, and the reason names the look-up."""
    answered = look_up(status, retry_after="7")
    assert isinstance(answered, Outcome)
    assert (answered.kind, answered.http_status) == (kind, status)
    assert answered.reason.startswith(f"`lookup_url` answered {status}")


def test_a_webhook_without_a_look_up_cannot_be_asked() -> None:
    """Probing needs no request and gives unknown."""
    probing = WebhookConnector("crm", options()).probe(delivery(), {}, NOW)
    with pytest.raises(StopIteration) as end:
        next(probing)
    assert end.value.value is Probe.UNKNOWN


@pytest.mark.parametrize(
    ("fields", "mistake"),
    [
        ({"secret": Secret("whsec_not base64!")}, "secret: is not base64"),
        ({"lookup_url": "https://crm.example.com/calls"}, "lookup_url: must have {webhook_id} in it"),
        ({"lookup_url": "crm/{webhook_id}"}, "lookup_url: is no address"),
        ({"secret": Secret("whsec_c2hvcnQ=")}, "secret: holds 5 bytes"),
        (
            {"secret": Secret("whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")},
            "secret: is an ed25519 key",
        ),
        ({"secret": ()}, "secret: is an empty list"),
        ({"secret": (Secret(SECRET), Secret("x"))}, "secret: "),
        ({"url": "crm.example.com/calls"}, "url: "),
        ({"url": "ftp://crm.example.com"}, "url: "),
        ({"url": "https://"}, "url: "),
        ({"url": "https://crm.example.com:99999/"}, "url: "),
        ({"url": "https://crm.example.com/a b"}, "url: "),
        ({"headers": {"webhook-id": Secret("x")}}, "headers: webhook-id"),
        ({"headers": {"Content-Length": Secret("5")}}, "headers: Content-Length"),
        ({"headers": {"a b": Secret("x")}}, "headers: 'a b'"),
        ({"headers": {"x-key": Secret("a\r\nhost: evil")}}, "headers.x-key"),
    ],
)
def test_options_that_cannot_work_are_refused(fields: dict[str, object], mistake: str) -> None:
    """A mistake is found when the file is read, and its message shows no secret."""
    with pytest.raises(ValueError, match=mistake) as error:
        options(**fields)
    assert "AAECAw" not in str(error.value)
    assert "evil" not in str(error.value)


def test_secrets_are_shown_nowhere() -> None:
    """The options can be printed."""
    shown = repr(options(headers={"Authorization": Secret("Bearer abc")}))
    assert SECRET not in shown
    assert "abc" not in shown


def test_the_table_builds_a_connector_by_its_type() -> None:
    """`type: webhook` gives options and connector; every type in the table has both."""
    connector = build("crm", "office", options())
    assert isinstance(connector, WebhookConnector)
    assert (connector.name, connector.batch_size, connector.can_probe) == ("crm", 1, False)
    assert {name: kind.options for name, kind in CONNECTORS.items()} == OPTIONS


def test_the_schedule_is_the_specification_s() -> None:
    """At once, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h: ten attempts in 75 h 35 min 5 s."""
    schedule = options().schedule
    assert len(schedule) + 1 == 10
    assert sum(schedule) == 75 * 3600 + 35 * 60 + 5
