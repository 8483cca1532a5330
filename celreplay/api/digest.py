"""HTTP Digest access authentication, the server's side (RFC 7616). Pure: time is an argument.

Offered: SHA-256 and MD5 (curl takes the first it is offered), qop=auth. Not offered: auth-int, userhash, the
`-sess` algorithms, the form of RFC 2069. A digest protects the password, not the answer: for secrecy use TLS.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from celreplay.api.credentials import REALM, Algorithm, Credential, digest, ha1s_of
from celreplay.api.digest_header import DigestHeader, HeaderError, read_header
from celreplay.api.nonces import Nonces
from celreplay.api.patience import Patience

DEFAULT_ALGORITHMS = (Algorithm.SHA_256, Algorithm.MD5)
_OPAQUE = hashlib.sha256(REALM.encode()).hexdigest()[:32]
_NAME_LENGTH = 128


class Verdict(StrEnum):
    """What to do with a request."""

    GRANTED = "granted"
    NO_CREDENTIALS = "no_credentials"
    """None were sent, or of another scheme: the usual first request. Ask for them."""
    WRONG = "wrong"
    """Unknown user or wrong password, which of the two is not told. Counts as a failure."""
    STALE = "stale"
    """The password is right, the nonce is used up: the client tries again by itself with a new one."""
    MALFORMED = "malformed"
    """The header breaks the rules; asking again is no use."""
    TOO_MANY = "too_many"
    """Too many failures from this address: the password was not looked at."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one request."""

    verdict: Verdict
    user: str = ""
    """Who it is, when granted; else who it claims to be."""
    reason: str = ""
    retry_after: float = 0.0
    """Seconds, with TOO_MANY."""


class DigestAuth:
    """Knows the users; judges each request's `Authorization` header."""

    def __init__(
        self,
        users: Mapping[str, Credential],
        *,
        algorithms: Sequence[str] = DEFAULT_ALGORITHMS,
        nonce_lifetime: float = 300.0,
        nonce_capacity: int = 10_000,
        patience: Patience | None = None,
    ) -> None:
        """`algorithms` in the order offered; `nonce_lifetime` in seconds. Raises ValueError for a credential
        or algorithm that is none."""
        if not algorithms:
            raise ValueError("no digest algorithm is left")
        self._algorithms = tuple(Algorithm(name) for name in algorithms)
        self._ha1s = {user: ha1s_of(user, credential) for user, credential in users.items()}
        self._nobody = {algorithm: digest(algorithm, secrets.token_hex()) for algorithm in Algorithm}
        self._nonces = Nonces(secrets.token_bytes(32), lifetime=nonce_lifetime, capacity=nonce_capacity)
        self._patience = Patience() if patience is None else patience

    def challenges(self, now: int, *, stale: bool = False) -> list[str]:
        """The values of `WWW-Authenticate`, one header line each, the preferred algorithm first."""
        nonce = self._nonces.make(now)
        ending = ", stale=true" if stale else ""
        return [
            f'Digest realm="{REALM}", qop="auth", algorithm={algorithm}, nonce="{nonce}", '
            f'opaque="{_OPAQUE}", charset=UTF-8{ending}'
            for algorithm in self._algorithms
        ]

    def judge(
        self, authorization: Sequence[str], *, method: str, target: str, address: str, now: int
    ) -> Decision:
        """Judge a request by its `Authorization` headers, method, request target as sent, and address."""
        if not authorization:
            reason = "credentials are needed" if self._ha1s else "the config has no api.users to let in"
            return Decision(verdict=Verdict.NO_CREDENTIALS, reason=reason)
        if len(authorization) > 1:
            return _malformed("there is more than one Authorization header")
        scheme, _, rest = authorization[0].strip().partition(" ")
        if scheme.lower() != "digest":
            return Decision(verdict=Verdict.NO_CREDENTIALS, reason="only Digest is offered (curl --digest)")
        try:
            header = read_header(rest)
            algorithm = self._offered(header, target)
        except HeaderError as error:
            return _malformed(str(error))
        return self._judge_password(header, algorithm, method=method, address=address, now=now)

    def _offered(self, header: DigestHeader, target: str) -> Algorithm:
        """The algorithm used. Raises HeaderError when the header answers no challenge of ours."""
        if header.uri != target:
            raise HeaderError("uri is not the target of this request")
        if header.realm != REALM:
            raise HeaderError("the realm is not ours")
        if header.opaque != _OPAQUE:
            raise HeaderError("opaque was not returned as it was sent")
        for algorithm in self._algorithms:
            if header.algorithm.upper() == algorithm:
                return algorithm
        offered = " and ".join(self._algorithms)
        raise HeaderError(f"the algorithm must be {offered}")

    def _judge_password(
        self, header: DigestHeader, algorithm: Algorithm, *, method: str, address: str, now: int
    ) -> Decision:
        user = header.username[:_NAME_LENGTH].encode("utf-8", "replace").decode()
        if wait := self._patience.wait(address, user, now):
            reason = "too many wrong passwords came from this address"
            return Decision(verdict=Verdict.TOO_MANY, user=user, reason=reason, retry_after=wait)
        if not self._password_is_right(header, algorithm, method):
            self._patience.failed(address, user, now)
            return Decision(verdict=Verdict.WRONG, user=user, reason="unknown user or wrong password")
        if not self._nonces.use(header.nonce, header.count, now):
            return Decision(verdict=Verdict.STALE, user=user, reason="the nonce is used up")
        self._patience.succeeded(address, user)
        return Decision(verdict=Verdict.GRANTED, user=user)

    def _password_is_right(self, header: DigestHeader, algorithm: Algorithm, method: str) -> bool:
        """The same work for an unknown user as for a known one."""
        ha1 = self._ha1s.get(header.username, self._nobody).get(algorithm, self._nobody[algorithm])
        expected = response_of(header, algorithm, ha1=ha1, method=method)
        return hmac.compare_digest(expected.encode(), header.response.lower().encode("utf-8", "replace"))


def response_of(header: DigestHeader, algorithm: Algorithm, *, ha1: str, method: str) -> str:
    """The right `response` for qop=auth: KD(HA1, nonce:nc:cnonce:qop:HA2) of RFC 7616 §3.4.1."""
    ha2 = digest(algorithm, method, header.uri)
    return digest(algorithm, ha1, header.nonce, header.nc, header.cnonce, "auth", ha2)


def _malformed(reason: str) -> Decision:
    return Decision(verdict=Verdict.MALFORMED, reason=f"the Authorization header is wrong: {reason}")
