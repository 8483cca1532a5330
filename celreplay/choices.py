"""Which deliveries a person means, and what came of it. Pure."""

from collections.abc import Mapping

import msgspec

from celreplay.errors import BadRequestError
from celreplay.store.base import State
from celreplay.store.records import Wanted

MOST_IDS = 1_000
"""Deliveries that may be named at once: they change in one transaction."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries to do something about: named ones, or all that a filter finds."""

    ids: tuple[int, ...] = ()
    wanted: Wanted | None = None
    rebuild: bool = False
    """New bytes from the CEL rows, or from the stored call where the rows have gone."""
    by: str
    """`api:USER` or `cli:UNIXUSER`."""


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    count: int = 0
    left: Mapping[int, str] = {}
    """delivery_id → why it was left as it is; the first thousand."""
    resumed: tuple[str, ...] = ()
    """Held connectors that get a canary at once."""


def check(choice: Choice) -> None:
    """Raise BadRequestError for what cannot be meant."""
    if bool(choice.ids) == (choice.wanted is not None):
        raise BadRequestError("say which deliveries: id, or state with or without other filters")
    if len(choice.ids) > MOST_IDS:
        raise BadRequestError(
            f"{len(choice.ids)} ids are too many: at most {MOST_IDS} at once", parameter="id"
        )
    if choice.wanted is None:
        return
    if choice.wanted.held:
        _check_held(choice, choice.wanted)
    elif choice.wanted.states != (State.DEAD,):
        raise BadRequestError("only dead deliveries are found by a filter: state=dead", parameter="state")


def _check_held(choice: Choice, wanted: Wanted) -> None:
    """A hold is a connector's, so that nothing else can narrow it."""
    if wanted != Wanted(held=True, connector=wanted.connector):
        raise BadRequestError(
            "what is held is resumed for a whole connector: no other filter", parameter="state"
        )
    if choice.rebuild:
        raise BadRequestError("what is held is sent as it is", parameter="rebuild")
