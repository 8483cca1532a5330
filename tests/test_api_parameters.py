"""What the parameters of `/pbx/read_call` mean, before any service is asked."""

import json
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celreplay.api.parameters import UnsupportedBodyError, read_parameters
from celreplay.api.read_call import MAX_IDS, Asked, parse
from celreplay.errors import BadRequestError
from celreplay.services import ReplayRequest
from celreplay.store.base import Force
from celreplay.times import SECOND, Instant

MOSCOW = ZoneInfo("Europe/Moscow")
NOW = Instant.parse("2026-11-23T03:44:05Z")
JSON, FORM = "application/json", "application/x-www-form-urlencoded"


def asked(query: str = "", *, body: str | bytes = b"", type_: str = "") -> Asked:
    """What a request asks for."""
    data = body if isinstance(body, bytes) else body.encode()
    return parse(read_parameters(query, type_, data), user="login", zone=MOSCOW, now=NOW)


def request_of(query: str = "", *, body: str | bytes = b"", type_: str = "") -> ReplayRequest:
    """The replay a request asks for."""
    return asked(query, body=body, type_=type_).request


def span(request: ReplayRequest) -> tuple[str, str]:
    """The period, spoken."""
    assert request.period is not None
    return Instant(request.period.start).iso(), Instant(request.period.end).iso()


TWO = ("1111111111.1", "2222222222.2")


@pytest.mark.parametrize(
    ("query", "type_", "body"),
    [
        pytest.param("id=1111111111.1,2222222222.2", "", "", id="comma list"),
        pytest.param("id=1111111111.1&id=2222222222.2", "", "", id="repeated"),
        pytest.param("id=1111111111.1,2222222222.2&id=1111111111.1", "", "", id="folded"),
        pytest.param("", JSON, '{"id":["1111111111.1", "2222222222.2"]}', id="JSON array"),
        pytest.param("", FORM, '{"id":["1111111111.1", "2222222222.2"]}', id="JSON in a form"),
        pytest.param("", "", '\n {"id":["1111111111.1", "2222222222.2"]}', id="JSON without a type"),
        pytest.param("", JSON, '{"id": "1111111111.1, 2222222222.2"}', id="JSON text"),
        pytest.param("", JSON, '{"id": [1111111111.1, 2222222222.2], "end_date": null}', id="JSON numbers"),
        pytest.param("", JSON + "; charset=utf-8", '\ufeff{"id":["1111111111.1", "2222222222.2"]}', id="BOM"),
        pytest.param("", FORM, "id=1111111111.1&id=2222222222.2\n", id="form"),
        pytest.param("", FORM, "id=1111111111.1%2C2222222222.2", id="form, encoded comma"),
    ],
)
def test_ids_in_every_form(query: str, type_: str, body: str) -> None:
    """One, repeated, a comma list, a JSON array: the same ids, each once, in order."""
    assert request_of(query, type_=type_, body=body).ids == TWO


def test_an_id_keeps_its_system_name_and_its_digits() -> None:
    """`1234567890.10` is not `1234567890.1`, and a system name may hold dashes, dots and blanks."""
    ids = request_of(
        "", type_=JSON, body='{"id": [1234567890.10, "pbx-2-1234567890.1", "My PBX.a-1234567890.1"]}'
    )
    assert ids.ids == ("1234567890.10", "pbx-2-1234567890.1", "My PBX.a-1234567890.1")


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        (
            "start_date=2021-05-25%2010:30:00&end_date=2021-05-25%2022:00:00",
            "2021-05-25T07:30:00.000Z",
            "2021-05-25T19:00:01.000Z",
        ),
        (
            "start_date=2021-05-25+10:30:00&end_date=2021-05-25+22:00:00",
            "2021-05-25T07:30:00.000Z",
            "2021-05-25T19:00:01.000Z",
        ),
        ("start_date=1622138519", "2021-05-27T18:01:59.000Z", "2026-11-23T03:44:05.000Z"),
        ("start_date=-2&end_date=-1", "2026-11-20T21:00:00.000Z", "2026-11-21T21:00:00.000Z"),
        ("start_date=-7", "2026-11-15T21:00:00.000Z", "2026-11-23T03:44:05.000Z"),
        ("start_date=-0", "2026-11-22T21:00:00.000Z", "2026-11-23T03:44:05.000Z"),
    ],
)
def test_periods_of_the_document(query: str, start: str, end: str) -> None:
    """Every period of the document, in the local time of the PBX."""
    assert span(request_of(query)) == (start, end)


@pytest.mark.parametrize("written", ['"-0"', "-0"])
def test_minus_zero_of_a_json_body_survives(written: str) -> None:
    """A JSON number is read as text: `-0` is today, and no 0."""
    assert span(request_of(type_=JSON, body=f'{{"start_date": {written}}}'))[0] == "2026-11-22T21:00:00.000Z"


def test_json_numbers_are_dates_too() -> None:
    """UNIX seconds and days ago may be JSON numbers."""
    body = '{"start_date": 1622138519, "end_date": -1}'
    assert span(request_of(type_=JSON, body=body)) == ("2021-05-27T18:01:59.000Z", "2026-11-21T21:00:00.000Z")


def test_nothing_said_is_the_usual() -> None:
    """Without our own parameters the service decides about force; nothing is forced, tried or waited for."""
    found = asked("id=1111111111.1")
    assert found.request == ReplayRequest(ids=("1111111111.1",), requested_by="api:login")
    assert found.wait == 0


def test_our_own_parameters() -> None:
    """force, dry_run, connector, wait and mark_delivered, from query and JSON."""
    query = "id=1111111111.1&force=new&dry_run=true&connector=crm&wait=2.5&mark_delivered=1"
    body = (
        '{"id":"1111111111.1","force":"new","dry_run":true,"connector":"crm","wait":2.5,"mark_delivered":1}'
    )
    expected = ReplayRequest(
        ids=("1111111111.1",),
        force=Force.NEW,
        dry_run=True,
        connector="crm",
        mark_delivered=True,
        requested_by="api:login",
    )
    assert asked(query) == asked(type_=JSON, body=body) == Asked(request=expected, wait=2.5)
    assert request_of("id=1.1&force=0&dry_run=0&mark_delivered=false").force is Force.NO


def test_query_and_body_may_share_the_work() -> None:
    """A parameter of the query and another one of the body are one request."""
    assert request_of("dry_run=1", type_=JSON, body='{"id": "1.1"}').dry_run is True


@pytest.mark.parametrize(
    ("query", "body", "parameter", "told"),
    [
        ("", "", None, "say which calls"),
        ("id=1.1&start_date=-1", "", "id", "not both"),
        ("end_date=-1", "", "start_date", "needs a start_date"),
        ("id=", "", "id", "id is empty"),
        ("id=1.1,", "", "id", "id is empty"),
        ("id=abc", "", "id", "'abc'"),
        ("id=1.1,22", "", "id", "'22'"),
        ("id=1.1.1", "", "id", "'1.1.1'"),
        ("id=SIP/101-00000001", "", "id", "'SIP/101-00000001'"),
        ("id=%0a-1.1%00", "", "id", "no linkedid"),
        ("id=١.١", "", "id", "no linkedid"),
        ("id=" + "9" * 400 + ".1", "", "id", "…"),
        ("id=" + ",".join(f"1.{n}" for n in range(MAX_IDS + 1)), "", "id", "10001 ids"),
        ("start_date=0", "", "start_date", "-0"),
        ("start_date=-1&end_date=yesterday", "", "end_date", "YYYY"),
        ("start_date=-1&start_date=-2", "", "start_date", "2 times"),
        ("ids=1.1", "", "ids", "no parameter 'ids'"),
        ("ID=1.1", "", "ID", "no parameter 'ID'"),
        ("id=1.1&force=yes", "", "force", "0, 1 or new"),
        ("id=1.1&dry_run=maybe", "", "dry_run", "0 or 1"),
        ("id=1.1&dry_run=", "", "dry_run", "0 or 1"),
        ("id=1.1&mark_delivered=2", "", "mark_delivered", "0 or 1"),
        ("id=1.1&wait=301", "", "wait", "0 to 300"),
        ("id=1.1&wait=-1", "", "wait", "0 to 300"),
        ("id=1.1&wait=1e2", "", "wait", "0 to 300"),
        ("id=1.1&connector=", "", "connector", "empty"),
        ("id=1.1", '{"id": "1.1"}', "id", "both in the query and in the body"),
        ("", '{"id": []}', "id", "empty array"),
        ("", '{"id": [["1.1"]]}', "id", "text or a number"),
        ("", '{"id": {"a": 1}}', "id", "text or a number"),
        ("", '{"id": [null]}', "id", "text or a number"),
        ("", '{"id": "1.1", "id": "1.2"}', "id", "twice"),
        ("", '{"start_date": ["-1"]}', "start_date", "text or a number"),
        ("", '{"start_date": true}', "start_date", "YYYY"),
        ("", '{"start_date": 1e9}', "start_date", "YYYY"),
        ("", '{"start_date": NaN}', None, "NaN"),
        ("", '{"id": "1.1"', None, "no JSON"),
        ("", '["1.1"]', None, "must be a JSON object"),
        ("", "1.1", None, "must be a JSON object"),
        ("", "[" * 100_000, None, "JSON"),
        ("", '{"a":' * 100_000, None, "JSON"),
        ("%ff=1", "", None, "UTF-8"),
    ],
)
def test_what_is_refused(query: str, body: str, parameter: str | None, told: str) -> None:
    """Anything wrong is refused as a whole and names its parameter."""
    with pytest.raises(BadRequestError) as caught:
        asked(query, type_=JSON, body=body)
    assert caught.value.parameter == parameter
    assert told in caught.value.message


def test_a_body_that_is_not_utf_8_is_refused() -> None:
    """JSON is UTF-8 (RFC 8259 section 8.1)."""
    with pytest.raises(BadRequestError, match="UTF-8"):
        asked(type_=JSON, body=b'{"id": "\xff"}')


@pytest.mark.parametrize("type_", ["text/xml", "multipart/form-data; boundary=x", "application/jsonp"])
def test_other_media_types_are_refused(type_: str) -> None:
    """Status 415 tells what can be sent."""
    with pytest.raises(UnsupportedBodyError, match="application/json"):
        asked(type_=type_, body="<id>1.1</id>")


def test_ten_thousand_ids_fit_into_a_body() -> None:
    """The limit of ids fits into the limit of the body, with ids as long as they really are."""
    ids = [f"1795400000.{n}" for n in range(MAX_IDS)]
    body = json.dumps({"id": ids})
    assert len(body) < 1_000_000
    assert request_of(type_=JSON, body=body).ids == tuple(ids)
    assert request_of(type_=FORM, body=urlencode([("id", id_) for id_ in ids])).ids == tuple(ids)


NAMES = st.one_of(st.sampled_from(["id", "start_date", "end_date", "force", "wait", "dry_run"]), st.text())
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just("-0"), st.just("1.1")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=2)),
    max_leaves=5,
)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_any_json_object_is_a_request_or_a_bad_request(body: dict[str, object]) -> None:
    """Whatever stands in the JSON, no other error comes out."""
    try:
        request = request_of(type_=JSON, body=json.dumps(body))
    except BadRequestError as error:
        assert error.message  # noqa: PT017 - either outcome is right
    else:
        assert bool(request.ids) != bool(request.period)


@given(
    query=st.text(alphabet="id=start_dae&%20-.,1+\udcff;é"),
    body=st.binary(max_size=60),
    type_=st.sampled_from([JSON, FORM, ""]),
)
def test_any_bytes_are_a_request_or_a_bad_request(query: str, body: bytes, type_: str) -> None:
    """Whatever bytes come, no other error comes out."""
    try:
        request = request_of(query, type_=type_, body=body)
    except BadRequestError as error:
        assert error.message  # noqa: PT017 - either outcome is right
    else:
        assert bool(request.ids) != bool(request.period)


@given(st.lists(st.from_regex(r"([a-z]{1,8}-)?[0-9]{9,10}\.[0-9]{1,6}", fullmatch=True), min_size=1))
def test_ids_come_out_as_they_went_in(ids: list[str]) -> None:
    """Every id of Asterisk's form is taken unchanged, in every form of request."""
    expected = tuple(dict.fromkeys(ids))
    assert request_of(urlencode([("id", id_) for id_ in ids])).ids == expected
    assert request_of(urlencode({"id": ",".join(ids)})).ids == expected
    assert request_of(type_=JSON, body=json.dumps({"id": ids})).ids == expected


def test_the_moment_of_the_request_is_the_end_of_an_open_period() -> None:
    """No end_date is up to now, to the microsecond."""
    found = parse({"start_date": ["-0"]}, user="u", zone=MOSCOW, now=NOW + 7)
    assert found.request.period is not None
    assert found.request.period.end == NOW + 7
    assert found.request.period.start % SECOND == 0
