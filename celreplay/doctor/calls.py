"""What the latest calls tell about `pbx.trunks` and `pbx.extensions`. Pure."""

from collections import Counter
from collections.abc import Sequence

from celreplay.calls.model import Call, Direction
from celreplay.doctor.findings import Finding, ok, warning

_TOLERATED = 0.05
"""Share of calls whose direction may stay unknown."""


def about_calls(calls: Sequence[Call]) -> list[Finding]:
    """Whether lines are told from phones."""
    if not calls:
        return [ok("trunks", "no call has ended yet")]
    trunks = Counter(call.trunk for call in calls if call.trunk)
    unknown = [call for call in calls if call.direction is Direction.UNKNOWN]
    listed = ", ".join(f"{name} ({count})" for name, count in trunks.most_common(8))
    if len(unknown) > _TOLERATED * len(calls):
        channels = Counter(call.caller.channel for call in unknown if call.caller.channel)
        example = next(iter(channels), "none")
        return [
            warning(
                "trunks",
                f"in {len(unknown)} of {len(calls)} calls nothing tells lines from phones ({example})",
                "name the outside lines in pbx.trunks, or the inside numbers in pbx.extensions",
            )
        ]
    if not trunks:
        return [
            warning(
                "trunks",
                f"none of {len(calls)} calls came in or went out: no outside line was recognised",
                "where calls do come from outside, name the lines in pbx.trunks: [PJSIP/NAME*]",
            )
        ]
    return [ok("trunks", f"recognised as outside lines: {listed}")]
