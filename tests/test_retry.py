"""The retry arithmetic."""

import pytest

from celreplay.connectors.options import STANDARD_SCHEDULE
from celreplay.delivery.retry import next_attempt_at
from celreplay.times import SECOND

NOW = 1_795_400_000 * SECOND
SCHEDULE = (5.0, 300.0, 1800.0)
DAY = 86_400.0


@pytest.mark.parametrize(
    ("failures", "jitter", "drawn", "retry_after", "wait"),
    [
        pytest.param(1, 0.0, 0.9, None, 5.0, id="the first wait"),
        pytest.param(2, 0.0, 0.9, None, 300.0, id="the second wait"),
        pytest.param(3, 0.0, 0.9, None, 1800.0, id="the last wait"),
        pytest.param(4, 0.0, 0.9, None, None, id="out of attempts"),
        pytest.param(9, 0.0, 0.9, 60.0, None, id="Retry-After gives no further attempt"),
        pytest.param(2, 0.1, 0.0, None, 300.0, id="the least jitter"),
        pytest.param(2, 0.1, 0.5, None, 315.0, id="jitter"),  # 300 * (1 + 0.1 * 0.5)
        pytest.param(1, 0.0, 0.0, 60.0, 60.0, id="a longer Retry-After counts"),
        pytest.param(2, 0.0, 0.0, 60.0, 300.0, id="a shorter one does not"),
        pytest.param(1, 0.1, 1.0, 60.0, 66.0, id="jitter on Retry-After"),  # 60 * (1 + 0.1 * 1)
        pytest.param(1, 0.0, 0.0, 10 * DAY, DAY, id="Retry-After is a day at most"),
        pytest.param(1, 0.0, 0.0, 0.0, 5.0, id="Retry-After 0"),
    ],
)
def test_the_next_attempt(
    failures: int, jitter: float, drawn: float, retry_after: float | None, wait: float | None
) -> None:
    """schedule[failures - 1], or Retry-After if it is longer, times 1 + jitter * random."""
    at = next_attempt_at(failures, NOW, SCHEDULE, jitter, retry_after, lambda: drawn)
    assert at == (None if wait is None else NOW + round(wait * SECOND))


def test_the_whole_schedule() -> None:
    """Failing at once each time: ten attempts, the last 75 h 35 min 5 s after the first."""
    at, attempts = NOW, 1
    while (next_at := next_attempt_at(attempts, at, STANDARD_SCHEDULE, 0.0, None, lambda: 0.0)) is not None:
        at, attempts = next_at, attempts + 1
    assert (attempts, (at - NOW) // SECOND) == (10, 75 * 3600 + 35 * 60 + 5)


def test_no_schedule_is_one_attempt() -> None:
    """An empty schedule tries once."""
    assert next_attempt_at(1, NOW, (), 0.1, 60.0, lambda: 0.0) is None
