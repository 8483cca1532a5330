"""No secret gets into the journal: what a CRM answers may repeat what it was sent."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from celreplay.connectors.answers import ANSWER_KEPT
from celreplay.connectors.base import Outcome
from celreplay.secret import MASK, Secret, is_secret_name, mask_text

_SHORTEST = 6
"""Characters; a shorter secret would be found in ordinary words."""


def secrets_in(options: object) -> Iterator[str]:
    """The secrets of a connector's options, and the parts of them that stand alone in headers."""
    if isinstance(options, Secret):
        text = options.reveal()
        yield from (text, text.rpartition(" ")[2], text.removeprefix("whsec_"))
    elif isinstance(options, msgspec.Struct):
        yield from secrets_in(msgspec.structs.astuple(options))
    elif isinstance(options, Mapping):
        yield from secrets_in(tuple(options.values()))
    elif isinstance(options, tuple | list):
        for one in options:
            yield from secrets_in(one)


def masked(outcome: Outcome, secrets: Iterable[str], state: Mapping[str, str]) -> Outcome:
    """The outcome without the connector's own secrets, the tokens of its state, and what looks like one."""
    tokens = (value for name, value in state.items() if is_secret_name(name))
    known = sorted({text for text in (*secrets, *tokens) if len(text) >= _SHORTEST}, key=len, reverse=True)
    answer = _without(outcome.answer.decode("utf-8", "surrogateescape"), known)
    return msgspec.structs.replace(
        outcome,
        reason=_without(outcome.reason, known),
        answer=answer.encode("utf-8", "surrogateescape")[:ANSWER_KEPT],
    )


def _without(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK)
        # an answer is kept up to a limit, which may cut a secret
        if secret[:_SHORTEST] not in text[-len(secret) :]:
            continue
        cut = next((n for n in range(len(secret) - 1, _SHORTEST - 1, -1) if text.endswith(secret[:n])), 0)
        text = text[: len(text) - cut] + MASK if cut else text
    return mask_text(text)
