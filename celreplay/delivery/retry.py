"""When a delivery that failed is tried again. Pure."""

from collections.abc import Callable, Sequence

from celreplay.connectors.answers import RETRY_AFTER_CAP
from celreplay.times import SECOND


def next_attempt_at(
    failures: int,
    now: int,
    schedule: Sequence[float],
    jitter: float,
    retry_after: float | None,
    random: Callable[[], float],
) -> int | None:
    """The moment of the next attempt after `failures` failed ones (1 or more); None: out of attempts.

    The wait is `schedule[failures - 1]` seconds, or what the CRM asked for if that is longer (at most a day),
    and made longer by up to its `jitter`-th part, so that calls that failed together do not come back
    together. `random` gives numbers in [0, 1).
    """
    if failures > len(schedule):
        return None
    wait = max(schedule[failures - 1], min(retry_after or 0.0, RETRY_AFTER_CAP))
    return now + round(wait * (1 + jitter * random()) * SECOND)
