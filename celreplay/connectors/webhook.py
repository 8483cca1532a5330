"""Standard Webhooks 1.0.0: one signed POST for each finished call.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from celreplay import __version__
from celreplay.calls.model import Call, encode
from celreplay.connectors.answers import ANSWER_KEPT, ask, describe, retry_after
from celreplay.connectors.base import (
    ConnectorState,
    Delivery,
    Exchange,
    Outcome,
    OutcomeKind,
    Probe,
    Probing,
    Request,
    Response,
)
from celreplay.connectors.options import DeliveryOptions
from celreplay.times import SECOND, Instant
from celreplay.units import Secret

_SECRET_PREFIX = "whsec_"  # noqa: S105 - the mark of a secret, not one
_SECRET_BYTES = range(24, 65)  # the spec's lengths
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110 section 5.6.2
_ID_PLACE = "{webhook_id}"
_OURS = {"content-type", "content-length", "host", "transfer-encoding", "connection", "user-agent"}


class WebhookOptions(DeliveryOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`type: webhook`. Raises ValueError for what cannot work."""

    type: Literal["webhook"] = "webhook"
    url: Annotated[str, msgspec.Meta(max_length=2000)]
    """The endpoint, http or https."""
    secret: Secret | tuple[Secret, ...]
    """`whsec_` + base64 of 24 to 64 random bytes. While it is being changed: a list of the new one
    and the old one."""
    headers: dict[str, Secret] = msgspec.field(default_factory=dict)
    """Further headers of each request, e.g. `Authorization`."""
    lookup_url: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    """Where the receiver tells by GET whether it has a call, `{webhook_id}` standing for the call's id: 2xx =
    it has, 404 = it has not. Empty = it cannot be asked."""

    def __post_init__(self) -> None:
        _check_url("url", self.url)
        if self.lookup_url:
            _check_url("lookup_url", self.lookup_url)
            if self.lookup_url.count(_ID_PLACE) != 1:
                raise ValueError(f"lookup_url: must have {_ID_PLACE} in it, once")
        if not self.secrets:
            raise ValueError("secret: is an empty list")
        for secret in self.secrets:
            key_of(secret)
        for name, value in self.headers.items():
            _check_header(name, value)
        if self.timeout <= 0:
            raise ValueError("timeout: must be more than 0")

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """All of them, the first is the newest."""
        return self.secret if isinstance(self.secret, tuple) else (self.secret,)


def _check_url(key: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s\x00-\x1f]", url):
        raise ValueError(f"{key}: is no address like https://crm.example.com/calls")


def _check_header(name: str, value: Secret) -> None:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"headers: {name!r} is no name of a header")
    if name.lower() in _OURS or name.lower().startswith(("webhook-", "celreplay-")):
        raise ValueError(f"headers: {name} is set by celreplay itself")
    if re.search(r"[^\t\x20-\x7e]", value.reveal()):
        raise ValueError(f"headers.{name}: has a line break or a character outside ASCII in it")


def key_of(secret: Secret) -> bytes:
    """The bytes of a `whsec_…`. Raises ValueError with a sentence that does not show it."""
    text = secret.reveal()
    if text.startswith("whsk_"):
        raise ValueError("secret: is an ed25519 key; only whsec_ secrets (HMAC-SHA256) can be used")
    text = text.removeprefix(_SECRET_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError('secret: is not base64; make one: echo "whsec_$(openssl rand -base64 32)"') from None
    if len(key) not in _SECRET_BYTES:
        raise ValueError(
            f'secret: holds {len(key)} bytes, not 24 to 64; make one: echo "whsec_$(openssl rand -base64 32)"'
        )
    return key


def sign(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """`v1,…`, HMAC-SHA256 over `id.timestamp.body`, exactly the bytes sent (spec, "Signature scheme")."""
    digest = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def webhook_id(delivery: Delivery) -> str:
    """`call_` + SHA-256 of system, connector, linkedid and part, each followed by a NUL byte; for ever.

    A NUL stands in none of them, so that no two identities give the same bytes; and hex digits hold no `.`,
    which the spec keeps for the signed text.
    """
    identity = (delivery.system, delivery.connector, delivery.linkedid, delivery.part)
    return "call_" + hashlib.sha256("".join(f"{name}\0" for name in identity).encode()).hexdigest()


class WebhookConnector:
    """Posts calls to one endpoint."""

    batch_size = 1

    def __init__(self, name: str, options: WebhookOptions) -> None:
        self.name = name
        self.can_probe = bool(options.lookup_url)
        self._options = options
        self._keys = tuple(key_of(secret) for secret in options.secrets)
        self._headers = {name: secret.reveal() for name, secret in options.headers.items()}

    def prepare(self, call: Call, part: str, *, update: bool = False) -> bytes:  # noqa: ARG002 - a call has one body, whatever its part
        """The body, minified (spec, "Payload structure")."""
        moment = call.started_at if call.ended_at is None else call.ended_at
        type_ = "call.updated" if update else "call.finished"
        return encode({"type": type_, "timestamp": moment, "data": call})

    def exchange(self, deliveries: Sequence[Delivery], state: ConnectorState, now: Instant) -> Exchange:  # noqa: ARG002 - keeps no state
        """One POST."""
        response = yield from ask(self._post(deliveries[0], now))
        return [outcome_of(response, now)]

    def probe(self, delivery: Delivery, state: ConnectorState, now: Instant) -> Probing:  # noqa: ARG002 - keeps no state
        """One GET of `lookup_url`, where there is one. It cannot tell whether an update has arrived: the
        receiver has the call in any case."""
        if not self.can_probe or delivery.payload.startswith(b'{"type":"call.updated"'):
            return Probe.UNKNOWN
        url = self._options.lookup_url.replace(_ID_PLACE, webhook_id(delivery))
        response = yield from ask(self._request("GET", url, delivery, b"", now))
        return found_or_not(response, now)

    def _post(self, delivery: Delivery, now: Instant) -> Request:
        request = self._request("POST", self._options.url, delivery, delivery.payload, now)
        headers = {**request.headers, "content-type": "application/json"}
        if delivery.forced:
            headers["celreplay-attempt"] = "forced"
        return msgspec.structs.replace(request, headers=headers)

    def _request(self, method: str, url: str, delivery: Delivery, body: bytes, now: Instant) -> Request:
        identity, timestamp = webhook_id(delivery), now // SECOND
        headers = {
            **self._headers,
            "user-agent": f"celreplay/{__version__}",
            "webhook-id": identity,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(sign(key, identity, timestamp, body) for key in self._keys),
        }
        return Request(
            method=method,
            url=url,
            headers=headers,
            body=body,
            timeout=self._options.timeout,
            status_suffices=True,
        )


_KINDS: Mapping[int, OutcomeKind] = {
    **dict.fromkeys((400, 413, 422), OutcomeKind.PERMANENT),
    **dict.fromkeys((401, 403), OutcomeKind.AUTH),
    **dict.fromkeys((404, 405, 410), OutcomeKind.CONFIG),
    **dict.fromkeys((429, 502, 503, 504), OutcomeKind.THROTTLE),
}
_REASONS = {
    401: "check `secret` and `headers`",
    403: "check `secret` and `headers`",
    404: "check `url`",
    405: "check `url`",
    410: "the receiver says it is gone for good: check `url`, or remove the connector",
}


def outcome_of(response: Response, now: Instant) -> Outcome:
    """Sort an answer into its class (spec, "Deliverability and reliability").

    `webhook-delivery: abort-message` on a failure ends the retries of this call (an extension of Svix,
    https://docs.svix.com/retries).
    """
    wait = retry_after(response, now)
    kind = _kind_of(response.status, asked_to_wait=wait is not None)
    hint = _REASONS.get(response.status, "")
    if response.status in range(300, 400):
        hint = "the receiver has moved: check `url`; redirects are not followed"
    if kind is not OutcomeKind.OK and response.headers.get("webhook-delivery", "").strip() == "abort-message":
        kind, hint = OutcomeKind.PERMANENT, "the receiver asks to stop sending this call"
    return Outcome(
        kind=kind,
        reason=f"{describe(response)}: {hint}" if hint else describe(response),
        http_status=response.status,
        retry_after=None if kind in (OutcomeKind.OK, OutcomeKind.PERMANENT) else wait,
        answer=response.body[:ANSWER_KEPT],
    )


def found_or_not(response: Response, now: Instant) -> Probe | Outcome:
    """What the answer to a look-up says; an Outcome where the receiver could not tell now."""
    if response.status in range(200, 300):
        return Probe.DONE
    if response.status == HTTPStatus.NOT_FOUND:
        return Probe.ABSENT
    outcome = outcome_of(response, now)
    kind = OutcomeKind.CONFIG if outcome.kind is OutcomeKind.PERMANENT else outcome.kind
    return msgspec.structs.replace(outcome, kind=kind, reason=f"`lookup_url` {describe(response)}")


def _kind_of(status: int, *, asked_to_wait: bool) -> OutcomeKind:
    if status in range(200, 300):
        return OutcomeKind.OK
    if status in range(300, 400):
        return OutcomeKind.CONFIG
    if status in _KINDS:
        return _KINDS[status]
    return OutcomeKind.THROTTLE if asked_to_wait else OutcomeKind.RETRY


def build(name: str, system: str, options: WebhookOptions) -> WebhookConnector:  # noqa: ARG001 - as the table has it
    """The connector `name` of the config."""
    return WebhookConnector(name, options)
