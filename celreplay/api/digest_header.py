"""Reading the `Authorization: Digest …` header (RFC 7616 §3.4, the grammar of RFC 9110 §11). Pure."""

import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

import msgspec

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's word for it
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))', re.DOTALL)
_BETWEEN = re.compile(r"[ \t,]*")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_HEX_8 = re.compile(r"[0-9a-fA-F]{8}")
_REQUIRED = ("realm", "nonce", "uri", "response", "qop", "nc", "cnonce")


class HeaderError(Exception):
    """The header is no use; the text tells the client why (status 400, RFC 7616 §3.4)."""


class DigestHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a client says of itself, in the words of RFC 7616 §3.4."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str
    """As sent; without one it is MD5."""
    cnonce: str
    nc: str
    """8 hex digits as sent: they are hashed as text."""
    opaque: str

    @property
    def count(self) -> int:
        """`nc` as a number, from 1."""
        return int(self.nc, 16)


def read_header(text: str) -> DigestHeader:
    """The header behind the word `Digest`. Raises HeaderError."""
    values = _parameters(text)
    if values.get("qop", "auth") != "auth":
        raise HeaderError(f"qop={values['qop']!r} is not offered, only qop=auth")
    if "qop" not in values:
        raise HeaderError("qop is missing; the form of RFC 2069 without qop is not accepted")
    if values.get("userhash", "false").lower() != "false":
        raise HeaderError("userhash is not offered")
    for name in _REQUIRED:
        if name not in values:
            raise HeaderError(f"{name} is missing")
    if not _HEX_8.fullmatch(values["nc"]) or int(values["nc"], 16) == 0:
        raise HeaderError("nc must be 8 hex digits, from 00000001")
    return DigestHeader(
        username=_user_name(values),
        realm=values["realm"],
        nonce=values["nonce"],
        uri=values["uri"],
        response=values["response"],
        algorithm=values.get("algorithm", "MD5"),
        cnonce=values["cnonce"],
        nc=values["nc"],
        opaque=values.get("opaque", ""),
    )


def _parameters(text: str) -> Mapping[str, str]:
    """The list of `name=value` and `name="quoted value"`; names in lower case, each at most once."""
    values: dict[str, str] = {}
    place = _end_of_gap(text, 0)
    while place < len(text):
        found = _PARAMETER.match(text, place)
        if not found:
            raise HeaderError("it is not a list of name=value")
        name, quoted, token = found[1].lower(), found[2], found[3]
        if name in values:
            raise HeaderError(f"{name} stands twice")
        values[name] = token if quoted is None else _ESCAPED.sub(r"\1", quoted)
        place = _end_of_gap(text, found.end())
        if place < len(text) and "," not in text[found.end() : place]:
            raise HeaderError("a comma is missing between two parameters")
    return values


def _end_of_gap(text: str, place: int) -> int:
    gap = _BETWEEN.match(text, place)
    return gap.end() if gap else place


def _user_name(values: Mapping[str, str]) -> str:
    """`username`, or `username*` in the form of RFC 8187 (RFC 7616 §3.4)."""
    if ("username" in values) == ("username*" in values):
        raise HeaderError("either username or username* must stand in it")
    if "username" in values:
        return values["username"]
    charset, _, rest = values["username*"].partition("'")
    _language, apostrophe, encoded = rest.partition("'")
    if charset.upper() != "UTF-8" or not apostrophe:
        raise HeaderError("username* must be written UTF-8''…")
    try:
        return unquote_to_bytes(encoded).decode("utf-8")
    except UnicodeError:
        raise HeaderError("username* is not UTF-8") from None
