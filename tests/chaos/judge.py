"""The judge: from the ledgers to the faults. Pure: the same world gives the same verdict."""

from collections import defaultdict
from dataclasses import dataclass, field

from chaos.order import delayed, reordered
from chaos.world import Call, Request, World


@dataclass(frozen=True)
class Fault:
    """One broken promise, with what shows it."""

    linkedid: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a run comes to. Any list but `repeats` that is not empty is a fault of celreplay."""

    lost: list[Fault] = field(default_factory=list)
    doubled: list[Fault] = field(default_factory=list)
    reordered: list[Fault] = field(default_factory=list)
    other: list[Fault] = field(default_factory=list)
    repeats: int = 0
    """Second records of a CRM that cannot be asked, after an answer that was lost: allowed."""

    @property
    def faults(self) -> list[Fault]:
        return [*self.lost, *self.doubled, *self.reordered, *self.other]


def judge(world: World) -> Verdict:
    """The verdict over one scenario."""
    doubled, repeats = _doubled(world)
    order = [Fault(*found) for found in reordered(world)]
    return Verdict(
        lost=_lost(world),
        doubled=doubled + _split(world),
        reordered=order,
        other=_changed(world)
        + _torn(world)
        + _unsettled(world)
        + [Fault(*found) for found in delayed(world)],
        repeats=repeats,
    )


def _lost(world: World) -> list[Fault]:
    """A call that the CRM never took. One that reached nobody outside may be left out, if celreplay says so."""
    taken = {request.linkedid for request in world.requests if request.committed is not None}
    absent = [call for call in world.calls if call.linkedid not in taken and _asked_for(world, call)]
    optional = sum(call.optional for call in absent)
    return [
        Fault(call.linkedid, f"lost: {call.kind}: {_known(world, call)}")
        for call in absent
        if not (call.optional and _left_out(world, call, optional))
    ]


def _left_out(world: World, call: Call, absent: int) -> bool:
    """By `explain`; or `status` counts as many skipped as are missing, and not one call more can have been lost."""
    said = world.explained.get(call.linkedid)
    return said["state"] == "skipped" if said else world.waiting.get("skipped") == absent


def _asked_for(world: World, call: Call) -> bool:
    return not call.history or bool(world.moments("replay"))


def _known(world: World, call: Call) -> str:
    delivery = world.explained.get(call.linkedid)
    return f"{delivery['state']}: {delivery['reason']}" if delivery else "not explained"


def _doubled(world: World) -> tuple[list[Fault], int]:
    """Sent again although it was taken: forced ones apart, each arrival is held against those before it."""
    faults: list[Fault] = []
    repeats = 0
    for requests in world.by_id().values():
        earlier: list[Request] = []
        for request in (each for each in requests if not each.forced):
            why = next(filter(None, (_sent_twice(world, before, request) for before in earlier)), "")
            if why:
                faults.append(Fault(request.linkedid, f"doubled: {request.id} {request.n}: {why}"))
            elif request.committed and any(before.committed for before in earlier):
                repeats += 1
            earlier.append(request)
    return faults, repeats


def _sent_twice(world: World, before: Request, request: Request) -> str:
    """Why this arrival should not have been, given that one; "" if it may."""
    if before.status is not None and 200 <= before.status < 300 and not _forgotten(world, before):
        return (
            f"{before.n} had been answered {before.status} {request.arrived - before.arrived:.3f} s earlier"
        )
    if world.probeable and before.committed is not None:
        return f"{before.n} had been taken ({before.fault}), and the CRM can be asked"
    return ""


def _forgotten(world: World, request: Request) -> bool:
    """Was the daemon killed or frozen, or its disk full, before it can have written the answer down?"""
    if world.probeable:
        return True  # what was forgotten is asked about, so the other rule judges it
    assert request.answered is not None
    end = request.answered + world.settle
    if request.fault == "drip":
        end += world.timeout  # the answer is over when its body is, or when the time-out is
    begin = request.arrived - world.lag
    if any(begin <= moment <= end for moment in world.moments("kill", "exit")):
        return True
    return any(
        begin <= end and request.arrived <= until + world.settle
        for ill, well in (("disk-full", "disk-free"), ("freeze", "thaw"))
        for begin, until in world.spans(ill, well)
    )


def _split(world: World) -> list[Fault]:
    """One call under two identities: another webhook-id than the rule's, or a part that is no call of its own."""
    owner = {other: call.linkedid for call in world.calls for other in call.others}
    known = {call.linkedid for call in world.calls}
    ids: dict[str, set[str]] = defaultdict(set)
    faults = []
    for request in world.requests:
        name = owner.get(request.linkedid, request.linkedid)
        if name != request.linkedid or name not in known:
            faults.append(
                Fault(name, f"doubled: {request.n} came as {request.linkedid}, which is no call of its own")
            )
        ids[name].add(request.id)
        if world.id_of and world.id_of.get(request.linkedid, request.id) != request.id:
            faults.append(Fault(name, f"doubled: {request.n} has the webhook-id {request.id}"))
    return faults + [
        Fault(name, f"doubled: under {len(found)} webhook-ids")
        for name, found in ids.items()
        if len(found) > 1
    ]


def _changed(world: World) -> list[Fault]:
    """A retry is the same bytes."""
    return [
        Fault(requests[0].linkedid, f"changed: {id_} came with {len(bodies)} bodies")
        for id_, requests in world.by_id().items()
        if len(bodies := {request.body for request in requests if not request.forced}) > 1
    ]


def _torn(world: World) -> list[Fault]:
    """What arrived is what all rows of the call say, if none of them came later than grace allows."""
    late = {call.linkedid for call in world.calls if call.late > 0.7 * world.grace}
    return [
        Fault(request.linkedid, f"torn: {request.n} is not what all of its rows say")
        for request in world.requests
        if request.revision != world.revision_of.get(request.linkedid, request.revision)
        and request.linkedid not in late
    ]


def _unsettled(world: World) -> list[Fault]:
    """At the end nothing waits any more; nothing unsigned ever came; a second daemon on the store gave up."""
    faults = [
        Fault("-", f"unsettled: {count} {state} at the end")
        for state, count in world.waiting.items()
        if count and state in ("pending", "sending", "uncertain")
    ]
    rivals = [event for event in world.events if event.what == "rival" and event.facts.get("code") != 2]
    faults += [
        Fault("-", f"unsettled: a second daemon ended with {each.facts.get('code')}") for each in rivals
    ]
    return faults + [Fault("-", f"unsettled: {world.forged} requests without a right signature")] * bool(
        world.forged
    )
