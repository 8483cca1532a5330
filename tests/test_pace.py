"""How fast a replay goes, and when it will have been sent."""

from typing import Any

from celreplay.pace import Pace, Progress
from celreplay.store.base import Replay, ReplayState
from celreplay.times import SECOND

BEGUN = 1_795_400_000 * SECOND


def replay(settled: int, **changes: Any) -> Replay:
    facts: dict[str, Any] = {
        "id": 7,
        "requested_at": BEGUN,
        "requested_by": "api:admin",
        "state": ReplayState.DELIVERING,
        "queued": 1000,
        "delivered": settled,
        "waiting": 1000 - settled,
        **changes,
    }
    return Replay(**facts)


def test_the_first_look_goes_by_the_time_since_the_request() -> None:
    """100 in 10 s: the other 900 take 90 s more."""
    now = BEGUN + 10 * SECOND
    assert Pace().seen(replay(100), now) == Progress(rate=10.0, ends_at=now + 90 * SECOND)


def test_later_looks_go_by_the_last_minute() -> None:
    """What went before, at another speed, does not count any more."""
    pace = Pace()
    for second in range(0, 130, 10):
        progress = pace.seen(replay(second // 10), BEGUN + second * SECOND)
    assert progress.rate == 0.1
    for second in range(130, 200, 10):
        progress = pace.seen(replay(12 + second - 120), BEGUN + second * SECOND)
    assert progress.rate == 1.0
    assert progress.ends_at == BEGUN + 190 * SECOND + (1000 - 82) * SECOND


def test_looks_in_quick_succession_do_not_make_the_rate_jump() -> None:
    """A watcher who asks five times a second gets a rate of the time before, not of his last look."""
    pace = Pace()
    pace.seen(replay(100), BEGUN + 10 * SECOND)
    progress = pace.seen(replay(101), BEGUN + 10 * SECOND + SECOND // 5)
    assert progress.rate == round(101 / 10.2, 3)


def test_without_movement_or_an_end_in_sight_there_is_no_end() -> None:
    """Nothing settled yet; calls are still being found; it has ended."""
    now = BEGUN + 10 * SECOND
    assert Pace().seen(replay(0), now) == Progress(rate=0.0, ends_at=None)
    assert Pace().seen(replay(0), BEGUN) == Progress(rate=None, ends_at=None)
    assert Pace().seen(replay(50, state=ReplayState.LOOKING_UP), now) == Progress(rate=5.0, ends_at=None)
    ended = replay(1000, state=ReplayState.DONE, finished_at=BEGUN + 100 * SECOND)
    assert Pace().seen(ended, BEGUN + 10_000 * SECOND) == Progress(rate=10.0, ends_at=None)


def test_a_replay_that_has_ended_is_remembered_no_longer() -> None:
    """The memory of the daemon does not grow with every replay."""
    pace = Pace()
    pace.seen(replay(10), BEGUN + SECOND)
    pace.seen(replay(1000, state=ReplayState.DONE, finished_at=BEGUN + 100 * SECOND), BEGUN + 200 * SECOND)
    again = pace.seen(replay(20), BEGUN + 20 * SECOND)
    assert again.rate == 1.0
