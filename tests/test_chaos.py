"""The judge of the chaos runs can find each fault it is there for, and none where there is none."""

from dataclasses import replace

from chaos.judge import Verdict, judge
from chaos.world import Call, Event, Request, World, calls_of, events_of, requests_of

FIRST = Call(linkedid="1.1", ended=100.0, number="447700900001")
SECOND = Call(linkedid="2.1", ended=110.0, number="447700900001")


def arrival(linkedid: str, at: float, **facts: object) -> Request:
    """Taken and answered at once, unless the facts say something else."""
    usual: dict[str, object] = {
        "n": f"0.{at}",
        "id": f"call_{linkedid}",
        "linkedid": linkedid,
        "started_at": linkedid,
        "arrived": at,
        "committed": at,
        "answered": at,
        "status": 200,
    }
    return Request(**(usual | facts))  # type: ignore[arg-type]


UNANSWERED: dict[str, object] = {"answered": None, "status": None, "fault": "cut_taken"}
REFUSED: dict[str, object] = {"committed": None, "status": 500, "fault": "500"}


def world(*requests: Request, **facts: object) -> World:
    usual: dict[str, object] = {"calls": [FIRST, SECOND], "events": []}
    return World(requests=sorted(requests, key=lambda r: r.arrived), **(usual | facts))  # type: ignore[arg-type]


def counts(verdict: Verdict) -> tuple[int, int, int, int]:
    return len(verdict.lost), len(verdict.doubled), len(verdict.reordered), len(verdict.other)


def test_a_run_in_which_all_went_well_has_no_fault() -> None:
    """Every call taken once and in order."""
    verdict = judge(world(arrival("1.1", 101), arrival("2.1", 111)))
    assert verdict.faults == []
    assert verdict.repeats == 0


def test_a_call_that_was_never_taken_is_lost() -> None:
    """Whether it never came, or came and was not taken."""
    assert counts(judge(world(arrival("1.1", 101)))) == (1, 0, 0, 0)
    assert counts(judge(world(arrival("1.1", 101), arrival("2.1", 111, **REFUSED)))) == (1, 0, 0, 0)


def test_an_internal_call_may_be_left_out_if_it_says_so() -> None:
    """No loss is only what `explain` calls skipped, and only where nobody outside was called."""
    said = {"2.1": {"state": "skipped", "reason": "internal"}}
    optional = [FIRST, replace(SECOND, optional=True)]
    assert counts(judge(world(arrival("1.1", 101), calls=optional, explained=said))) == (0, 0, 0, 0)
    assert counts(judge(world(arrival("1.1", 101), calls=optional))) == (1, 0, 0, 0)
    assert counts(judge(world(arrival("1.1", 101), explained=said))) == (1, 0, 0, 0)
    for skipped, expected in ((1, 0), (0, 1), (2, 1)):
        verdict = judge(world(arrival("1.1", 101), calls=optional, waiting={"skipped": skipped}))
        assert len(verdict.lost) == expected


def test_calls_of_the_past_are_lost_only_if_somebody_asked_for_them() -> None:
    """What was written before the first start is sent by a replay."""
    past = [FIRST, replace(SECOND, history=True)]
    assert counts(judge(world(arrival("1.1", 101), calls=past))) == (0, 0, 0, 0)
    assert counts(judge(world(arrival("1.1", 101), calls=past, events=[Event(1.0, "replay")]))) == (
        1,
        0,
        0,
        0,
    )


def test_what_was_answered_and_comes_again_is_doubled() -> None:
    """A 2xx that had left, and no kill near it."""
    verdict = judge(world(arrival("1.1", 101), arrival("1.1", 105), arrival("2.1", 111)))
    assert counts(verdict) == (0, 1, 0, 0)
    assert "0.101 had been answered 200" in verdict.doubled[0].what


def test_an_answer_that_a_kill_made_forgotten_may_be_asked_for_again() -> None:
    """Killed while it was sent or up to two seconds after the answer; not if it was killed earlier or later."""
    requests = arrival("1.1", 101), arrival("1.1", 105), arrival("2.1", 111)
    for kill, expected in ((100.5, 1), (100.7, 0), (102.5, 0), (103.5, 1)):
        verdict = judge(world(*requests, events=[Event(kill, "kill")]))
        assert len(verdict.doubled) == expected
        assert verdict.repeats == 1 - expected


def test_an_answer_without_end_may_be_forgotten_until_the_time_out() -> None:
    """The status had left at once, but the exchange was not over."""
    requests = arrival("1.1", 101, fault="drip"), arrival("1.1", 105), arrival("2.1", 111)
    for kill, expected in ((104.4, 0), (104.6, 1)):
        verdict = judge(world(*requests, timeout=1.5, events=[Event(kill, "kill")]))
        assert len(verdict.doubled) == expected


def test_a_disk_that_is_full_makes_forgotten_too() -> None:
    """From the moment it is full until two seconds after it is free again."""
    requests = arrival("1.1", 101), arrival("1.1", 125), arrival("2.1", 131)
    for full, free, expected in ((95.0, 105.0, 0), (103.5, 105.0, 1), (90.0, 98.0, 1)):
        events = [Event(full, "disk-full"), Event(free, "disk-free")]
        assert len(judge(world(*requests, events=events)).doubled) == expected


def test_a_daemon_that_stood_still_may_have_missed_the_answer() -> None:
    """It came while the process was frozen: when that goes on, its time-out is over."""
    requests = arrival("1.1", 101), arrival("1.1", 105), arrival("2.1", 111)
    for freeze, expected in ((101.5, 0), (103.5, 1)):
        events = [Event(freeze, "freeze"), Event(freeze + 1, "thaw")]
        assert len(judge(world(*requests, events=events)).doubled) == expected


def test_a_repeat_after_a_lost_answer_is_allowed_where_nobody_can_be_asked() -> None:
    """It is counted, as what the CRM took twice."""
    verdict = judge(world(arrival("1.1", 101, **UNANSWERED), arrival("1.1", 105), arrival("2.1", 111)))
    assert counts(verdict) == (0, 0, 0, 0)
    assert verdict.repeats == 1


def test_a_repeat_after_a_lost_answer_is_doubled_where_the_crm_can_be_asked() -> None:
    """Even if the answer was forgotten by a kill; not if the first one had not been taken."""
    twice = arrival("1.1", 101, **UNANSWERED), arrival("1.1", 105), arrival("2.1", 111)
    assert counts(judge(world(*twice, probeable=True))) == (0, 1, 0, 0)
    killed = arrival("1.1", 101), arrival("1.1", 105), arrival("2.1", 111)
    assert counts(judge(world(*killed, probeable=True, events=[Event(101.2, "kill")]))) == (0, 1, 0, 0)
    refused = arrival("1.1", 101, **REFUSED), arrival("1.1", 105), arrival("2.1", 111)
    assert counts(judge(world(*refused, probeable=True))) == (0, 0, 0, 0)


def test_what_a_person_asks_for_again_is_not_doubled() -> None:
    """The header celreplay-attempt: forced."""
    verdict = judge(world(arrival("1.1", 101), arrival("1.1", 105, forced=True), arrival("2.1", 111)))
    assert verdict.faults == []


def test_one_call_under_two_identities_is_doubled() -> None:
    """Two webhook-ids, another id than the rule's, or a folded part sent as a call."""
    both = arrival("1.1", 101), arrival("2.1", 111)
    assert len(judge(world(*both, arrival("1.1", 105, id="call_x"))).doubled) == 1
    assert len(judge(world(*both, id_of={"1.1": "call_y"})).doubled) == 1
    folded = [FIRST, replace(SECOND, others=("3.1",))]
    assert len(judge(world(*both, arrival("3.1", 112), calls=folded)).doubled) == 2
    assert len(judge(world(*both, arrival("9.9", 112))).doubled) == 1


def test_a_later_call_that_comes_first_is_out_of_order() -> None:
    """Both had ended, and so waited; it is judged by the beginnings, and only within one number."""
    swapped = arrival("1.1", 120), arrival("2.1", 115)
    assert counts(judge(world(*swapped))) == (0, 0, 1, 0)
    for other in ("447700900002", ""):
        assert judge(world(*swapped, calls=[FIRST, replace(SECOND, number=other)])).faults == []
    withheld = [replace(FIRST, number=""), replace(SECOND, number="")]
    assert judge(world(*swapped, calls=withheld)).faults == []


def test_a_call_in_trouble_holds_the_later_ones() -> None:
    """The first came in time and was refused: its retry after the second one shows that it was passed."""
    verdict = judge(world(arrival("1.1", 101, **REFUSED), arrival("2.1", 111), arrival("1.1", 113)))
    assert counts(verdict) == (0, 0, 1, 0)


def test_a_call_that_may_not_have_been_queued_holds_nobody() -> None:
    """It ended later than the other one, or hardly earlier."""
    swapped = arrival("1.1", 120), arrival("2.1", 115)
    for ended in (109.0, 112.0):
        assert judge(world(*swapped, calls=[replace(FIRST, ended=ended), SECOND])).faults == []


def test_a_recorded_pass_is_no_fault() -> None:
    """`explain` tells of each call that went by one that kept failing, and by which."""
    swapped = arrival("1.1", 120), arrival("2.1", 115)
    for passed, expected in (("1.1", 0), ("9.9", 1)):
        said = {"2.1": {"state": "delivered", "reason": f"passed {passed}, which keeps failing"}}
        assert len(judge(world(*swapped, explained=said)).reordered) == expected


def test_replayed_calls_are_held_to_the_order_once_all_are_found() -> None:
    """Before the look-up is over, the earlier one may not have been found yet."""
    past = [replace(FIRST, history=True), replace(SECOND, history=True)]
    swapped = arrival("1.1", 120), arrival("2.1", 115)
    for looked_up, expected in ((114.0, 1), (116.0, 0)):
        events = [Event(99.0, "replay"), Event(looked_up, "looked-up")]
        assert len(judge(world(*swapped, calls=past, events=events)).reordered) == expected


def test_live_calls_that_wait_behind_a_replay_are_found() -> None:
    """More replayed calls than workers went before one that was ready, and the daemon was up all the time."""
    past = [Call(linkedid=f"0.{n}", ended=1.0, history=True) for n in range(12)]
    replayed = [arrival(call.linkedid, 104 + n / 10) for n, call in enumerate(past)]
    late = [*replayed, arrival("1.1", 106), arrival("2.1", 111)]
    facts: dict[str, object] = {"calls": [*past, FIRST, SECOND], "events": [Event(1.0, "replay")]}
    assert counts(judge(world(*late, **facts))) == (0, 0, 0, 1)
    assert (
        judge(world(*late, **facts | {"events": [Event(1.0, "replay"), Event(103.0, "kill")]})).faults == []
    )
    assert judge(world(*replayed, arrival("1.1", 102), arrival("2.1", 111), **facts)).faults == []


def test_a_body_that_changes_and_a_call_that_is_not_whole_are_found() -> None:
    """A retry is the same bytes; the revision is that of all rows."""
    retried = arrival("1.1", 101, body="a", **REFUSED), arrival("1.1", 105, body="b"), arrival("2.1", 111)
    assert counts(judge(world(*retried))) == (0, 0, 0, 1)
    assert counts(judge(world(arrival("1.1", 101), arrival("2.1", 111), revision_of={"1.1": "x"}))) == (
        0,
        0,
        0,
        1,
    )


def test_a_row_that_came_later_than_grace_allows_is_not_the_daemons_fault() -> None:
    """The call was delivered without it, as the documents say; a little late is no excuse."""
    both = arrival("1.1", 101), arrival("2.1", 111)
    for late, expected in ((0.4, 0), (0.3, 1)):
        calls = [replace(FIRST, late=late), SECOND]
        assert len(judge(world(*both, calls=calls, revision_of={"1.1": "x"})).other) == expected


def test_a_second_daemon_that_does_not_give_up_is_found() -> None:
    """Exit code 2: nothing was done."""
    both = arrival("1.1", 101), arrival("2.1", 111)
    for code, expected in ((2, 0), (0, 1), (None, 1)):
        verdict = judge(world(*both, events=[Event(5.0, "rival", {"code": code})]))
        assert len(verdict.other) == expected


def test_what_waits_at_the_end_and_what_is_not_signed_is_found() -> None:
    """A run ends when everything is well and delivered."""
    both = arrival("1.1", 101), arrival("2.1", 111)
    assert counts(judge(world(*both, waiting={"pending": 1, "delivered": 2}))) == (0, 0, 0, 1)
    assert counts(judge(world(*both, forged=3))) == (0, 0, 0, 1)


def test_the_ledgers_are_read_as_they_were_written() -> None:
    """Arrival, commit and answer of one request are put together by its number."""
    line = {"n": "0.1", "id": "call_a", "linkedid": "1.1", "started_at": "s", "body": "b"}
    arrived = {"t": 5.0, "kind": "arrival", "revision": "r", "fault": "well", "attempt": "forced", **line}
    requests = requests_of(
        [
            {"t": 4.0, "kind": "up"},
            arrived,
            {"t": 6.0, "kind": "commit", "n": "0.1", "id": "call_a"},
            {"t": 7.0, "kind": "answer", "n": "0.1", "status": 200},
        ]
    )
    assert [(r.arrived, r.committed, r.answered, r.status, r.forced) for r in requests] == [
        (5.0, 6.0, 7.0, 200, True)
    ]
    call = {
        "linkedid": "1.1",
        "others": ["1.2"],
        "number": "1",
        "late": 0.0,
        "ended": 9.0,
        "call": "k",
        "optional": False,
        "history": True,
    }
    assert calls_of([{"t": 1.0, "kind": "call", **call}])[0].others == ("1.2",)
    assert events_of([{"t": 1.0, "kind": "kill"}])[0].what == "kill"
