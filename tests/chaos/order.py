"""Was the order of a customer's calls kept, and did a replay hold up live ones? Judged only where it is certain.

When a delivery begins to wait stands nowhere outside celreplay. Certain is: a call cannot be queued before its last
row is written, and a row is seen within poll + grace if the daemon runs, in the order of writing if it did not. So a
call that ended `gap` seconds before another one did was queued no later than that one; and if it began earlier too,
it had to arrive earlier. Calls of a replay are compared from the moment on at which the API says that all of them
have been found.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator

from chaos.world import Call, Request, World


def reordered(world: World) -> list[tuple[str, str]]:
    """(linkedid, what) for each call that was overtaken by a later one of its number."""
    calls = {call.linkedid: call for call in world.calls}
    strands: dict[tuple[str, bool], dict[str, list[Request]]] = defaultdict(lambda: defaultdict(list))
    for request in world.requests:
        call = calls.get(request.linkedid)
        if call and call.number and not request.forced:
            strands[call.number, call.history][request.linkedid].append(request)
    found = []
    for (_, history), arrivals in strands.items():
        for first, second in _wrong(world, arrivals, calls, history=history):
            if not _passed(world, first, second):
                text = f"out of order: {first[-1].n} came after {second[0].n} of {second[0].linkedid}"
                found.append((first[0].linkedid, text))
    return found


def _wrong(
    world: World, arrivals: dict[str, list[Request]], calls: dict[str, Call], *, history: bool
) -> Iterator[tuple[list[Request], list[Request]]]:
    """Pairs of which the first should have been over when the second came, and was not."""
    looked_up = min(world.moments("looked-up"), default=float("inf"))
    order = sorted(arrivals.values(), key=lambda requests: requests[0].started_at)
    for place, first in enumerate(order):
        for second in order[place + 1 :]:
            if first[0].started_at == second[0].started_at or first[-1].arrived < second[0].arrived:
                continue
            if history:
                certain = second[0].arrived > looked_up
            else:
                certain = calls[first[0].linkedid].ended + world.gap < calls[second[0].linkedid].ended
            if certain:
                yield first, second


def _passed(world: World, first: list[Request], second: list[Request]) -> bool:
    """Does `explain` say of the second call that it passed the first, whose patience was over?"""
    said = str(world.explained.get(second[0].linkedid, ""))
    return "passed" in said and first[0].linkedid in said


def delayed(world: World) -> list[tuple[str, str]]:
    """(linkedid, what) for each live call that waited while replayed ones were sent.

    Certain is: the daemon had been up since `gap` seconds before the call ended, no earlier call of its number
    was under way, and more replayed calls began to arrive than there are workers.
    """
    history = {call.linkedid for call in world.calls if call.history}
    numbers = {call.linkedid: call.number for call in world.calls}
    replayed = sorted(
        request.arrived for request in world.requests if request.linkedid in history or request.forced
    )
    strands: dict[str, list[Request]] = defaultdict(list)
    firsts: dict[str, Request] = {}
    for request in world.requests:
        if not request.forced and request.linkedid not in history:
            strands[numbers.get(request.linkedid, "")].append(request)
            firsts.setdefault(request.linkedid, request)
    down = sorted(world.moments("kill", "term", "exit", "start", "ready", "freeze", "thaw"))
    found = []
    for call in world.calls:
        first = firsts.get(call.linkedid)
        since = call.ended + world.gap
        if first is None or call.history or first.arrived <= since:
            continue
        ahead = bisect_left(replayed, first.arrived) - bisect_right(replayed, since)
        up = bisect_left(down, call.ended - world.gap) == bisect_right(down, first.arrived)
        free = not call.number or not any(
            call.ended - world.gap < other.arrived < first.arrived for other in strands[call.number]
        )
        if up and free and ahead > 2 * world.workers:
            found.append((call.linkedid, f"delayed: {ahead} replayed calls went before it"))
    return found
