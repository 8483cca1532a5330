"""Which calls go to a connector, and why not."""

from celreplay.calls.model import Call, Direction, Disposition


def skip_reason(call: Call) -> str:
    """Why a call is not sent to any connector; empty when it is.

    An originate whose own extension never answered (a click-to-call nobody took) rang a desk and called
    nobody: no customer knows of it.
    """
    if (
        call.direction is Direction.INTERNAL
        and call.disposition is Disposition.NO_ANSWER
        and call.dialed_number is None
    ):
        return "click-to-call that its own extension never answered: nobody was called"
    return ""
