"""`rules:` of the configuration: which calls go to which connector."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self, TypeAlias, TypeVar

import msgspec

from celreplay.units import Duration, FilePath, Glob, Regex

_T = TypeVar("_T")
OneOrMore: TypeAlias = _T | tuple[_T, ...]

_Direction = Literal["incoming", "outgoing", "internal", "unknown"]
_Disposition = Literal[
    "answered", "no_answer", "busy", "failed", "abandoned", "voicemail", "ivr_only", "unknown"
]


class Pattern(str):
    r"""What a whole value must look like: a shell pattern, `+1202555*`, or a regular expression between
    slashes, `/\+?1202555\d{4}/`. The empty text stands for a value that a call has not got."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """A pattern that can match something."""
        if is_expression(text):
            Regex.parse(text[1:-1])
        elif text:
            Glob.parse(text)
        return cls(text)


def is_expression(text: str) -> bool:
    """True for a regular expression between slashes."""
    return len(text) > 1 and text.startswith("/") and text.endswith("/")


class RuleConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One rule: it matches a call that meets all of its conditions. Those that are left out are met."""

    skip: str = ""
    """The call is not sent; the text is the reason that is shown."""
    send: str = ""
    """The call is sent, whatever later rules say; the text says why."""
    connectors: OneOrMore[str] = ()
    """Only for these; none: for all."""
    direction: OneOrMore[_Direction] = ()
    disposition: OneOrMore[_Disposition] = ()
    trunk: OneOrMore[Pattern] = ()
    did: OneOrMore[Pattern] = ()
    """`dialed_number`, what the caller dialled."""
    number: OneOrMore[Pattern] = ()
    """`external_number`, the outside party's."""
    number_file: FilePath = FilePath("")
    """A file with such numbers, one a line; read at the start."""
    caller: OneOrMore[Pattern] = ()
    """`caller.number`, as Asterisk wrote it."""
    extension: OneOrMore[Pattern] = ()
    queue: OneOrMore[Pattern] = ()
    accountcode: OneOrMore[Pattern] = ()
    duration_below: Duration | None = None
    duration_from: Duration | None = None
    talk_below: Duration | None = None
    talk_from: Duration | None = None
    recorded: bool | None = None
    """Whether the rows name a recording."""
    complete: bool | None = None
    """False: Asterisk died, or rows were lost."""

    def __post_init__(self) -> None:
        if bool(self.skip.strip()) == bool(self.send.strip()):
            raise ValueError("needs either `skip: REASON` or `send: REASON`")
        for low, high in (("duration_from", "duration_below"), ("talk_from", "talk_below")):
            start, end = getattr(self, low), getattr(self, high)
            if start is not None and end is not None and start >= end:
                raise ValueError(f"{low}: no call is at least {start} and less than {end} long")

    def all_of(self, name: str) -> tuple[str, ...]:
        """What stands under a key that takes one value or a list."""
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value,)


def numbers_in(path: str) -> Iterator[str]:
    """The numbers of a `number_file`; what follows a `#` is for people. Raises OSError or
    UnicodeDecodeError."""
    for line in Path(path).read_text("utf-8").splitlines():
        number = re.sub(r"[\s()-]", "", line.partition("#")[0])
        if number:
            yield number
