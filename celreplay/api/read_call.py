"""What a request to `/pbx/read_call` asks for. Pure: text in, `ReplayRequest` out."""

import re
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec

from celreplay.api.parameters import Parameters, refuse_unknown, single, switch
from celreplay.errors import BadRequestError
from celreplay.period import Period, parse_period
from celreplay.services import ReplayRequest
from celreplay.store.base import Force

MAX_IDS = 10_000
LONGEST_WAIT = 300.0
_KNOWN = ("id", "start_date", "end_date", "force", "dry_run", "connector", "wait", "mark_delivered")
_LONGEST_ID = 149  # AST_MAX_PUBLIC_UNIQUEID of Asterisk's channel.h
_CALL_ID = re.compile(r"(?:[^,\x00-\x1f\x7f\ud800-\udfff]+-)?[0-9]{1,20}\.[0-9]{1,20}")
_SECONDS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3})?")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request to read calls again."""

    request: ReplayRequest
    wait: float = 0.0
    """Seconds the client would wait for the end."""


def parse(parameters: Parameters, *, user: str, zone: ZoneInfo, now: int) -> Asked:
    """Understand the parameters. Raises BadRequestError that names the wrong one."""
    refuse_unknown(parameters, _KNOWN)
    ids = call_ids(parameters.get("id", ()))
    period = _period(parameters, zone, now)
    if ids and period:
        raise BadRequestError("give id, or start_date, not both", parameter="id")
    if not ids and not period:
        raise BadRequestError(
            "say which calls: id, or start_date with or without end_date", code="missing_parameter"
        )
    return Asked(
        request=ReplayRequest(
            ids=ids,
            period=period,
            force=_force(parameters),
            dry_run=switch(parameters, "dry_run"),
            connector=connector_of(parameters),
            mark_delivered=switch(parameters, "mark_delivered"),
            requested_by=f"api:{user}",
        ),
        wait=_wait(parameters),
    )


def call_ids(values: Sequence[str]) -> tuple[str, ...]:
    """The ids of repeated values and comma lists, each once, in order; () for no value at all. Raises
    BadRequestError for one that is not `[SYSTEMNAME-]SECONDS.NUMBER`, the form of Asterisk's uniqueid."""
    ids: dict[str, None] = {}
    for value in values:
        for part in value.split(","):
            id_ = part.strip()
            if len(id_) > _LONGEST_ID or not _CALL_ID.fullmatch(id_):
                raise BadRequestError(_no_id(id_), parameter="id")
            ids[id_] = None
    if len(ids) > MAX_IDS:
        raise BadRequestError(f"{len(ids)} ids are too many: at most {MAX_IDS} at once", parameter="id")
    return tuple(ids)


def _no_id(text: str) -> str:
    if not text:
        return "id is empty"
    shown = text if len(text) <= _LONGEST_ID else text[:40] + "…"
    return f"id {shown!r} is no linkedid or uniqueid: write it like 1234567890.1 or pbx-1234567890.1"


def _period(parameters: Parameters, zone: ZoneInfo, now: int) -> Period | None:
    start_date, end_date = single(parameters, "start_date"), single(parameters, "end_date")
    if start_date is not None:
        return parse_period(start_date, end_date, zone=zone, now=now)
    if end_date is not None:
        raise BadRequestError("end_date needs a start_date", parameter="start_date")
    return None


def _force(parameters: Parameters) -> Force | None:
    value = single(parameters, "force")
    if value is None:
        return None
    if value not in set(Force):
        raise BadRequestError(f"force must be 0, 1 or new, not {value[:40]!r}", parameter="force")
    return Force(value)


def connector_of(parameters: Parameters) -> str | None:
    """The name of a connector; None where all are meant."""
    value = single(parameters, "connector")
    if value is not None and not value.strip():
        raise BadRequestError("connector is empty", parameter="connector")
    return value


def _wait(parameters: Parameters) -> float:
    value = single(parameters, "wait")
    if value is None:
        return 0.0
    if not _SECONDS.fullmatch(value) or float(value) > LONGEST_WAIT:
        raise BadRequestError(
            f"wait must be 0 to {LONGEST_WAIT:.0f} seconds, not {value[:40]!r}", parameter="wait"
        )
    return float(value)
