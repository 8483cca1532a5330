"""What a text in the configuration means as a value of a given type. Pure; ValueError speaks to the admin."""

import difflib
import enum
import re
import typing
from collections.abc import Iterable

import msgspec

_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@typing.runtime_checkable
class Parsed(typing.Protocol):
    """A class that reads itself."""

    @classmethod
    def parse(cls, text: str) -> typing.Self:
        """Raises ValueError with a sentence for the admin."""
        ...


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'url'?`, or else the list of what there is."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known)}" * bool(known)


def parse(kind: object, text: str) -> object:
    """The text as a `kind`: bool, int, float, a Literal, an Enum, str, or a class with `parse`."""
    if typing.get_origin(kind) is typing.Annotated:  # a str for others, one of these words for the reader
        kind = typing.get_args(kind)[1]
    if typing.get_origin(kind) is typing.Literal:
        return _one_of(typing.get_args(kind), text)
    if kind is bool:
        if text.lower() not in _BOOLEANS:
            raise ValueError(f"{text!r} is neither true nor false")
        return _BOOLEANS[text.lower()]
    if kind is int or kind is float:
        return _number(kind, text)
    if kind is str:
        return text
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(_one_of(tuple(str(member.value) for member in kind), text))
    if isinstance(kind, type) and issubclass(kind, Parsed):
        return kind.parse(text)
    raise TypeError(f"{kind!r} cannot be read from a text")


def _one_of(values: tuple[str, ...], text: str) -> str:
    if text not in values:
        raise ValueError(f"{text!r} is not possible{did_you_mean(text, values)}")
    return text


def _number(kind: type[int] | type[float], text: str) -> float:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{text!r} is no {'whole ' * (kind is int)}number") from None


def out_of(bound: msgspec.Meta, value: typing.Any) -> str:  # noqa: ANN401 - whatever the bounds are for
    """What is wrong with a value outside its bounds; empty when nothing is."""
    shown = str(value) if isinstance(value, str | int | float) else "this"
    checks = (
        (bound.ge, lambda limit: not value >= limit, "is less than {}"),
        (bound.gt, lambda limit: not value > limit, "must be more than {}"),
        (bound.le, lambda limit: not value <= limit, "is more than {}"),
        (bound.lt, lambda limit: not value < limit, "must be less than {}"),
        (bound.min_length, lambda limit: len(value) < limit, "is too short, at least {}"),
        (bound.max_length, lambda limit: len(value) > limit, "is too long, at most {}"),
        (bound.pattern, lambda limit: not re.search(limit, value), "does not match {}"),
    )
    for limit, is_out, what in checks:
        if limit is not None and is_out(limit):
            return (
                f"{shown!r} {what.format(limit)}"
                if isinstance(value, str)
                else f"{shown} {what.format(limit)}"
            )
    return ""


def joined(path: str, key: str) -> str:
    """The path of a key below another path."""
    return f"{path}.{key}" if path else key
