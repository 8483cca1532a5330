"""How the workers of a connector are divided between live and replayed deliveries. Pure."""

from collections.abc import Sequence

import msgspec

from celreplay.store.base import Claim, Lane

REPLAY_ONE_IN = 20
"""While live deliveries alone would keep every worker busy, one claim in so many is a replay's: it costs live
ones 5 % of the pace, and a replay that somebody waits for still ends."""


class Shares(msgspec.Struct, frozen=True):
    """What the replay lane has coming."""

    live_in_a_row: int = 0
    """Live claims since the replay lane last had its share."""

    @property
    def replay_at_least(self) -> int:
        """Claims that the replay lane gets next, if anything of it is due."""
        return self.live_in_a_row // (REPLAY_ONE_IN - 1)

    def after(self, claims: Sequence[Claim]) -> "Shares":
        """The shares after these claims, for which `replay_at_least` was asked. A lane that did not use its
        share had nothing due: it saves nothing up."""
        replayed = sum(claim.lane is Lane.REPLAY for claim in claims)
        if replayed < self.replay_at_least:
            return Shares()
        live = len(claims) - replayed
        return Shares(max(0, self.live_in_a_row - replayed * (REPLAY_ONE_IN - 1)) + live)


def replay_at_most(workers: int, replaying: int) -> int:
    """Workers that may turn to replayed deliveries, when `replaying` are busy with some already. One is kept
    for live ones, so that those need not wait for the end of an exchange; a single worker serves both."""
    return max(0, max(1, workers - 1) - replaying)
