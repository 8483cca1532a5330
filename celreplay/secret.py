"""What must not be shown: secrets, and addresses with a password in them."""

import functools
import re
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import SplitResult, unquote, urlsplit

MASK = "***"


class Secret:
    """A text that is shown nowhere: only `reveal()` gives it.

    It is deliberately no `str`: msgspec and json refuse to encode it, and pickle too.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    @classmethod
    def parse(cls, text: str) -> Self:
        """Any text but the empty one."""
        if not text:
            raise ValueError("is empty")
        return cls(text)

    def reveal(self) -> str:
        """The text itself, for the one place that needs it."""
        return self._text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __str__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._text == getattr(other, "_text", None)

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not to be serialised")


class DatabaseUrl(Secret):
    """`postgresql://user:password@host:5432/database`, `mysql://…`, `sqlite:////absolute/path`.

    `str()` gives it with the password masked. Characters that mean something in a URL are written
    percent-encoded in user and password (RFC 3986 section 2.1).
    """

    __slots__ = ()
    schemes: ClassVar[tuple[str, ...]] = ("sqlite", "postgresql", "mysql", "postgres", "mariadb")

    @classmethod
    def parse(cls, text: str) -> Self:
        """A URL of one of `schemes`, with a database (or a file) in it."""
        scheme, colon, rest = text.partition("://")
        if not colon or scheme not in cls.schemes:
            known = ", ".join(f"{known}://…" for known in cls.schemes)
            raise ValueError(f"is no database address: it must begin with one of {known}")
        if scheme == "sqlite":
            if not rest.startswith("/") or not rest.strip("/"):
                raise ValueError("names no file: write sqlite:////path/of/the/file")
        else:
            _check_server(text)
        return cls(text)

    @property
    def scheme(self) -> str:
        """What stands before the colon, one of `schemes`."""
        return self._text.partition(":")[0]

    @property
    def sqlite_path(self) -> str:
        """The file of a `sqlite` URL, see `sqlite_file`."""
        return sqlite_file(self._text)

    @property
    def parts(self) -> SplitResult:
        """The URL taken apart; user and password in it are still percent-encoded."""
        return urlsplit(self._text)

    @property
    def has_password(self) -> bool:
        """True where the address itself is a secret."""
        return self.scheme != "sqlite" and self.parts.password is not None

    def __str__(self) -> str:
        return mask_url(self._text)


class CelUrl(DatabaseUrl):
    """Where Asterisk writes CEL."""

    __slots__ = ()


class StoreUrl(DatabaseUrl):
    """Where celreplay keeps its own state."""

    __slots__ = ()
    schemes = ("sqlite", "postgresql")


def sqlite_file(url: str) -> str:
    """`sqlite:////a/b` is /a/b. `sqlite:///a/b` is a/b in the current folder where that has a folder a, as
    other programs read it, and /a/b where it has none, as people write it."""
    path = unquote(url.partition("://")[2].removeprefix("/").partition("?")[0])
    return path if path.startswith("/") or Path(path).parent.is_dir() else f"/{path}"


def _check_server(text: str) -> None:
    if "#" in text:
        raise ValueError("holds a `#`: write %23 for a `#` in a password")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(
            "has a wrong host or port: write / as %2F, @ as %40, : as %3A in a password"
        ) from None
    if port == 0:
        raise ValueError("has port 0")
    if not parts.path.strip("/"):
        raise ValueError(f"names no database: {parts.scheme}://user:password@host/DATABASE")


_CREDENTIALS = re.compile(r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^\s/?#:@]*):[^\s/?#]*@")


def mask_url(text: str) -> str:
    """Mask the password of every `scheme://user:password@host` in a text."""
    return _CREDENTIALS.sub(rf"\g<scheme>\g<user>:{MASK}@", text)


_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|authori[sz]ation|api_?key|credential|cookie|signature|private_?key|^ha1",
    re.IGNORECASE,
)
_URL_NAMES = r"[^=&\s]*(?:token|secret|key|password|auth)[^=&\s]*"
_JSON_NAMES = r"(?:[^\"\s]*(?:token|secret|password|api_?key|private_?key|authori[sz]ation)|auth|key)"
_PATTERNS = (
    re.compile(r"\b((?:Bearer|Basic|Digest)\s+)[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE),
    re.compile(rf"([?&]{_URL_NAMES}=)[^&\s\"']+", re.IGNORECASE),
    re.compile(rf'("{_JSON_NAMES}"\s*:\s*")[^"]+', re.IGNORECASE),
    re.compile(
        r"(\b(?:Authorization|X-Api-Key)\s*:\s*+)(?!(?:Bearer|Basic|Digest)\b)[^\r\n\"]+", re.IGNORECASE
    ),
    re.compile(r"(\bwhsec_)[A-Za-z0-9+/=]{8,}"),
    # Bitrix24's incoming webhooks, https://PORTAL/rest/USER/TOKEN/METHOD, in JSON with escaped slashes
    re.compile(r"(\\?/rest\\?/[0-9]+\\?/)[A-Za-z0-9]{6,}"),
)
_HINT = re.compile(r"[:=/]|whsec_|bearer\s|basic\s|digest\s", re.IGNORECASE)
"""Nothing above matches a text without one of these: most texts are looked at once."""


@functools.lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """True for the name of a field, header or setting that holds a secret."""
    return _SECRET_NAME.search(name) is not None


def mask_text(text: str) -> str:
    """Mask what looks like a credential: passwords and tokens in addresses, headers and JSON."""
    if _HINT.search(text) is None:
        return text
    text = mask_url(text)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<1>{MASK}", text)
    return text
