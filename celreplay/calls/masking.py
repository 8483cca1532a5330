"""Rows without the people in them: numbers and names replaced, everything else as it was. Pure.

A digit is replaced by what a key and the digits behind it give, so that numbers which end alike still end
alike (`+7926…`, `8926…`, `9` and the number to get a line), and equal ones stay equal wherever they stand.
The tenth to thirteenth digit from the end stay: country codes and prefixes. Extensions of up to five digits
stay.
"""

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from string import ascii_letters
from string import digits as ascii_digits

import msgspec

from celreplay.calls.recordings import is_sound_file
from celreplay.cel.events import CelEvent, extra_of

FEWEST_DIGITS = 6
"""Numbers of fewer digits are extensions and stay."""
_KEPT = range(9, 13)
_SHORT_NAME = 5
_NUMBER_FIELDS = ("cid_num", "cid_ani", "cid_rdnis", "cid_dnid", "exten")
_CODES = ("accountcode", "peeraccount", "userfield")
_STRUCTURE = ("uniqueid", "linkedid")
_TEXTS = (
    *("context", "channame", "appname", "appdata", "peer", "extra", "userdeftype", "eventtype"),
    *_NUMBER_FIELDS,
)
_NO_NAMES = re.compile(
    r"s|h|i|t|anonymous|unavailable|restricted|private|withheld|<?unknown>?|asterisk|[\W\d_]*", re.IGNORECASE
)
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ADDRESS = r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])"
_DIGITS = r"\d{%d,}" % FEWEST_DIGITS  # noqa: UP031 - braces of the expression itself
_SPACED = r"(?<![\w.])\d{1,4}(?:[ ().-]{1,3}\d{1,4})+(?!\w)"
"""A number as people write it: `+7 (903) 111-00-01`."""
_FEWEST_SPACED = 7  # `101 102` are two extensions
_PLAIN = frozenset(ascii_letters + ascii_digits + "_.-~/")
_INSTANCE = re.compile(r"-[0-9a-f]{8}(?=$|[;<])")
_LETTER = re.compile(r"[^\W\d_]")


class Mask:
    """Replaces what names a person in the rows of one call."""

    def __init__(self, rows: Sequence[CelEvent], key: bytes) -> None:
        """`key`: a secret; with it the numbers could be found again."""
        self._key = key
        ids = {getattr(row, field) for row in rows for field in _STRUCTURE}
        instances = {found[0] for row in rows if (found := _INSTANCE.search(row.channame))}
        self._names = _names_of(rows)
        kept = rf"(?<!\d)(?:{_any_of(ids)})(?!\d)|(?:{_any_of(instances)})(?![0-9a-f])|{_UUID}"
        self._pattern = re.compile(
            rf"(?P<kept>{kept})|(?P<address>{_ADDRESS})|(?P<number>{_DIGITS})|(?P<spaced>{_SPACED})"
        )
        self._by_name = {name.casefold(): f"Name{at}" for at, name in enumerate(self._names, start=1)}
        forms = sorted({form for name in self._names for form in _forms(name)}, key=len, reverse=True)
        self._name = re.compile("|".join(map(_bounded, forms)), re.IGNORECASE) if forms else None
        self._by_form = {
            form.casefold(): self._by_name[name.casefold()] for name in self._names for form in _forms(name)
        }

    def number(self, text: str) -> str:
        """A number, with whatever stands between its digits."""
        if len(_digits_of(text)) < FEWEST_DIGITS or _LETTER.search(text):
            return self.text(text)
        return self._with_separators(text)

    def _with_separators(self, text: str) -> str:
        masked = iter(self._digits(_digits_of(text)))
        return "".join(next(masked) if _is_digit(sign) else sign for sign in text)

    def name(self, text: str) -> str:
        """A caller's name; one that is a number is masked as that."""
        found = self._by_name.get(text.casefold())
        return found if found is not None else self.number(text)

    def text(self, text: str) -> str:
        """Any other text: the numbers and names in it."""
        if self._name is not None:
            text = self._name.sub(self._named, text)
        return self._pattern.sub(self._found, text)

    def blurred(self, text: str) -> str:
        """A text of the admin's own, which may hold anything: no letter of it stays. The path of a sound file
        keeps its form."""
        if is_sound_file(text.rpartition("/")[2]):
            return self.text(text)
        return _LETTER.sub("x", self.number(text))

    def row(self, row: CelEvent) -> CelEvent:
        """The row with nobody in it."""
        changed = {field: self.text(getattr(row, field)) for field in _TEXTS if getattr(row, field)}
        changed |= {field: self.number(getattr(row, field)) for field in _NUMBER_FIELDS}
        changed |= {field: self.blurred(getattr(row, field)) for field in _CODES}
        changed["cid_name"] = self.name(row.cid_name)
        if row.user_defined:
            changed["extra"] = self._said(row)
        return msgspec.structs.replace(row, **changed)

    def _said(self, row: CelEvent) -> str:
        said = {field: self.blurred(str(value)) for field, value in extra_of(row).items()}
        return msgspec.json.encode(said).decode() if said else ""

    def _named(self, found: re.Match[str]) -> str:
        return self._by_form[found[0].casefold()]

    def _found(self, found: re.Match[str]) -> str:
        if found["kept"]:
            return found[0]
        if found["address"]:
            return f"192.0.2.{self._value(found[0]) % 254 + 1}"
        if found["spaced"]:
            enough = len(_digits_of(found[0])) >= _FEWEST_SPACED
            return self._with_separators(found[0]) if enough else found[0]
        return self._digits(found[0])

    def _digits(self, digits: str) -> str:
        return "".join(
            digit if len(digits) - 1 - at in _KEPT else self._digit(digits[at:])
            for at, digit in enumerate(digits)
        )

    def _digit(self, tail: str) -> str:
        """Another digit than the first of `tail`, by those behind it."""
        return str((int(tail[0]) + 1 + self._value(tail[1:]) % 9) % 10)

    def _value(self, text: str) -> int:
        return int.from_bytes(blake2b(text.encode(), key=self._key, digest_size=8).digest())


def people_in(rows: Iterable[CelEvent]) -> set[str]:
    """The numbers and names in the columns made for them: what must not be found in masked rows."""
    rows = list(rows)
    texts = {getattr(row, field) for row in rows for field in (*_NUMBER_FIELDS, "cid_name")}
    runs = {run for text in texts for run in re.findall(_DIGITS, text)}
    return runs | {name for name in _names_of(rows) if len(name) >= _SHORT_NAME}


def _names_of(rows: Sequence[CelEvent]) -> list[str]:
    """Names in the order of the rows; SIP users that are words are names too."""
    found = (text for row in rows for text in (row.cid_name, row.cid_num))
    return list({text.casefold(): text for text in found if not _NO_NAMES.fullmatch(text)}.values())


def _any_of(texts: set[str]) -> str:
    """The longest first; an expression that matches nothing where there are none."""
    return "|".join(map(re.escape, sorted(texts - {""}, key=len, reverse=True))) or r"(?!)"


def _forms(name: str) -> set[str]:
    """As it stands, as in JSON, as in an address, and as in the name of a file."""
    return {
        name,
        _quoted(name),
        msgspec.json.encode(name).decode()[1:-1],
        re.sub(r"\s+", "_", name),
        re.sub(r"\s+", "-", name),
    }


def _quoted(name: str) -> str:
    """As in an address: every byte but letters and digits of ASCII in the form `%C3`."""
    return "".join(chr(byte) if chr(byte) in _PLAIN else f"%{byte:02X}" for byte in name.encode())


def _bounded(form: str) -> str:
    """A short name is one only where it stands alone: `Al` is not in `Local`."""
    text = re.escape(form)
    return text if len(form) >= _SHORT_NAME else rf"(?<![^\W_]){text}(?![^\W_])"


def _digits_of(text: str) -> str:
    return "".join(filter(_is_digit, text))


def _is_digit(sign: str) -> bool:
    return sign.isascii() and sign.isdigit()
