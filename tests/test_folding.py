"""Folding: the same rows make the same calls, however they come; and no customer's call is lost in another."""

from collections.abc import Iterable
from random import Random

import pytest
from captures_io import cases, events_of, truth_of
from cel_rows import any_rows
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from celreplay.calls.interpret import calls_of
from celreplay.calls.model import Call, Direction, encode
from celreplay.calls.numbering import PbxRules
from celreplay.cel.events import CelEvent
from celreplay.cel.grouping import Group, Grouper, groups_of
from celreplay.cel.names import is_message
from celreplay.times import SECOND

RULES = PbxRules(system="pbx")
CASES = [case for case in cases() if events_of(case, "sqlite")]
PLAIN = [
    case
    for case in CASES
    if truth_of(case)["direction"] == "incoming"
    and len(groups_of(events_of(case, "sqlite"))) == 1
    and not truth_of(case)["other_linkedids"]
    and events_of(case, "sqlite")[0].eventtype == "CHAN_START"
]
"""Incoming calls of one linkedid, with their beginning."""
ROWS = st.sampled_from(CASES).map(lambda case: events_of(case, "sqlite"))
Rows = list[CelEvent]


def read(rows: Iterable[CelEvent], rules: PbxRules = RULES) -> list[Call]:
    """All calls in the rows."""
    return calls_in(groups_of(rows), rules)


def calls_in(groups: Iterable[Group], rules: PbxRules = RULES) -> list[Call]:
    """All calls of the groups, by linkedid."""
    calls = [call for group in groups for call in calls_of(group.events, rules)]
    return sorted(calls, key=lambda call: call.linkedid)


@st.composite
def tables(draw: st.DrawFn) -> Rows:
    """Up to three captured calls under ids of their own, their rows mixed as a busy PBX writes them."""
    calls = [[renamed(event, number) for event in draw(ROWS)] for number in range(draw(st.integers(1, 3)))]
    random = draw(st.randoms(use_true_random=False))
    rows: Rows = []
    while any(calls):
        rows.append(random.choice([call for call in calls if call]).pop(0))
    return [replace(event, id=number) for number, event in enumerate(rows, 1)]


def renamed(event: CelEvent, number: int) -> CelEvent:
    """The row of another PBX: `systemname` stands before its ids, also in `extra`."""
    old = event.extra
    for key in ('uniqueid":"', 'local_two_uniqueid":"'):
        old = old.replace(key, f"{key}n{number}-")
    ids = {field: f"n{number}-{getattr(event, field)}" for field in ("uniqueid", "linkedid")}
    return replace(event, extra=old, **ids)


@given(tables(), st.randoms(use_true_random=False))
def test_any_order_of_the_rows_gives_the_same_calls(rows: Rows, random: Random) -> None:
    """Some of them twice; revisions included."""
    mixed = [*rows, *rows[:: random.randint(2, 9)]]
    random.shuffle(mixed)
    assert read(mixed) == read(rows)


@given(tables(), st.data())
def test_any_split_of_the_rows_over_reads_gives_the_same_calls(rows: Rows, data: st.DataObject) -> None:
    """Reads of any size, which may overlap, with a look for finished groups after each. What was taken too
    early is read again, whole, when a row of it comes: the last reading of each call is that of all rows."""
    grouper = Grouper()
    found: dict[str, Call] = {}
    start = 0
    for now in range(1, len(rows) + 2):
        stop = min(len(rows), start + data.draw(st.integers(1, 20)))
        for event in rows[max(0, start - data.draw(st.integers(0, 3))) : stop]:
            for one in reread(rows[:stop], event, grouper):
                grouper.add(one, now * SECOND)
        start = stop
        for group in grouper.take_finished(now=(now + 1) * SECOND, grace=0.5, stale_after=1e9):
            found |= {call.linkedid: call for call in calls_of(group.events, RULES)}
        if start == len(rows):
            break
    found |= {call.linkedid: call for call in calls_in(grouper.take_all())}
    whole = {call.linkedid: call for call in read(rows)}
    assert {linkedid: found[linkedid] for linkedid in whole} == whole
    folded = {one for call in whole.values() for one in call.linkedids}
    assert found.keys() <= folded  # what was delivered before it was folded is superseded, not forgotten


def reread(table: Rows, event: CelEvent, grouper: Grouper) -> Rows:
    """A row whose keys no open group has may be of a call taken before: all rows so far that belong to it."""
    if {event.uniqueid, event.linkedid} <= grouper.open_keys():
        return [event]
    groups = [group for group in groups_of(table) if event.uniqueid in group.keys]
    return [one for group in groups for one in group.events]


@given(ROWS, st.data())
def test_removing_rows_never_raises_and_only_adds_warnings(rows: Rows, data: st.DataObject) -> None:
    """Of a call without warnings a lost beginning or a lost end is told; what was told before stays told."""
    kept = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    left = [event for event, keep in zip(rows, kept, strict=True) if keep]
    whole = {call.linkedid: call for call in read(rows)}
    for call in read(left):
        assert encode(call)
        before = next((one for one in whole.values() if call.linkedid in one.linkedids), None)
        assert before is not None
        assert call.warnings or not before.warnings
        if lost_ends(rows, left, call) or begins_unseen(left, call):
            assert call.warnings
            assert not call.complete


def lost_ends(rows: Rows, left: Rows, call: Call) -> bool:
    """Some channel that was under the call's linkedid alone has rows, but neither HANGUP nor CHAN_END any more."""
    own = {event.uniqueid for event in left if event.linkedid == call.linkedid and not is_end(event)}
    own -= {event.uniqueid for event in rows if event.linkedid != call.linkedid}
    ended = {event.uniqueid for event in left if event.eventtype in ("HANGUP", "CHAN_END")}
    return bool(own - ended)


def is_end(event: CelEvent) -> bool:
    """LINKEDID_END tells nothing about the channel that it names."""
    return event.eventtype == "LINKEDID_END"


def begins_unseen(left: Rows, call: Call) -> bool:
    """The caller's CHAN_START is not there."""
    return not any(event.eventtype == "CHAN_START" and event.uniqueid in call.linkedids for event in left)


@given(st.one_of(tables(), any_rows().map(lambda rows: [replace(event, id=None) for event in rows])))
def test_every_row_is_in_exactly_one_group(rows: Rows) -> None:
    """None is lost, none is in two; two equal rows of a table without ids are one. SIP MESSAGE is left out."""
    found = [event for group in groups_of(rows) for event in group.events]
    assert len(found) == len(set(found))
    assert set(found) == {event for event in rows if not is_message(event.channame)}


@given(st.sampled_from(PLAIN), st.sampled_from(PLAIN), st.data())
def test_no_customers_call_is_lost_in_a_merge(one: str, other: str, data: st.DataObject) -> None:
    """Two incoming calls whose channels meet under the older one's linkedid, at any moment, remain two calls,
    neither with the other's linkedid."""
    first = [renamed(event, 0) for event in events_of(one, "sqlite")]
    second = [renamed(event, 1) for event in events_of(other, "sqlite")]
    callers = [call.caller for rows in (first, second) for call in read(rows)]
    moment = data.draw(st.integers(1, len(second)))  # its first row shows that it began by itself
    older = first[0].linkedid
    joined = [event if is_end(event) else replace(event, linkedid=older) for event in second[moment:]]
    rows = [*first, *second[:moment], *joined]
    calls = read(replace(event, id=number) for number, event in enumerate(rows, 1))
    assert [call.caller for call in calls] == callers
    assert not set(calls[0].linkedids) & set(calls[1].linkedids)
    assert {call.direction for call in calls} == {Direction.INCOMING}


@given(
    any_rows(),
    st.sampled_from(["", "PJSIP/trunk-*", "PJSIP/*", "Local/*"]),
    st.sampled_from(["", "10.", ".*"]),
)
def test_a_revision_depends_on_the_rows_alone(rows: Rows, trunk: str, extensions: str) -> None:
    """Whichever channels the config takes for lines, and so folds or not."""
    edited = PbxRules(system="other", trunks=(trunk,) if trunk else (), extensions=extensions)
    for group in groups_of(rows):
        plain = {call.revision for call in calls_of(group.events, RULES)}
        assert {call.revision for call in calls_of(group.events, edited)} == plain


@pytest.mark.parametrize("case", CASES)
def test_a_revision_of_a_capture_depends_on_its_rows_alone(case: str) -> None:
    """Merges, consultations and pickups fold otherwise where every endpoint is a line, or none is."""
    for group in groups_of(events_of(case, "sqlite")):
        found = [
            {call.revision for call in calls_of(group.events, PbxRules(system="pbx", trunks=trunks))}
            for trunks in ((), ("PJSIP/trunk-*",), ("PJSIP/*",), ("nothing",))
        ]
        assert all(one == found[0] for one in found)
        assert len(found[0]) == 1
