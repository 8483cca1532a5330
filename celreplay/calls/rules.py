"""Which calls go to a connector, and why not. Pure."""

import fnmatch
import re
from collections.abc import Callable, Collection, Iterator, Sequence

import msgspec

from celreplay.calls.model import Call, Direction, Disposition
from celreplay.ruleconfig import RuleConfig, is_expression

_Condition = Callable[[Call], bool]

_TEXTS: dict[str, Callable[[Call], str | None]] = {
    "trunk": lambda call: call.trunk,
    "did": lambda call: call.dialed_number,
    "caller": lambda call: call.caller.number,
    "extension": lambda call: call.extension,
    "queue": lambda call: call.queue,
    "accountcode": lambda call: call.accountcode,
}
_SECONDS: dict[str, Callable[[Call], float | None]] = {
    "duration": lambda call: call.duration,
    "talk": lambda call: call.talk,
}
_FACTS: dict[str, Callable[[Call], bool]] = {
    "recorded": lambda call: bool(call.recordings),
    "complete": lambda call: call.complete,
}


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One of a list, of which the first that matches decides."""

    reason: str
    sends: bool
    connectors: frozenset[str]
    """Those that it is for; empty: all."""
    conditions: tuple[_Condition, ...]

    def matches(self, call: Call, connector: str) -> bool:
        """True where it decides about the call."""
        if self.connectors and connector not in self.connectors:
            return False
        return all(condition(call) for condition in self.conditions)


def rule_of(config: RuleConfig, place: int, numbers: Collection[str] = ()) -> Rule:
    """A rule of the configuration, the `place`-th of its list. `numbers`: those of its `number_file`."""
    return Rule(
        reason=f"rule {place}: {config.skip or config.send}",
        sends=bool(config.send),
        connectors=frozenset(config.all_of("connectors")),
        conditions=tuple(_conditions(config, frozenset(numbers))),
    )


def skip_reason(call: Call, connector: str, rules: Sequence[Rule] = ()) -> str:
    """Why a call is not sent to a connector; empty when it is.

    An originate whose own extension never answered (a click-to-call nobody took) rang a desk and called
    nobody: no customer knows of it. It is skipped where no rule sends it.
    """
    decisive = next((rule for rule in rules if rule.matches(call, connector)), None)
    if decisive is not None:
        return "" if decisive.sends else decisive.reason
    if (
        call.direction is Direction.INTERNAL
        and call.disposition is Disposition.NO_ANSWER
        and call.dialed_number is None
    ):
        return "click-to-call that its own extension never answered: nobody was called"
    return ""


def _conditions(config: RuleConfig, numbers: frozenset[str]) -> Iterator[_Condition]:
    directions, dispositions = config.all_of("direction"), config.all_of("disposition")
    if directions:
        yield lambda call: call.direction in directions
    if dispositions:
        yield lambda call: call.disposition in dispositions
    for name, text_of in _TEXTS.items():
        if patterns := config.all_of(name):
            yield _looks_like(text_of, patterns)
    if config.number_file or config.all_of("number"):
        looks = _looks_like(lambda call: call.external_number, config.all_of("number"))
        yield lambda call: looks(call) or call.external_number in numbers
    for name, seconds_of in _SECONDS.items():
        yield from _lengths(seconds_of, getattr(config, f"{name}_from"), getattr(config, f"{name}_below"))
    for name, fact_of in _FACTS.items():
        if (wanted := getattr(config, name)) is not None:
            yield _is(fact_of, wanted)


def _looks_like(text_of: Callable[[Call], str | None], patterns: Sequence[str]) -> _Condition:
    expressions = [text[1:-1] if is_expression(text) else fnmatch.translate(text) for text in patterns]
    found = [re.compile(expression).fullmatch for expression in expressions]
    return lambda call: any(matches(text_of(call) or "") for matches in found)


def _is(fact_of: Callable[[Call], bool], wanted: bool) -> _Condition:
    return lambda call: fact_of(call) is wanted


def _lengths(
    seconds_of: Callable[[Call], float | None], start: float | None, end: float | None
) -> Iterator[_Condition]:
    """A length that is not known, because Asterisk died, is neither short nor long."""
    if start is not None:
        yield lambda call: (seconds := seconds_of(call)) is not None and seconds >= start
    if end is not None:
        yield lambda call: (seconds := seconds_of(call)) is not None and seconds < end
