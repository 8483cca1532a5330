"""One run of a connector's generator, as its owner sees it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from celreplay.connectors.base import Checkpoint, Outcome
from celreplay.connectors.state import SharedState


class ClaimLostError(Exception):
    """A checkpoint was refused: the claim belongs to somebody else now, nothing more may be sent for it."""


class BrokenConnectorError(Exception):
    """A bug in a connector."""


async def _always() -> Outcome | None:
    return None


async def _no_checkpoint(_checkpoint: Checkpoint) -> bool:
    return True


@dataclass
class Trip:
    """One run of a generator, as its owner sees it, also when he has to cut it short."""

    state: SharedState = field(default_factory=SharedState)
    on_checkpoint: Callable[[Checkpoint], Awaitable[bool]] = _no_checkpoint
    """Stores a checkpoint; False when the claim is no longer ours."""
    permit: Callable[[], Awaitable[Outcome | None]] = _always
    """Waits until a request may leave; the outcome of the run where that would take too long."""
    left: bool = False
    """A request of this run may have reached the CRM."""
    current_left: bool = False
    """The request under way may have."""

    def request_leaves(self) -> None:
        """A connection stands: from here on nobody knows how far the request has come."""
        self.left = self.current_left = True

    async def keep(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint. Raises ClaimLostError, BrokenConnectorError, and what the owner raises."""
        try:
            ours = await self.on_checkpoint(checkpoint)
        except IndexError as error:
            what = f"a checkpoint for delivery {checkpoint.index}, which is none"
            raise BrokenConnectorError(what) from error
        if not ours:
            raise ClaimLostError
