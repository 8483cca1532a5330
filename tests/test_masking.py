"""What a CRM answers may repeat what it was sent: no secret gets into the journal."""

import json
from collections.abc import Mapping

import pytest
from crm_server import SECRET, CrmServer, Play
from delivering import Office, call_of, office_in

from celreplay.clock import SystemClock
from celreplay.connectors.base import Outcome, OutcomeKind
from celreplay.connectors.masking import masked, secrets_in
from celreplay.connectors.webhook import WebhookConnector, WebhookOptions
from celreplay.secret import mask_text
from celreplay.store.base import State
from celreplay.units import Secret


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://x.bitrix24.com/rest/1/abc123def456/crm.lead.add", "https://x.bitrix24.com/rest/1/***/crm.lead.add"),
        (r'{"url":"https:\/\/x.ru\/rest\/12\/abc123def456\/im"}', r'{"url":"https:\/\/x.ru\/rest\/12\/***\/im"}'),
        ("no answer from https://u:pw@crm/", "no answer from https://u:***@crm/"),
        ("GET /a?auth=12345&b=2", "GET /a?auth=***&b=2"),
        ('{"access_token": "abc", "user": "ann"}', '{"access_token": "***", "user": "ann"}'),
        ("Authorization: Bearer abcdefgh.ijk", "Authorization: Bearer ***"),
        ("authorization: Basic dTpwYXNz", "authorization: Basic ***"),
        ("Authorization: mine-own", "Authorization: ***"),
        ("X-Api-Key: 123-456\nHost: crm", "X-Api-Key: ***\nHost: crm"),
        ("the key whsec_AAECAwQFBgcICQo= is wrong", "the key whsec_*** is wrong"),
        ('{"author": "Ann", "keyword": "x"}', '{"author": "Ann", "keyword": "x"}'),
        ('{"error": "expired_token"}', '{"error": "expired_token"}'),
        ("answered 401 Unauthorized: check `secret` and `headers`", "answered 401 Unauthorized: check `secret` and `headers`"),
        ("the rest/1/2 of it", "the rest/1/2 of it"),
    ],
)  # fmt: skip
def test_what_looks_like_a_credential_is_masked(text: str, expected: str) -> None:
    """Addresses, headers and JSON; ordinary words stay."""
    assert mask_text(text) == expected


def after_masking(answer: bytes, state: Mapping[str, str]) -> bytes:
    outcome = Outcome(kind=OutcomeKind.RETRY, reason="500", answer=answer)
    return masked(outcome, ("s3cret-of-ours", "short"), state).answer


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(b"you sent s3cret-of-ours", b"you sent ***", id="from the config"),
        pytest.param(b"token tok-4711 is old", b"token *** is old", id="from the state"),
        pytest.param(b"you sent s3cret-of", b"you sent ***", id="cut off"),
        pytest.param(
            b"a short word, portal p-4711", b"a short word, portal p-4711", id="too short, no secret"
        ),
        pytest.param(b"\xcf\xf0\xe8 s3cret-of-ours", b"\xcf\xf0\xe8 ***", id="not UTF-8"),
    ],
)
def test_the_connectors_own_secrets_are_masked(answer: bytes, expected: bytes) -> None:
    """Whatever they look like; also the tokens that it keeps in its state, and one that the limit has cut."""
    assert after_masking(answer, {"access_token": "tok-4711", "portal": "p-4711"}) == expected


def test_the_secrets_of_the_options_are_found() -> None:
    """In lists and headers too; the part behind `Bearer` by itself."""
    options = WebhookOptions(
        url="https://crm.example.com/",
        secret=(Secret(SECRET), Secret("whsec_" + "B" * 32)),
        headers={"Authorization": Secret("Bearer opaque-4711")},
    )
    assert {SECRET, "B" * 32, "opaque-4711"} <= set(secrets_in(options))


async def test_no_secret_is_in_the_journal(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A CRM that repeats the whole request: reason and answer are written down without what was secret."""
    office: Office = await office_in(tmp_path_factory.mktemp("office"), SystemClock())
    opaque = "opaque-4711-value"
    async with CrmServer() as crm:
        echo = json.dumps(
            {"you": {"sent": f"X-Own: {opaque}", "to": "https://x/rest/1/abcdef123456/", "by": SECRET}}
        )
        crm.play(Play(status=422, body=echo.encode()))
        options = WebhookOptions(url=crm.url, secret=Secret(SECRET), headers={"X-Own": Secret(opaque)})
        connector = WebhookConnector("crm", options)
        call = call_of(1)
        await office.queue(connector, call)
        async with office.delivering(connector, options):
            while await office.count(connector, State.DEAD) == 0:
                await office.clock.sleep(0.02)
    record = await office.delivery(call)
    [attempt] = await office.store.attempts(record.delivery_id)
    await office.store.aclose()
    assert attempt.answer == b'{"you": {"sent": "X-Own: ***", "to": "https://x/rest/1/***/", "by": "***"}}'
    assert opaque.encode() not in b"".join(file.read_bytes() for file in office.store.path.parent.iterdir())
