"""Which rows belong together, and when a group has ended."""

from random import Random

import pytest
from captures_io import FORMS, cases, events_of
from cel_rows import any_rows, row
from hypothesis import given
from hypothesis import strategies as st

from celreplay.cel.events import CelEvent
from celreplay.cel.grouping import Group, Grouper, groups_of
from celreplay.cel.names import is_message
from celreplay.times import SECOND

FOREVER = 1e9


def grouper_of(*events: CelEvent, seen_at: int = 0) -> Grouper:
    """All rows, seen at one moment."""
    grouper = Grouper()
    for event in events:
        grouper.add(event, seen_at)
    return grouper


def partition(groups: list[Group]) -> set[frozenset[CelEvent]]:
    """The groups as sets of rows."""
    return {frozenset(group.events) for group in groups}


def slow_partition(events: list[CelEvent]) -> set[frozenset[str]]:
    """The keys that belong together, found by joining until nothing changes."""
    sets = [
        {event.uniqueid, event.linkedid} - {""} or {""} for event in events if not is_message(event.channame)
    ]
    changed = True
    while changed:
        changed = False
        for one in sets:
            for other in sets:
                if one is not other and one & other:
                    one.update(other)
                    sets.remove(other)
                    changed = True
                    break
            if changed:
                break
    return {frozenset(found) for found in sets}


def one_call(**changes: str) -> list[CelEvent]:
    """Two channels of one linkedid, from CHAN_START to LINKEDID_END: the callee ends first."""
    caller, callee = "1.1", "1.2"
    kinds = [
        ("CHAN_START", caller),
        ("CHAN_START", callee),
        ("ANSWER", callee),
        ("ANSWER", caller),
        ("HANGUP", callee),
        ("CHAN_END", callee),
        ("HANGUP", caller),
        ("CHAN_END", caller),
        ("LINKEDID_END", caller),
    ]
    return [
        row(number, kind, uniqueid, caller, **changes) for number, (kind, uniqueid) in enumerate(kinds, 1)
    ]


@given(any_rows())
def test_rows_that_share_a_key_are_in_one_group(events: list[CelEvent]) -> None:
    """The groups are the transitive closure of sharing a linkedid or a uniqueid."""
    assert {group.keys for group in groups_of(events)} == slow_partition(events)


@given(any_rows())
def test_every_row_is_in_exactly_one_group(events: list[CelEvent]) -> None:
    """None is lost, none is in two; SIP MESSAGE is left out."""
    distinct = {event.id: event for event in reversed(events)}
    rows = [event for event in distinct.values() if event.id is not None and not is_message(event.channame)]
    found = [event for group in groups_of(rows) for event in group.events]
    assert sorted(found, key=_id) == sorted(rows, key=_id)


def _id(event: CelEvent) -> int:
    return event.id or 0


@given(st.sampled_from(cases()), st.randoms(use_true_random=False))
def test_order_and_repetition_change_no_group(case: str, random: Random) -> None:
    """Rows in any order, some of them twice, make the same groups that have ended or not."""
    events = events_of(case, "sqlite")
    mixed = [*events, *events[::3]]
    random.shuffle(mixed)
    assert set(groups_of(mixed)) == set(groups_of(events))


@given(st.sampled_from(cases()), st.data())
def test_any_split_between_two_looks_makes_the_same_groups(case: str, data: st.DataObject) -> None:
    """A look for finished groups in between takes nothing that still grows."""
    events = events_of(case, "sqlite")
    cut = data.draw(st.integers(0, len(events)))
    grouper = grouper_of(*events[:cut], seen_at=0)
    early = grouper.take_finished(now=0, grace=1, stale_after=FOREVER)
    for event in events[cut:]:
        grouper.add(event, 0)
    assert early == []
    assert partition(grouper.take_all()) == partition(groups_of(events))


def test_a_group_ends_with_its_last_channel() -> None:
    """Every channel needs its end; before that, LINKEDID_END or not, the group is open."""
    rows = one_call()
    for count in range(1, 7):
        assert not groups_of(rows[:count])[0].ended
        assert not groups_of([*rows[:count], rows[8]])[0].ended
    assert groups_of(rows)[0].ended
    assert groups_of(rows[:-1])[0].ended


def test_a_hangup_suffices_where_chan_end_is_missing() -> None:
    """HANGUP stands directly before CHAN_END; a table may lack one of them."""
    for missing in ("CHAN_END", "HANGUP"):
        assert groups_of([event for event in one_call() if event.eventtype != missing])[0].ended


def test_a_linkedid_end_begins_no_channel() -> None:
    """It names a channel whose other rows may all be lost (refused by the database): nothing is waited for."""
    rows = one_call()
    callee_and_end = [event for event in rows if event.uniqueid == "1.2"] + [rows[-1]]
    assert groups_of(callee_and_end)[0].ended


def test_a_dialplans_event_named_hangup_ends_nothing() -> None:
    """A user-defined event may have any name."""
    assert not groups_of(
        [row(1, "CHAN_START", "1.1", "1.1"), row(2, "HANGUP", "1.1", "1.1", user_defined=True)]
    )[0].ended


def test_a_repeated_beginning_does_not_reopen_a_channel() -> None:
    """A row read a second time, after the end was read, changes nothing."""
    rows = one_call()
    assert groups_of([*rows, rows[0], rows[1]])[0].ended


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "case", ["19-pickup-1", "20-parking-1", "asterisk16/20-parking-1", "17-attended-transfer-1"]
)
def test_a_linkedid_end_in_mid_call_ends_nothing(case: str, form: str) -> None:
    """On pickup, parking and attended transfer a LINKEDID_END comes while its channel lives on in an older call."""
    grouper = Grouper()
    events = events_of(case, form)
    for event in events[:-1]:
        grouper.add(event, 0)
        ended = [group for group in grouper.take_finished(now=0, grace=0, stale_after=FOREVER) if group.ended]
        if ended:
            rest = [other for other in events if other not in ended[0].events]
            assert {other.eventtype for other in rest} <= {"CHAN_END", "LINKEDID_END"}
            return
    assert len(grouper) == 1


def test_an_ended_group_is_given_away_after_grace() -> None:
    """Rows land late: the group stays for `grace` seconds after its last row was seen."""
    grouper = grouper_of(*one_call(), seen_at=10 * SECOND)
    assert grouper.take_finished(now=12 * SECOND - 1, grace=2, stale_after=FOREVER) == []
    (group,) = grouper.take_finished(now=12 * SECOND, grace=2, stale_after=FOREVER)
    assert group.keys == {"1.1", "1.2"}
    assert group.ended
    assert len(grouper) == 0


def test_a_row_seen_again_prolongs_the_wait() -> None:
    """Grace counts from the last addition."""
    grouper = grouper_of(*one_call(), seen_at=10 * SECOND)
    grouper.add(one_call()[3], 11 * SECOND)
    assert grouper.take_finished(now=12 * SECOND, grace=2, stale_after=FOREVER) == []


def test_a_group_that_never_ends_is_given_away_when_stale() -> None:
    """Asterisk was killed: nothing comes any more."""
    grouper = grouper_of(*one_call()[:3], seen_at=10 * SECOND)
    assert grouper.take_finished(now=69 * SECOND, grace=2, stale_after=60) == []
    (group,) = grouper.take_finished(now=70 * SECOND, grace=2, stale_after=60)
    assert not group.ended


def test_nothing_is_kept_of_what_was_given_away() -> None:
    """Memory depends on open groups only, and a row read over and over is held once."""
    grouper = grouper_of(*one_call() * 50)
    (group,) = grouper.take_finished(now=0, grace=0, stale_after=FOREVER)
    assert len(group.events) == 9
    assert (grouper.open_keys(), len(grouper), grouper.take_all()) == (frozenset(), 0, [])


def test_open_keys_are_those_of_open_groups() -> None:
    """What must be read again after a start."""
    grouper = grouper_of(row(1, "CHAN_START", "1.1", "1.1"), row(2, "CHAN_START", "2.2", "2.1"))
    assert grouper.open_keys() == {"1.1", "2.1", "2.2"}


def test_rows_of_sip_message_are_no_call() -> None:
    """The channel that carries SIP MESSAGE writes rows for ever and never ends."""
    assert groups_of([row(1, "CHAN_START", "1.1", "1.1", channame="Message/ast_msg_queue")]) == []


def test_events_of_a_group_are_in_the_order_of_writing() -> None:
    """By id, whatever order they came in; eventtime may run backwards."""
    rows = one_call()
    assert groups_of(reversed(rows))[0].events == tuple(rows)


def test_a_group_without_its_head_is_given_away_to_be_looked_up() -> None:
    """No CHAN_START of a linkedid's own channel: after the grace, unless it has ended or was looked up."""
    headless = grouper_of(row(1, "ANSWER", "2.1", "1.1"))
    assert headless.take_headless(now=2 * SECOND, grace=3) == []
    [group] = headless.take_headless(now=3 * SECOND, grace=3)
    assert group.keys == {"1.1", "2.1"}
    assert len(headless) == 0
    headless.add(group.events[0], 3 * SECOND, whole=True)
    assert headless.take_headless(now=9 * SECOND, grace=3) == []
    begun = grouper_of(row(1, "CHAN_START", "1.1", "1.1"), row(2, "ANSWER", "1.1", "1.1"))
    assert begun.take_headless(now=9 * SECOND, grace=3) == []
    ended = grouper_of(row(1, "CHAN_END", "2.1", "1.1"))
    assert ended.take_headless(now=9 * SECOND, grace=3) == []
