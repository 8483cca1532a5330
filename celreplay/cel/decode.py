"""From a row of any CEL table to a `CelEvent`. Pure; a bad row gives warnings, never an exception.

Column names differ by back end and age: `cid_num` or `cidnum`, `extra` or `eventextra`, `id` or `AcctId`
(samples of cel_sqlite3_custom, cel_pgsql and cel_odbc; FreePBX 13 to 17).
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter

from celreplay.cel.events import EVENT_NUMBERS, CelEvent, EventType
from celreplay.cel.eventtime import EventTimes, epoch_of
from celreplay.errors import SourceError

TEXTS = (
    "userdeftype", "cid_name", "cid_num", "cid_ani", "cid_rdnis", "cid_dnid", "exten", "context", "channame",
    "appname", "appdata", "accountcode", "peeraccount", "uniqueid", "linkedid", "userfield", "peer", "extra",
)  # fmt: skip
FIELDS = ("id", "eventtype", "eventtime", "eventenum", *TEXTS)
NEEDED = ("eventtype", "eventtime", "uniqueid", "linkedid")

_ALIASES = {
    "id": ("id", "acctid", "cel_id"),
    "cid_name": ("cid_name", "cidname"),
    "cid_num": ("cid_num", "cidnum"),
    "cid_ani": ("cid_ani", "cidani"),
    "cid_rdnis": ("cid_rdnis", "cidrdnis"),
    "cid_dnid": ("cid_dnid", "ciddnid"),
    "channame": ("channame", "channel"),
    "peer": ("peer", "bridgepeer"),
    "extra": ("extra", "eventextra"),
}
_PLAIN = {str(kind): str(kind) for kind in EventType if kind is not EventType.USER_DEFINED}
_USER_DEFINED = str(EventType.USER_DEFINED)
_ABSENT = (None, "")
_ONLY_TEXT = {str}
_LINKEDID, _UNIQUEID = TEXTS.index("linkedid"), TEXTS.index("uniqueid")


def columns_of(present: Iterable[str], chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """CEL's name → the table's column, for the columns `present`; `chosen` (from the config) wins.

    Raises SourceError where `chosen` names a field that CEL does not have or a column that is not there.
    """
    by_name = {column.lower(): column for column in present}
    found = {}
    for field in FIELDS:
        for alias in _ALIASES.get(field, (field,)):
            if alias in by_name:
                found[field] = by_name[alias]
                break
    for field, column in (chosen or {}).items():
        if field not in FIELDS:
            raise SourceError(f"columns: CEL has no field {field!r}", hint=f"one of {', '.join(FIELDS)}")
        if column.lower() not in by_name:
            hint = f"its columns: {', '.join(by_name.values())}"
            raise SourceError(f"columns.{field}: the table has no column {column!r}", hint=hint)
        found[field] = by_name[column.lower()]
    return found


class RowDecoder:
    """Decodes rows whose values stand in the order of `fields` (CEL's names)."""

    def __init__(self, fields: Sequence[str], times: EventTimes) -> None:
        place = {field: number for number, field in enumerate(fields)}
        nothing, empty = len(fields), len(fields) + 1  # the places of _ABSENT behind the row
        head = [place.get(field, nothing) for field in FIELDS[:4]]
        self._pick = itemgetter(*head, *(place.get(field, empty) for field in TEXTS))
        self._read_time = times.read

    def __call__(self, row: tuple[object, ...]) -> CelEvent:
        """The event; `row` may hold anything."""
        number, eventtype, eventtime, eventenum, *texts = self._pick(row + _ABSENT)
        warnings: tuple[str, ...] = ()
        if set(map(type, texts)) != _ONLY_TEXT or "\0" in "".join(texts):
            texts, warnings = _clean(texts)
        if type(number) is not int and number is not None:
            number, warnings = _number(number, warnings)
        name = _PLAIN.get(eventtype) if type(eventtype) is str else None
        user_defined = False
        if eventtype is None and eventenum is None:  # not asked for
            name = ""
        elif name is None or name == texts[0] or (eventenum is not None and eventenum != name):
            name, user_defined = _named(eventtype, eventenum, texts[0])
        try:
            instant, ambiguous = self._read_time(eventtime)
        except (ValueError, OverflowError):
            instant, ambiguous = _time_of_birth(texts), False
            warnings = (*warnings, f"eventtime {_shown(eventtime)} is no time, taken from the uniqueid")
        return _event(number, name, instant, ambiguous, user_defined, texts, warnings)

    def all(self, rows: Iterable[tuple[object, ...]]) -> list[CelEvent]:
        """Many rows."""
        return [self(row) for row in rows]


def _event(
    number: int | None, name: str, instant: int, ambiguous: bool, user_defined: bool,
    texts: Sequence[str], warnings: tuple[str, ...],
) -> CelEvent:  # fmt: skip
    (userdeftype, cid_name, cid_num, cid_ani, cid_rdnis, cid_dnid, exten, context, channame, appname, appdata,
     accountcode, peeraccount, uniqueid, linkedid, userfield, peer, extra) = texts  # fmt: skip
    return CelEvent(
        id=number, eventtype=name, eventtime=instant, ambiguous=ambiguous, user_defined=user_defined,
        userdeftype=userdeftype, cid_name=cid_name, cid_num=cid_num, cid_ani=cid_ani, cid_rdnis=cid_rdnis,
        cid_dnid=cid_dnid, exten=exten, context=context, channame=channame, appname=appname, appdata=appdata,
        accountcode=accountcode, peeraccount=peeraccount, uniqueid=uniqueid, linkedid=linkedid,
        userfield=userfield, peer=peer, extra=extra, warnings=warnings,
    )  # fmt: skip


def kind_of(eventtype: object, eventenum: object = None, userdeftype: object = "") -> tuple[str, bool]:
    """The event's name and whether it is user-defined, from whatever the row holds."""
    return _named(eventtype, eventenum, _text(userdeftype)[0])


def _named(eventtype: object, eventenum: object, userdeftype: str) -> tuple[str, bool]:
    """Asterisk writes a user-defined event in three ways: its own name in `eventtype` (and again in
    `userdeftype`); USER_DEFINED or 13 in `eventtype` with `show_user_defined=yes`, the name in
    `userdeftype`; its own name in `eventtype` with USER_DEFINED in `eventenum` (cel_sqlite3_custom)."""
    written, kind = _numbered(eventtype), _numbered(eventenum)
    if _USER_DEFINED in (written, kind):
        own = written if written != _USER_DEFINED else ""
        return own or userdeftype or _USER_DEFINED, True
    if kind in _PLAIN:
        return kind, False
    if written.isdecimal() or not written:  # a number from a later Asterisk, or nothing
        return written, False
    return written, written not in _PLAIN or written == userdeftype


def _numbered(value: object) -> str:
    text = _text(value)[0].strip()
    if text.isdecimal() and len(text) < 4:  # noqa: PLR2004 - there are 21 event types
        return str(EVENT_NUMBERS.get(int(text), text))
    return text


def _text(value: object) -> tuple[str, str]:
    """The text and what was wrong with it."""
    if value is None:
        return "", ""
    wrong = ""
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            text = bytes(value).decode()
        except UnicodeDecodeError:
            text, wrong = bytes(value).decode(errors="replace"), "holds bytes that are no UTF-8"
    else:
        text = value if isinstance(value, str) else str(value)
    if "\0" in text:
        text, wrong = text.replace("\0", "\ufffd"), "holds NUL bytes"
    return text, wrong


def _clean(values: Sequence[object]) -> tuple[list[str], tuple[str, ...]]:
    read = [_text(value) for value in values]
    warnings = tuple(f"{field} {wrong}" for field, (_, wrong) in zip(TEXTS, read, strict=True) if wrong)
    return [text for text, _ in read], warnings


def _number(value: object, warnings: tuple[str, ...]) -> tuple[int | None, tuple[str, ...]]:
    try:
        return int(_text(value)[0]), warnings
    except ValueError:
        return None, (*warnings, f"id {_shown(value)} is no number")


def _time_of_birth(texts: Sequence[str]) -> int:
    return epoch_of(texts[_UNIQUEID]) or epoch_of(texts[_LINKEDID]) or 0


def _shown(value: object) -> str:
    return repr(value)[:60]
