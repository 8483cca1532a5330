"""TLS for the API, with a certificate that may be replaced while the daemon runs."""

import ssl
from pathlib import Path

import structlog

from celreplay.errors import CelreplayError

LOOK_EVERY = 30.0
"""Seconds between two looks at the files."""

_log = structlog.get_logger(__name__)


class Certificate:
    """A certificate chain with its key, both PEM."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises CelreplayError where they cannot be used."""
        self._certificate = certificate
        self._key = key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._stamp = self._seen()
        try:
            self._load(self.context)
        except (OSError, ssl.SSLError) as error:
            raise CelreplayError(
                f"the certificate {certificate} with the key {key} cannot be used: {_words(error)}",
                hint="see api.tls; the user celreplay must be able to read both",
            ) from None

    def renew(self) -> bool:
        """Take up files that have changed; True when they were. Later connections have the new certificate;
        files that cannot be used are told, once, and the old certificate stays."""
        stamp = self._seen()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self._load(
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            )  # a half-written pair must not spoil the other
            self._load(self.context)
        except (OSError, ssl.SSLError) as error:
            _log.warning("api.certificate_unusable", certificate=str(self._certificate), reason=_words(error))
            return False
        _log.info("api.certificate_renewed", certificate=str(self._certificate))
        return True

    def _load(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self._certificate, self._key, password=lambda: "")

    def _seen(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(path) for path in (self._certificate, self._key))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM, or not a pair").lower().replace("_", " ")
    return error.strerror or str(error)
