"""A call as a test case: its rows without the people, and the calls as they are read now. Pure."""

from collections.abc import Sequence

import msgspec

from celreplay.calls.interpret import calls_of
from celreplay.calls.masking import Mask, people_in
from celreplay.calls.model import Call, Caller
from celreplay.calls.numbering import PbxRules
from celreplay.cel.events import CelEvent
from celreplay.cel.timeline import in_order, repaired

COLUMNS = (
    *("AcctId", "eventtype", "eventtime", "cidname", "cidnum", "cidani", "cidrdnis", "ciddnid", "context"),
    *("exten", "channame", "appname", "appdata", "amaflags", "accountcode", "uniqueid", "linkedid"),
    *("userfield", "peer", "userdeftype", "eventextra", "peeraccount"),
)
"""Of cel_sqlite3_custom, in the order of its sample."""
_FIELDS = {"cidname": "cid_name", "cidnum": "cid_num", "cidani": "cid_ani", "cidrdnis": "cid_rdnis"}
_FIELDS |= {"ciddnid": "cid_dnid", "eventextra": "extra"}
_DOCUMENTATION = "3"
_TRIES = 20


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What a test needs."""

    rows: list[list[str]]
    """In the order of COLUMNS."""
    calls: list[dict[str, object]]
    """What the test compares, of each call of the rows."""
    pbx: dict[str, object]
    """`trunks` and `extensions`, where the calls cannot be read without them."""


def case_of(events: Sequence[CelEvent], rules: PbxRules, key: bytes) -> Case | str:
    """The case, or why there is none: without its people the call would be another one.

    `key`: random bytes, which nobody needs later."""
    rows = [
        msgspec.structs.replace(row, id=number)
        for number, row in enumerate(repaired(in_order(events)), start=1)
    ]
    plain = PbxRules(system=rules.system, trunks=rules.trunks, extensions=rules.extensions)
    calls = calls_of(rows, plain)
    if not calls:
        return "its rows are no call (SIP MESSAGE makes such rows)"
    people = people_in(rows)
    for attempt in range(_TRIES):
        mask = Mask(rows, key + bytes([attempt]))
        masked = [mask.row(row) for row in rows]
        cells = [_cells(row) for row in masked]
        if not _shows(cells, people):
            return _checked(cells, masked, calls, plain, mask)
    return "a number or name of it stands in a word that other rows need"


def _checked(
    cells: list[list[str]], masked: list[CelEvent], calls: list[Call], rules: PbxRules, mask: Mask
) -> Case | str:
    """Both ways must give one call: read and then masked, masked and then read."""
    want = [_comparable(_masked(call, mask)) for call in calls]
    without = PbxRules(system=rules.system)
    said = msgspec.structs.replace(
        rules, trunks=tuple(map(mask.text, rules.trunks)), extensions=mask.text(rules.extensions)
    )
    for given, pbx in ((without, {}), (said, {"trunks": [*said.trunks], "extensions": said.extensions})):
        have = calls_of(masked, given)
        if [_comparable(call) for call in have] == want:
            return Case(rows=cells, calls=[summary(call) for call in have], pbx=dict(pbx))
    return f"without its numbers and names it would be read differently: {_difference(have, want)}"


def summary(call: Call) -> dict[str, object]:
    """What the tests compare of a call."""
    return {
        "direction": call.direction.value,
        "disposition": call.disposition.value,
        "caller": call.caller.number,
        "dialed_number": call.dialed_number,
        "answered_by": call.answered_by,
        "extension": call.extension,
        "wait": call.wait,
        "ring": call.ring,
        "talk": call.talk,
        "hold": call.hold,
        "legs": [f"{leg.number} {leg.kind} {leg.disposition}" for leg in call.legs],
        "transfers": [f"{one.type} {one.by} -> {one.to}: {one.result}" for one in call.transfers],
        "linkedids": len(call.linkedids),
    }


def _masked(call: Call, mask: Mask) -> Call:
    def number(text: str | None) -> str | None:
        return mask.number(text) if text else text

    def text(text: str | None) -> str | None:
        return mask.text(text) if text else text

    def blurred(text: str | None) -> str | None:
        return mask.blurred(text) if text else text

    replace = msgspec.structs.replace
    caller = call.caller
    name = mask.name(caller.name) if caller.name else None
    legs = [
        replace(
            leg,
            number=number(leg.number),
            name=leg.name and mask.name(leg.name),
            channel=mask.text(leg.channel),
        )
        for leg in call.legs
    ]
    return replace(
        call,
        caller=Caller(number=number(caller.number), name=name, channel=text(caller.channel)),
        **{
            field: number(getattr(call, field)) for field in ("dialed_number", "external_number", "extension")
        },
        **{field: text(getattr(call, field)) for field in ("answered_by", "trunk", "queue", "voicemail")},
        conference=text(call.conference),
        legs=legs,
        transfers=[replace(one, by=number(one.by), to=number(one.to)) for one in call.transfers],
        recordings=[mask.text(path) for path in call.recordings],
        accountcode=blurred(call.accountcode),
        userfield=blurred(call.userfield),
    )


def _comparable(call: Call) -> Call:
    """Without what is of the rows' form and not of the call."""
    return msgspec.structs.replace(call, warnings=[], revision="")


def _difference(have: Sequence[Call], want: Sequence[Call]) -> str:
    """The names of fields, no values: those may be people."""
    if len(have) != len(want):
        return f"{len(have)} calls instead of {len(want)}"
    fields = Call.__struct_fields__
    pairs = list(zip(map(_comparable, have), want, strict=True))
    return ", ".join(
        field for field in fields if any(getattr(one, field) != getattr(other, field) for one, other in pairs)
    )


def _cells(row: CelEvent) -> list[str]:
    seconds, micros = divmod(row.eventtime, 1_000_000)
    given = {
        "AcctId": str(row.id),
        "eventtime": f"{seconds}.{micros:06d}",
        "amaflags": _DOCUMENTATION,
        "userdeftype": row.eventtype if row.user_defined else row.userdeftype,
    }
    return [
        given[column] if column in given else str(getattr(row, _FIELDS.get(column, column)))
        for column in COLUMNS
    ]


def _shows(cells: list[list[str]], people: set[str]) -> bool:
    text = "\n".join(cell for row in cells for cell in row).casefold()
    return any(one.casefold() in text for one in people)
