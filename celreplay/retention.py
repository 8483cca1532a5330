"""How long things are kept, as the configuration has it."""

import msgspec

from celreplay.units import Duration


class RetentionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`retention:` how long things stay in the store. The proof that a call was delivered stays for ever."""

    payloads: Duration = Duration(30 * 86_400)
    """Payload, attempts and answers of deliveries that were delivered, skipped or superseded."""
    dead: Duration = Duration(180 * 86_400)
    """The same of dead ones: as long they can be looked into."""
    replays: Duration = Duration(90 * 86_400)
    """Replays that have ended, with what they found."""
    calls: Duration = Duration(730 * 86_400)
    """Stored calls, from their beginning."""

    def __post_init__(self) -> None:
        for name in ("payloads", "dead"):
            if self.calls < getattr(self, name):
                raise ValueError(f"calls: is shorter than {name}: a call is kept as long as its deliveries")
