"""How the config wants numbers written: ordered rewrites for each side, and E.164. Pure.

What the rows say stays in `caller.number` and `dialed_number`; the rewritten form is for whoever compares
numbers with a CRM's.
"""

import re
from functools import lru_cache

import msgspec

from celreplay.calls.model import Call, Leg, LegKind, Transfer

_FEWEST_DIGITS = 2  # emergency numbers have three, some services two
_CONFERENCE = "conference"
_LONG = re.compile(r"\+?\d{7,}")


class NumberPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The forms of numbers; empty: as the rows have them."""

    outside: tuple[tuple[str, str], ...] = ()
    """Rewrites of outside numbers: a regular expression for the whole number, and what replaces it. Each
    works on what the one before has left."""
    inside: tuple[tuple[str, str], ...] = ()
    """The same for numbers of this PBX."""
    e164: bool = False
    """Outside numbers become `+` and country code, after the rewrites."""
    region: str = ""
    """The country (ISO 3166, two letters) of outside numbers without a country code."""

    def outside_form(self, number: str | None) -> str | None:
        """The number of an outside party as the config wants it; one that cannot be read stays as it is."""
        if not is_callable(number):
            return number
        number = _rewritten(number or "", self.outside)
        return (_e164(number, self.region) if self.e164 and number else number) or None

    def inside_form(self, number: str | None) -> str | None:
        """The number of an extension as the config wants it."""
        return _rewritten(number, self.inside) or None if number else number


NO_PLAN = NumberPlan()


def is_callable(number: str | None) -> bool:
    """Somebody can be called back under it: not `anonymous`, not `Restricted`, not empty."""
    return bool(number) and sum(map(str.isdigit, number or "")) >= _FEWEST_DIGITS


def in_plan(call: Call, plan: NumberPlan) -> Call:
    """The call with its numbers in the forms of the plan; `caller` and `dialed_number` stay as sent."""
    outside = {leg.number for leg in call.legs if leg.kind is LegKind.EXTERNAL} | {call.external_number}
    inside = {leg.number for leg in call.legs if leg.kind is LegKind.EXTENSION} | {call.extension}

    def form(number: str | None) -> str | None:
        if number is None or number.startswith(_CONFERENCE):
            return number
        is_out = number in outside or (number not in inside and _LONG.fullmatch(number))
        return plan.outside_form(number) if is_out else plan.inside_form(number)

    external = plan.outside_form(call.external_number)
    return msgspec.structs.replace(
        call,
        external_number=external if is_callable(external) else None,
        answered_by=form(call.answered_by),
        extension=plan.inside_form(call.extension),
        legs=[_leg(leg, plan) for leg in call.legs],
        transfers=[_transfer(one, form(one.by), form(one.to)) for one in call.transfers],
    )


def _leg(leg: Leg, plan: NumberPlan) -> Leg:
    if leg.kind is LegKind.EXTERNAL:
        return msgspec.structs.replace(leg, number=plan.outside_form(leg.number))
    if leg.kind is LegKind.EXTENSION:
        return msgspec.structs.replace(leg, number=plan.inside_form(leg.number))
    return leg


def _transfer(transfer: Transfer, by: str | None, to: str | None) -> Transfer:
    return msgspec.structs.replace(transfer, by=by, to=to)


def _rewritten(number: str, rewrites: tuple[tuple[str, str], ...]) -> str:
    for expression, replacement in rewrites:
        found = _compiled(expression).fullmatch(number)
        if found:
            number = found.expand(replacement)
    return number.strip()


@lru_cache(maxsize=256)
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression)


@lru_cache(maxsize=10_000)
def _e164(number: str, region: str) -> str:
    """E.164 by the lengths of each country's numbers: its lists of valid ranges age, lengths hardly do."""
    import phonenumbers  # noqa: PLC0415 - its tables are loaded only for those who want E.164

    try:
        parsed = phonenumbers.parse(number, region or None)
    except phonenumbers.NumberParseException:
        return number
    if phonenumbers.is_possible_number_with_reason(parsed) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return number
    return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))
