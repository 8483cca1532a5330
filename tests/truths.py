"""What really happened in a captured call, in the words of the contract, beside what was read; and the limits."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec
import yaml
from captures_io import FORMS, truth_of

from celreplay.calls.model import Call, LegKind, Transfer
from celreplay.calls.numbering import PbxRules
from celreplay.times import Instant

NO_CALL = "call"
"""The field of a limit whose rows make no call at all."""
_TRANSFER_TYPES = {"attended(blond)": "attended"}
_RESULTS = {
    "answered by 188": "answered",
    "timeout, came back to 172": "answered",
    "caller hung up while parked": "no_answer",
}
_MOMENTS = frozenset({"started_at", "answered_at", "ended_at"})


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field that is not as in the truth: the rows cannot tell it, or the contract wants another one."""

    cases: list[str]
    """Captures; or a glob of captures, which means those that have `truth` there."""
    field: str
    given: Any
    reason: str = ""
    """Why no row tells."""
    contract: str = ""
    """The sentence of docs/call.md that wins over the truth."""
    truth: Any = msgspec.UNSET
    forms: tuple[str, ...] = tuple(FORMS)

    @property
    def is_glob(self) -> bool:
        """It speaks of every capture with a certain truth, as far as they differ from it."""
        return self.truth is not msgspec.UNSET

    def is_for(self, case: str, form: str) -> bool:
        """It speaks of this capture."""
        if form not in self.forms or not any(fnmatchcase(case, one) for one in self.cases):
            return False
        return not self.is_glob or expected(case).get(self.field) == self.truth


LIMITS = msgspec.convert(
    yaml.safe_load((Path(__file__).parent / "calls" / "limits.yaml").read_text("utf-8")), list[Limit]
)


def rules_of(case: str) -> PbxRules:
    """What the config says about the PBX of a capture."""
    return PbxRules(system="pbx", **truth_of(case).get("pbx", {}))


def tolerance(case: str, form: str) -> float:
    """Seconds by which a time may differ: some forms hold whole seconds only."""
    return 1.0 if form == "freepbx" or ("dateformat" in case and form == "sqlite") else 0.2


def expected(case: str) -> dict[str, Any]:
    """The truth; a field that it does not tell, or of which the contract says nothing, is absent."""
    truth = truth_of(case)
    started = _seconds(truth.get("start_time_pbx", truth["start_time"]))
    wait = truth["wait_seconds"]
    ended = truth.get("end_time_pbx", truth["end_time"])
    files = [file["file"] for file in truth.get("recording_files", [])]
    want = {
        "direction": truth["direction"],
        "caller": truth["caller_number"] or None,
        "dialed_number": truth["dialled_number"],
        "answered_by": truth["answered_by"],
        "disposition": truth["result"],
        "started_at": started,
        "answered_at": None if wait is None else started + wait,
        "ended_at": None if ended is None else _seconds(ended),
        "wait": wait,
        "ring": truth["ring_seconds"],
        "talk": truth["talk_seconds"],
        "hold": truth["hold_seconds"],
        "queue": truth.get("queue"),
        "voicemail": truth.get("voicemail_box"),
        "conference": truth.get("conference"),
        "recordings": files or [file for file in [truth["recording_file"]] if file],
        "linkedids": sorted({truth["linkedid"], *truth["other_linkedids"]}),
        "transfers": [_transferred(transfer, truth) for transfer in truth["transfers"]],
    }
    if truth.get("forwarded"):
        want["transfers"] += [
            {"type": "forward", "by": truth["forwarded"]["by"], "to": truth["forwarded"]["to"]}
        ]
    told = {
        "duration": truth.get("duration_seconds"),
        "caller_channel": truth.get("channel"),
        "trunk": truth.get("trunk"),
        "hangup_by": truth.get("hangup_by"),
        "sip_code": _sip_code(truth),
        "extension": truth.get("final_agent") or _extension(truth),
        "caller_name": truth["caller_name"],
        "rang": truth.get("rang_extensions"),
    }
    want |= {field: value for field, value in told.items() if value is not None}
    if truth["direction"] == "incoming":  # an extension's name is set in the PBX, of which no truth tells
        want["caller_name"] = truth["caller_name"]
    want |= truth.get("told", {})
    return {field: value for field, value in want.items() if field not in truth.get("undecided", [])}


def _extension(truth: dict[str, Any]) -> str | None:
    """Who had a call last that went from one to one; None where the truth does not tell."""
    if truth["result"] != "answered" or truth["transfers"] or truth.get("forwarded"):
        return None
    own = truth["caller_number"] if truth["direction"] == "outgoing" else truth["answered_by"]
    return str(own) if own and own.isdigit() else None


def _sip_code(truth: dict[str, Any]) -> int | None:
    """What the line outside answered, else what the caller was told."""
    if truth["result"] == "answered":
        return 200
    code: int | None = truth.get("sip_code_from_trunk", truth.get("sip_final_code_to_caller"))
    return code


def _transferred(transfer: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    """What the truth tells of a transfer."""
    told: dict[str, Any] = {
        "type": _TRANSFER_TYPES.get(transfer["type"], transfer["type"]),
        "by": transfer["by"],
    }
    joined = set(transfer.get("joined", [])) - {truth["caller_number"]}
    to = transfer.get("to") or transfer.get("retrieved_by") or next(iter(joined), None)
    if to is not None:
        told["to"] = to
    if "result" in transfer:
        told["result"] = _RESULTS.get(transfer["result"], transfer["result"])
    if "at" in transfer:
        told["at"] = _seconds(transfer["at"])
    return told


def _seconds(text: str) -> float:
    return Instant.parse(text) / 1e6


def found(call: Call, want: dict[str, Any]) -> dict[str, Any]:
    """The same fields of the call; of a transfer what the truth tells of it."""
    have: dict[str, Any] = {field: getattr(call, field, None) for field in want}
    have |= {field: None if have[field] is None else have[field] / 1e6 for field in _MOMENTS & have.keys()}
    have |= {
        "caller": call.caller.number,
        "caller_name": call.caller.name,
        "caller_channel": call.caller.channel,
        "linkedids": sorted(call.linkedids),
        "rang": sorted(
            {leg.number or "" for leg in call.legs if leg.kind is LegKind.EXTENSION and leg.rang_at}
        ),
    }
    wanted = [*want.get("transfers", []), *({} for _ in call.transfers)]
    have["transfers"] = [
        _shown(transfer, told) for transfer, told in zip(call.transfers, wanted, strict=False)
    ]
    return {field: have[field] for field in want}


def _shown(transfer: Transfer, told: dict[str, Any]) -> dict[str, Any]:
    whole = msgspec.structs.asdict(transfer) | {"at": transfer.at / 1e6}
    return {key: whole[key] for key in told or whole}


def differences(case: str, form: str, call: Call | None) -> dict[str, Any]:
    """Field → what was found, for the fields that differ from the truth."""
    want = expected(case)
    if call is None:
        return {NO_CALL: None}
    have, within = found(call, want), tolerance(case, form)
    return {field: have[field] for field, value in want.items() if not same(have[field], value, within)}


def same(have: object, want: object, within: float) -> bool:
    """Equal, seconds within a tolerance, inside of lists too."""
    if isinstance(have, list) and isinstance(want, list):
        return len(have) == len(want) and all(
            same(one, other, within) for one, other in zip(have, want, strict=True)
        )
    if isinstance(have, dict) and isinstance(want, dict):
        return have.keys() == want.keys() and all(same(have[key], want[key], within) for key in want)
    if isinstance(have, float) and isinstance(want, int | float):
        return abs(have - want) <= within
    return have == want


def limits_of(case: str, form: str) -> list[Limit]:
    """What is listed for a capture."""
    return [limit for limit in LIMITS if limit.is_for(case, form)]
