"""Arithmetic of talk and hold."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from celreplay.calls.talk import Interval, common, length, union

MOMENTS = st.integers(0, 10_000_000)
INTERVALS = st.lists(st.tuples(MOMENTS, MOMENTS).map(lambda pair: (min(pair), max(pair))), max_size=8)


def test_a_gap_under_fifty_milliseconds_is_none() -> None:
    """Moving between bridges takes up to 30 ms; a pause of the talk is longer."""
    assert union([(0, 1_000_000), (1_030_000, 2_000_000)]) == [(0, 2_000_000)]
    assert union([(0, 1_000_000), (1_060_000, 2_000_000)]) == [(0, 1_000_000), (1_060_000, 2_000_000)]


def test_two_who_talk_at_once_count_once() -> None:
    """The transferer is still there while the target talks already."""
    assert length(union([(0, 3_000_000), (2_000_000, 5_000_000)])) == 5.0


@given(INTERVALS)
def test_a_union_is_ordered_apart_and_no_longer_than_its_span(intervals: list[Interval]) -> None:
    """Whatever it is made of."""
    joined = union(intervals)
    assert all(start <= end for start, end in joined)
    assert all(one[1] < other[0] for one, other in pairwise(joined))
    assert union(reversed(intervals)) == joined
    if intervals:
        assert joined[0][0] == min(start for start, _ in intervals)
        assert joined[-1][1] == max(end for _, end in intervals)


@given(INTERVALS, INTERVALS)
def test_what_is_common_is_in_both(ones: list[Interval], others: list[Interval]) -> None:
    """An intersection is no longer than either side."""
    shared = union(common(ones, others), gap=0)
    assert length(shared) <= min(length(union(ones, gap=0)), length(union(others, gap=0))) + 0.001
