"""Which deliveries a request means. Pure: text in, `Wanted` or `Choice` out."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec

from celreplay.api.parameters import Parameters, limit_of, refuse_unknown, single, switch
from celreplay.api.read_call import call_ids, connector_of
from celreplay.choices import Choice
from celreplay.errors import BadRequestError
from celreplay.period import parse_edges
from celreplay.store.base import State
from celreplay.store.records import Place, Wanted

HELD = "held"
"""Beside the states: what waits at a connector on hold."""
_FILTERS = ("state", "connector", "since", "until", "reason", "linkedid")
_LONGEST_NUMBER = 18


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list."""

    wanted: Wanted
    after: Place | None
    limit: int


def parse_page(parameters: Parameters, *, zone: ZoneInfo, now: int) -> Page:
    """Understand a list's parameters. Raises BadRequestError that names the wrong one."""
    refuse_unknown(parameters, (*_FILTERS, "cursor", "limit"))
    return Page(
        wanted=_wanted(parameters, zone, now),
        after=place_of(single(parameters, "cursor")),
        limit=limit_of(parameters),
    )


def parse_choice(parameters: Parameters, *, user: str, zone: ZoneInfo, now: int, rebuildable: bool) -> Choice:
    """Understand which deliveries are to be changed. Raises BadRequestError that names the wrong one."""
    refuse_unknown(parameters, ("id", *_FILTERS, *(("rebuild",) if rebuildable else ())))
    ids = delivery_ids(parameters.get("id", ()))
    narrowed = [name for name in _FILTERS if name in parameters]
    if ids and narrowed:
        raise BadRequestError(f"give id, or {narrowed[0]}, not both", parameter=narrowed[0])
    if not ids and "state" not in parameters:
        raise BadRequestError(
            "say which deliveries: id, or state=dead with or without other filters", code="missing_parameter"
        )
    return Choice(
        ids=ids,
        wanted=None if ids else _wanted(parameters, zone, now),
        rebuild=switch(parameters, "rebuild"),
        by=f"api:{user}",
    )


def _wanted(parameters: Parameters, zone: ZoneInfo, now: int) -> Wanted:
    return wanted_of(
        state=single(parameters, "state"),
        connector=connector_of(parameters),
        since=single(parameters, "since"),
        until=single(parameters, "until"),
        reason=single(parameters, "reason"),
        linkedid=single(parameters, "linkedid"),
        zone=zone,
        now=now,
    )


def wanted_of(
    *,
    state: str | None,
    connector: str | None,
    since: str | None,
    until: str | None,
    reason: str | None,
    linkedid: str | None,
    zone: ZoneInfo,
    now: int,
) -> Wanted:
    """The filter that these texts mean. Raises BadRequestError."""
    if state is not None and state != HELD and state not in set(State):
        known = ", ".join((*State, HELD))
        raise BadRequestError(f"there is no state {state[:40]!r} (known: {known})", parameter="state")
    if reason is not None and not reason.strip():
        raise BadRequestError("reason is empty", parameter="reason")
    start, end = parse_edges(since, until, zone=zone, now=now)
    return Wanted(
        states=() if state in (None, HELD) else (State(state),),
        held=state == HELD,
        connector=connector,
        linkedid=None if linkedid is None else _linkedid(linkedid),
        since=start,
        until=end,
        reason=reason or "",
    )


def _linkedid(text: str) -> str:
    try:
        (linkedid,) = call_ids([text])
    except ValueError:
        raise BadRequestError("give one linkedid", parameter="linkedid") from None
    except BadRequestError as error:
        raise BadRequestError(f"linkedid: {error}", parameter="linkedid") from None
    return linkedid


def place_of(cursor: str | None) -> Place | None:
    """The place that a cursor means. Raises BadRequestError."""
    try:
        return None if cursor is None else Place.parse(cursor)
    except ValueError:
        raise BadRequestError(
            "this cursor is none of ours: take the one of the page before", parameter="cursor"
        ) from None


def delivery_ids(values: Sequence[str]) -> tuple[int, ...]:
    """The numbers of repeated values and comma lists, each once, in order. Raises BadRequestError."""
    ids: dict[int, None] = {}
    for value in values:
        for part in value.split(","):
            text = part.strip()
            if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER):
                raise BadRequestError(f"id {text[:40]!r} is no number of a delivery", parameter="id")
            ids[int(text)] = None
    return tuple(ids)
