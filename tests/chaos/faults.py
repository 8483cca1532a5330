"""What the receiver may do to a request, and how often."""

import random
from collections.abc import Mapping
from typing import Final

WELL: Final = "well"
USUAL: Final[Mapping[str, float]] = {
    "late": 0.06,  # takes the call, and answers after a while
    "slow": 0.015,  # takes the call at once, and answers when nobody waits any more
    "cut": 0.03,  # the connection is cut; the call is not taken
    "cut_taken": 0.03,  # the call is taken, then the connection is cut
    "cut_taken_late": 0.03,  # the connection is cut, the call is taken later
    "hang": 0.01,  # no answer at all; the call is not taken
    "hang_taken_late": 0.01,  # no answer; the call is taken after the client has gone
    "drip": 0.01,  # takes the call, says 200, and never comes to the end of its body
    "500": 0.03,
    "429": 0.003,
    "503": 0.003,
}
"""Probabilities per delivery; what remains is taken and answered at once."""
QUESTIONS: Final[Mapping[str, float]] = {"500": 0.04, "hang": 0.01, "cut": 0.02}
"""Probabilities per look-up; what remains is answered truly."""


class Dice:
    """Picks a fault for each request: the same ones for the same seed and rates."""

    def __init__(self, seed: str, rates: Mapping[str, float]) -> None:
        self.random = random.Random(seed)
        self.rates = dict(rates)

    def throw(self) -> str:
        """The name of a fault, or `well`."""
        left = self.random.random()
        for name, rate in self.rates.items():
            left -= rate
            if left < 0:
                return name
        return WELL
