"""`explain`: the reason of every field and its rows, over every captured call."""

from functools import cache
from random import Random

import pytest
from captures_io import cases, events_of, forms_of
from msgspec import structs

from celreplay.calls.explain import FIELDS, Explained, FieldReason, explained, row_ids
from celreplay.calls.explain_rows import bridges_shown, rows_shown
from celreplay.calls.interpret import calls_of
from celreplay.calls.model import Call, Disposition
from celreplay.calls.numbering import PbxRules
from celreplay.cel.events import CelEvent
from celreplay.cel.grouping import Group, groups_of

RULES = PbxRules(system="pbx")
FROM_THE_CONFIG = {"system"}
NOTHING: tuple[object, ...] = (None, [], {})
# A row that is missing decides some (`no CHAN_START of the caller`), and a few facts stand in other rows too.
ENOUGH = 0.97


@cache
def groups(case: str, form: str = "sqlite") -> list[Group]:
    """The groups of a capture."""
    return groups_of(events_of(case, form))


@pytest.mark.parametrize(("case", "form"), [(case, form) for case in cases() for form in forms_of(case)])
def test_every_field_has_a_reason_and_its_rows(case: str, form: str) -> None:
    """Each field of each call is there with the call's value, a reason, and rows of the group."""
    for group in groups(case, form):
        ids = {row.id for row in group.events}
        found = explained(group.events, RULES)
        assert sorted(one.call.linkedid for one in found) == sorted(
            call.linkedid for call in calls_of(group.events, RULES)
        )
        for one in found:
            assert list(one.fields) == list(Call.__struct_fields__) == list(FIELDS)
            for name, field in one.fields.items():
                assert field.value == getattr(one.call, name)
                assert field.reason, name
                assert ids.issuperset(field.rows), name
                if field.value not in NOTHING and name not in FROM_THE_CONFIG:
                    assert field.rows, f"{name} = {field.value!r}: {field.reason}"


def without(events: tuple[CelEvent, ...], one: Explained, name: str) -> FieldReason | None:
    """The field when its deciding rows are gone; None where the call is gone with them."""
    gone = set(one.fields[name].rows)
    rest = explained([row for row in events if row.id not in gone], RULES)
    same = [other for other in rest if other.call.linkedid == one.call.linkedid]
    return same[0].fields[name] if same else None


@pytest.mark.parametrize("name", sorted(set(FIELDS) - FROM_THE_CONFIG))
def test_without_its_deciding_rows_a_field_is_another_one(name: str) -> None:
    """The named rows decide: without them the value or the reason differs, in nearly every capture."""
    same, tried = [], 0
    for case in cases():
        for group in groups(case):
            for one in explained(group.events, RULES):
                field = one.fields[name]
                if not field.rows:
                    continue
                tried += 1
                other = without(group.events, one, name)
                if other and (other.value, other.reason) == (field.value, field.reason):
                    same.append(f"{case} {one.call.linkedid}: {field.value!r} {field.reason}")
    assert len(same) <= max(1, (1 - ENOUGH) * tried), f"{len(same)} of {tried}: {same[:5]}"


@pytest.mark.parametrize("case", cases())
def test_the_legs_named_by_a_refusal_agree_with_it(case: str) -> None:
    """Where legs decide, at least one of them is said to have ended as the call did."""
    for group in groups(case):
        for one in explained(group.events, RULES):
            reason = one.fields["disposition"].reason
            refused = {Disposition.NO_ANSWER, Disposition.BUSY, Disposition.FAILED}
            if one.story.legs and one.call.disposition in refused:
                assert f": {one.call.disposition.value}" in reason
            if one.call.disposition is Disposition.ANSWERED:
                assert "talked first" in reason or "conference" in reason


def test_rows_that_are_missing_are_explained_too() -> None:
    """Whatever rows are lost or bare, there is an explanation of what is left, with rows that are there."""
    random = Random(20261123)  # noqa: S311 - a test
    for case in cases():
        for group in groups(case):
            rows = [row for row in group.events if random.random() < random.choice([0.3, 0.6, 0.9])]
            if random.random() < 0.3:
                rows = [structs.replace(row, extra="", appname="", appdata="") for row in rows]
            for one in explained(rows, RULES):
                assert list(one.fields) == list(FIELDS)
                assert {row.id for row in rows}.issuperset(one.fields["revision"].rows)
                rows_shown(one.story.scene, row_ids(one.story.scene.rows))
                bridges_shown(one.story.scene)


def test_a_table_without_ids_numbers_its_rows() -> None:
    """Rows without ids are called by their places in the order of writing, from 1."""
    (group,) = groups("01-in-answered-1")
    (one,) = explained([structs.replace(row, id=None) for row in group.events], RULES)
    assert one.fields["started_at"].rows == [1]
    assert one.fields["revision"].rows == [*range(1, len(group.events) + 1)]
