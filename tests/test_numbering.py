"""Inside or outside, with and without configuration."""

import re
from collections.abc import Sequence

import pytest
from captures_io import events_of, forms_of, truth_of
from msgspec.structs import asdict, replace

from celreplay.calls.interpret import calls_of
from celreplay.calls.numbering import PbxRules, is_inside, outside_number, same_number
from celreplay.cel.events import CelEvent
from celreplay.cel.grouping import groups_of

NOTHING_SAID = PbxRules(system="pbx")
CASES = [
    "01-in-answered-1",
    "02-in-abandoned-ringing-1",
    "06-in-ringgroup-3",
    "07-in-queue-answered-3",
    "10-out-answered-1",
    "13-out-failed-1",
    "14-internal-answered-1",
    "16-blind-transfer-5",
    "17-attended-transfer-5",
    "18-forward-external-3",
    "21-conference-1c",
    "22-click-to-call-1",
    "27-odd-caller-1",
]
Rename = Sequence[tuple[str, str]]
FREEPBX_CONTACTS = [(r"^PJSIP/(1\d\d),", r"PJSIP/\1/sip:\1@192.0.2.7:5060;ob,")]
CHAN_SIP = [(r"PJSIP/(\+?\d{7,})@trunk-main", r"SIP/trunk-main/\1"), (r"PJSIP/", "SIP/")]
NEUTRAL = [
    ("from-pstn", "ctx1"),
    ("from-internal", "ctx2"),
    ("from-trunk", "ctx3"),
    ("trunk-main", "itsp"),
]
ACCOUNT_NUMBER = [*NEUTRAL[:3], ("trunk-main", "74951230000")]
PHONES_WITH_NAMES = [*NEUTRAL, (r"PJSIP/(1\d\d)\b", r"PJSIP/desk\1x")]
UNUSUAL = [(r"PJSIP/(1\d\d)\b", r"PJSIP/out\1"), *NEUTRAL[:3], ("trunk-main", "4711")]


def renamed(events: list[CelEvent], rename: Rename) -> list[CelEvent]:
    """The rows as another PBX would have written them."""
    result = []
    for event in events:
        texts = {name: value for name, value in asdict(event).items() if isinstance(value, str)}
        for pattern, other in rename:
            texts = {name: re.sub(pattern, other, value) for name, value in texts.items()}
        result.append(replace(event, **texts))
    return result


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("rename", "rules"),
    [
        pytest.param([], NOTHING_SAID, id="FreePBX-like"),
        pytest.param(FREEPBX_CONTACTS, NOTHING_SAID, id="contacts dialled"),
        pytest.param(CHAN_SIP, NOTHING_SAID, id="chan_sip"),
        pytest.param(NEUTRAL, NOTHING_SAID, id="names that say nothing"),
        pytest.param(ACCOUNT_NUMBER, NOTHING_SAID, id="trunk named by its account number"),
        pytest.param(PHONES_WITH_NAMES, NOTHING_SAID, id="phones with names"),
        pytest.param(
            UNUSUAL,
            PbxRules(system="pbx", trunks=("PJSIP/4711-*",), extensions=r"1\d\d"),
            id="misleading names, configured",
        ),
    ],
)
def test_the_direction_is_found_whatever_the_names(case: str, rename: Rename, rules: PbxRules) -> None:
    """Direction, caller, outside number and who answered do not depend on how channels are named."""
    truth = truth_of(case)
    for group in groups_of(renamed(events_of(case, "sqlite"), rename)):
        (call,) = calls_of(group.events, rules)
        assert (call.direction.value, call.caller.number) == (truth["direction"], truth["caller_number"])
        assert (call.answered_by, call.dialed_number) == (truth["answered_by"], truth["dialled_number"])
        assert call.disposition.value == truth["result"]


def test_configured_trunks_and_extensions_win() -> None:
    """What the admin says counts more than any look."""
    events = events_of("14-internal-answered-1", "sqlite")
    (plain,) = calls_of(events, NOTHING_SAID)
    (trunk,) = calls_of(events, PbxRules(system="pbx", trunks=("PJSIP/158",)))
    assert (plain.direction.value, trunk.direction.value, trunk.trunk) == ("internal", "incoming", "158")
    outgoing = events_of("10-out-answered-1", "sqlite")
    (inside,) = calls_of(outgoing, PbxRules(system="pbx", extensions=r"1\d\d|79031110001"))
    assert inside.direction.value == "internal"


def test_a_wrong_expression_is_no_expression() -> None:
    """The config refuses it when it is read; here it is as if nothing stood there."""
    (call,) = calls_of(events_of("01-in-answered-1", "sqlite"), PbxRules(system="pbx", extensions="(1"))
    assert call.direction.value == "incoming"


@pytest.mark.parametrize(
    ("number", "outside"),
    [
        ("79161234501", "79161234501"),
        ("+79161234501", "+79161234501"),
        ("112", "112"),
        ("anonymous", None),
        ("", None),
        (None, None),
    ],
)
def test_only_a_number_can_be_called_back(number: str | None, outside: str | None) -> None:
    """Withheld numbers are no one's."""
    assert outside_number(number) == outside


def test_an_anonymous_caller_has_no_external_number() -> None:
    """The caller's number stays as sent; there is nobody to call back."""
    (call,) = calls_of(events_of("27-odd-caller-1", "sqlite"), NOTHING_SAID)
    assert (call.caller.number, call.external_number) == ("anonymous", None)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("79031110001", "+79031110001", True),
        ("9031110001", "89031110001", True),
        ("112", "9112", False),
        ("101", "101", True),
        ("79031110001", "79031110002", False),
        (None, "101", False),
    ],
)
def test_two_forms_of_one_number_are_the_same(one: str | None, other: str | None, same: bool) -> None:
    """A prefix that a dialplan adds or takes makes no other number, unless so little is left."""
    assert same_number(one, other) is same


def test_inside_numbers_are_short_unless_configured() -> None:
    """Two to six digits, or what the expression says."""
    assert is_inside("101", NOTHING_SAID)
    assert not is_inside("79161234501", NOTHING_SAID)
    assert is_inside("79161234501", PbxRules(system="pbx", extensions=r"7916\d+"))
    assert not is_inside("101", PbxRules(system="pbx", extensions=r"7916\d+"))


def test_the_captures_used_here_have_rows() -> None:
    """A renamed nothing would prove nothing."""
    assert all("sqlite" in forms_of(case) and events_of(case, "sqlite") for case in CASES)
