"""Inside or outside, with and without configuration."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from captures_io import events_of, forms_of, truth_of
from msgspec.structs import asdict, replace

from celreplay import config
from celreplay.calls.interpret import calls_of
from celreplay.calls.model import Call
from celreplay.calls.numbering import PbxRules, is_inside, outside_number, same_number
from celreplay.calls.numberplan import NumberPlan
from celreplay.cel.events import CelEvent
from celreplay.cel.grouping import groups_of
from celreplay.errors import ConfigError
from celreplay.parts import pbx_rules

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
# the contexts say nothing in these either
PLAIN = NEUTRAL[:3]
LINE = r"PJSIP/trunk-main-0*([0-9a-f]+)"
THROUGH = r"PJSIP/(\+?\d{7,})@trunk-main"
NUMERIC_SIP = [*CHAN_SIP, *PLAIN, ("trunk-main", "74951230000")]
SHORT_NUMERIC = [("trunk-main", "4951")]
IAX2 = [*PLAIN, (THROUGH, r"IAX2/itsp/\1"), (LINE, r"IAX2/itsp-\1"), ("trunk-main", "itsp")]
IAX2_USER = [*PLAIN, (THROUGH, r"IAX2/us:pw@itsp/\1"), (LINE, r"IAX2/itsp-\1"), ("trunk-main", "itsp")]
ANALOG_LINES = [*PLAIN, (THROUGH, r"DAHDI/g0/\1"), (LINE, r"DAHDI/\1-1")]
DIGITAL_LINES = [*PLAIN, (THROUGH, r"DAHDI/g0/\1"), (LINE, r"DAHDI/i1/79031110001-\1")]
ANALOG_PHONES = [*PLAIN, (r"PJSIP/1(\d\d)-0*([0-9a-f]+)", r"DAHDI/\1-1"), (r"PJSIP/1(\d\d)\b", r"DAHDI/\1")]
OPAQUE_PHONES = [
    *NEUTRAL,
    *((rf"PJSIP/1(\d){digit}\b", rf"PJSIP/9EYlf\1{sign}") for digit, sign in enumerate("TvBwKqXzRm")),
]
OPAQUE_ALL = [*OPAQUE_PHONES, (r"\bitsp\b", "Ab7xKq2Z")]
MOBILES = [*NEUTRAL, (r"PJSIP/(1\d\d)\b", r"PJSIP/79990000\1")]
OVER_FMC = [
    *NEUTRAL,
    (r"PJSIP/(1\d\d),", r"PJSIP/\1@fmc-operator,"),
    (r"PJSIP/1\d\d-", "PJSIP/fmc-operator-"),
]


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
        pytest.param(NUMERIC_SIP, NOTHING_SAID, id="chan_sip trunk named by its account number"),
        pytest.param(SHORT_NUMERIC, NOTHING_SAID, id="trunk with a short number for a name"),
        pytest.param(IAX2, NOTHING_SAID, id="IAX2"),
        pytest.param(IAX2_USER, NOTHING_SAID, id="IAX2 with a user"),
        pytest.param(ANALOG_LINES, NOTHING_SAID, id="analog lines"),
        pytest.param(DIGITAL_LINES, NOTHING_SAID, id="digital lines"),
        pytest.param(ANALOG_PHONES, NOTHING_SAID, id="analog phones"),
        pytest.param(OPAQUE_PHONES, NOTHING_SAID, id="phones with opaque names"),
        pytest.param(OPAQUE_ALL, NOTHING_SAID, id="opaque names everywhere"),
        pytest.param(OPAQUE_ALL, PbxRules(system="pbx", trunks=("Ab7xKq2Z",)), id="opaque, trunks told"),
        pytest.param(OPAQUE_ALL, PbxRules(system="pbx", extensions=r"1\d\d"), id="opaque, extensions told"),
        pytest.param(
            MOBILES,
            PbxRules(system="pbx", extensions=r"1\d\d|7999\d{7}"),
            id="mobile phones as extensions",
        ),
        pytest.param(
            OVER_FMC, PbxRules(system="pbx", trunks=("PJSIP/itsp-*",)), id="mobile phones over an FMC trunk"
        ),
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


def test_with_trunks_given_every_other_channel_is_a_phone() -> None:
    """Whatever it looks like: here an endpoint and a context named as those of an outside line are."""
    looks = [(r"PJSIP/158", "PJSIP/gateway"), ("from-internal", "from-pstn")]
    rows = [
        replace(event, cid_num="79990000158") if event.channame.startswith("PJSIP/gateway") else event
        for event in renamed(events_of("14-internal-answered-1", "sqlite"), looks)
    ]
    (looked_at,) = calls_of(rows, NOTHING_SAID)
    (told,) = calls_of(rows, PbxRules(system="pbx", trunks=("PJSIP/itsp",)))
    assert (looked_at.direction.value, told.direction.value) == ("incoming", "internal")
    assert (told.caller.number, told.answered_by) == ("79990000158", "159")


def test_a_trunk_that_the_config_forgot_is_still_one() -> None:
    """A long number that was dialled through an endpoint went out, whatever the list says."""
    (call,) = calls_of(events_of("10-out-answered-1", "sqlite"), PbxRules(system="pbx", trunks=("other",)))
    assert (call.direction.value, call.trunk) == ("outgoing", "trunk-main")
    (hairpin,) = calls_of(
        events_of("18-forward-external-3", "sqlite"), PbxRules(system="pbx", trunks=("other",))
    )
    assert (hairpin.direction.value, hairpin.trunk) == ("incoming", "trunk-main")


def test_a_group_of_lines_is_known_by_its_dial() -> None:
    """The line that a group lent has a name of its own; the number is the one that was dialled through it."""
    rename = [(THROUGH, r"DAHDI/g0/9\1"), *ANALOG_LINES[3:]]
    (call,) = calls_of(renamed(events_of("10-out-answered-1", "sqlite"), rename), NOTHING_SAID)
    assert (call.direction.value, call.external_number) == ("outgoing", "979031110001")


def test_a_short_number_on_a_digital_line_is_outside() -> None:
    """A service calls back: only an analog port may have a phone."""
    rows = [
        replace(event, cid_num="112") if event.cid_num.startswith("7") else event
        for event in renamed(events_of("01-in-answered-1", "sqlite"), DIGITAL_LINES)
    ]
    (call,) = calls_of(rows, NOTHING_SAID)
    assert (call.direction.value, call.external_number) == ("incoming", "112")


def test_a_phone_with_an_opaque_name_has_the_number_of_its_channel() -> None:
    """In `caller`, `extension` and `legs`, on either side of a call."""
    (outgoing,) = calls_of(renamed(events_of("10-out-answered-1", "sqlite"), OPAQUE_PHONES), NOTHING_SAID)
    assert (outgoing.caller.number, outgoing.extension) == ("106", "106")
    assert "9EYlf" in (outgoing.caller.channel or "")
    (incoming,) = calls_of(renamed(events_of("01-in-answered-1", "sqlite"), OPAQUE_PHONES), NOTHING_SAID)
    plain = planned("01-in-answered-1")
    assert [leg.number for leg in incoming.legs] == [leg.number for leg in plain.legs]
    assert (incoming.extension, incoming.trunk) == (plain.extension, "itsp")


def test_a_mobile_phone_is_an_extension_or_outside_as_the_config_says() -> None:
    """An FMC trunk brings phones of this PBX: its calls are inside ones unless it is a trunk like others."""
    rows = renamed(events_of("14-internal-answered-1", "sqlite"), OVER_FMC)
    phones = PbxRules(system="pbx", trunks=("PJSIP/itsp-*",))
    fmc_too = PbxRules(system="pbx", trunks=("PJSIP/itsp-*", "PJSIP/fmc-*"))
    assert [calls_of(rows, rules)[0].direction.value for rules in (phones, fmc_too)] == [
        "internal",
        "incoming",
    ]


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


Rewrites = tuple[tuple[str, str], ...]


def planned(case: str, outside: Rewrites = (), inside: Rewrites = ()) -> Call:
    """A captured call under rules for numbers."""
    plan = NumberPlan(outside=outside, inside=inside)
    (call,) = calls_of(events_of(case, "sqlite"), PbxRules(system="pbx", numbers=plan))
    return call


def test_outside_rules_make_the_outside_number() -> None:
    """An incoming call: what the caller and the dialplan wrote stays beside it."""
    call = planned("01-in-answered-1", outside=((r"7(\d{10})", r"+7\1"),))
    plain = planned("01-in-answered-1")
    assert call.external_number == f"+{plain.external_number}"
    assert (call.caller, call.dialed_number) == (plain.caller, plain.dialed_number)
    assert (call.answered_by, call.extension) == (plain.answered_by, plain.extension)


def test_both_sides_of_an_outgoing_call_follow_their_own_rules() -> None:
    """The outside party in `answered_by` and `legs`, the caller's extension in `extension`."""
    plain = planned("10-out-answered-1")
    call = planned("10-out-answered-1", outside=((r"7(.*)", r"8\1"),), inside=((r"1(\d\d)", r"51\1"),))
    outside = "8" + (plain.external_number or "")[1:]
    assert (call.external_number, call.answered_by, call.legs[-1].number) == (outside, outside, outside)
    assert call.extension == f"5{plain.extension}"
    assert (call.caller.number, call.dialed_number) == (plain.caller.number, plain.dialed_number)


def test_inside_rules_reach_phones_transfers_and_who_answered() -> None:
    """Extensions are written one way everywhere but in `caller`."""
    call = planned("16-blind-transfer-1", inside=((r"(1\d\d)", r"office-\1"),))
    assert (call.answered_by, call.extension) == ("office-161", "office-162")
    assert [leg.number for leg in call.legs] == ["office-161", "office-162"]
    assert [(one.by, one.to) for one in call.transfers] == [("office-161", "office-162")]


def test_a_customer_joined_to_another_follows_the_outside_rules() -> None:
    """The other party of a merge is no leg of this call."""
    plan = NumberPlan(outside=((r"7(.*)", r"+7\1"),), inside=((r".*", "0"),))
    calls = calls_of(events_of("26-merged-1a", "sqlite"), PbxRules(system="pbx", numbers=plan))
    assert [call.transfers[0].to for call in calls] == ["+79261110002", "+79261110001"]


def test_a_conference_is_no_number() -> None:
    """`conference 801` stays, whatever the rules."""
    call = planned("21-conference-1c", inside=((r".*", "x"),), outside=((r".*", "00"),))
    assert call.answered_by == planned("21-conference-1c").answered_by == "conference 801"


def test_each_rewrite_works_on_what_the_one_before_has_left() -> None:
    """In the order of the file; one that does not match the whole number changes nothing."""
    plan = NumberPlan(outside=((r"9(\d{7,})", r"\1"), (r"8(\d{10})", r"7\1"), (r"7(\d{10})", r"+7\1")))
    assert plan.outside_form("989261110001") == "+79261110001"
    assert plan.outside_form("79261110001") == "+79261110001"
    assert plan.outside_form("112") == "112"
    assert NumberPlan(outside=((r"26111", "x"),)).outside_form("79261110001") == "79261110001"


@pytest.mark.parametrize("sent", ["anonymous", "", "s", "Restricted"])
def test_nobody_stays_nobody_under_any_rule(sent: str) -> None:
    """A withheld number is not made up by a rewrite."""
    rows = [
        replace(event, cid_num=sent, cid_ani=sent) if event.cid_num.startswith("7") else event
        for event in events_of("01-in-answered-1", "sqlite")
    ]
    plan = NumberPlan(outside=((r".*", "79261110009"),), e164=True, region="RU")
    (call,) = calls_of(rows, PbxRules(system="pbx", numbers=plan))
    assert (call.direction.value, call.external_number) == ("incoming", None)
    assert plan.outside_form(sent) == sent


def test_a_rewrite_that_leaves_nothing_leaves_nobody() -> None:
    """So an admin drops numbers that are no customer's."""
    for nothing in ("", "nobody"):
        call = planned("01-in-answered-1", outside=((r"79.*", nothing),))
        assert (call.external_number, call.direction.value) == (None, "incoming")


@pytest.mark.parametrize(
    ("number", "region", "form"),
    [
        ("79261110001", "RU", "+79261110001"),
        ("89261110001", "RU", "+79261110001"),
        ("9261110001", "RU", "+79261110001"),
        ("+79261110001", "", "+79261110001"),
        ("+79261110001", "DE", "+79261110001"),
        ("79261110001", "", "79261110001"),
        ("2025550123", "US", "+12025550123"),
        ("112", "RU", "112"),
        ("5550123", "US", "5550123"),
        ("00", "RU", "00"),
        ("+9999999999999999999999", "RU", "+9999999999999999999999"),
    ],
)
def test_e164_adds_the_country_and_leaves_what_is_no_number(number: str, region: str, form: str) -> None:
    """Emergency numbers, local ones without an area code and nonsense stay as they are."""
    assert NumberPlan(e164=True, region=region).outside_form(number) == form


def test_e164_comes_after_the_rewrites_and_spares_extensions() -> None:
    """A prefix to get a line is taken away first."""
    plan = NumberPlan(outside=((r"9(\d{7,})", r"\1"),), e164=True, region="RU")
    assert plan.outside_form("989031110001") == "+79031110001"
    assert plan.inside_form("9261110001") == "9261110001"


RULES_OF_ALL_KINDS = (
    PbxRules(system="other", numbers=NumberPlan(outside=((r".*", "0000"),), inside=((r".*", "11"),))),
    PbxRules(system="other", numbers=NumberPlan(e164=True, region="RU")),
)


@pytest.mark.parametrize("case", CASES)
def test_no_rule_for_numbers_touches_the_revision_or_the_direction(case: str) -> None:
    """They say how a number is written, not what happened."""
    for group in groups_of(events_of(case, "sqlite")):
        plain = calls_of(group.events, NOTHING_SAID)
        for rules in RULES_OF_ALL_KINDS:
            for call, other in zip(plain, calls_of(group.events, rules), strict=True):
                assert (call.revision, call.direction) == (other.revision, other.direction)
                assert (call.caller, call.dialed_number) == (other.caller, other.dialed_number)


def written(tmp_path: Path, numbers: object) -> Path:
    """A config file with these `pbx.numbers`."""
    path = tmp_path / "celreplay.yaml"
    path.write_text(json.dumps({"cel": {"url": "sqlite:////cel.db"}, "pbx": {"numbers": numbers}}))
    return path


@pytest.mark.parametrize(
    ("numbers", "mistake"),
    [
        ({"outside": [{"match": "(", "replace": ""}]}, "pbx.numbers.outside[0].match: '(' is no regular"),
        ({"inside": [{"match": "1", "replace": "\\1"}]}, "pbx.numbers.inside[0].replace: "),
        ({"inside": [{"match": "1", "replace": "\\g<x>"}]}, "pbx.numbers.inside[0].replace: "),
        ({"outside": [{"match": "1"}]}, "pbx.numbers.outside[0].replace: is missing"),
        ({"e164": True, "region": "XX"}, "pbx.numbers.region: 'XX' is no country"),
        ({"region": "Russia"}, "pbx.numbers.region: "),
    ],
)
def test_a_wrong_rule_is_a_mistake_at_its_path(tmp_path: Path, numbers: object, mistake: str) -> None:
    """The file is refused before any call is read by it."""
    with pytest.raises(ConfigError) as refused:
        config.load(written(tmp_path, numbers), {}, {})
    assert [what for what in refused.value.mistakes if what.startswith(mistake)]


def test_the_rules_of_the_config_reach_the_interpreter(tmp_path: Path) -> None:
    """In their order, with what they are for."""
    numbers = {
        "outside": [{"match": "9(.*)", "replace": "\\1"}, {"match": "8(.*)", "replace": "7\\1"}],
        "inside": [{"match": "5(.*)", "replace": "\\1"}],
        "e164": True,
        "region": "RU",
    }
    rules = pbx_rules(config.load(written(tmp_path, numbers), {}, {}))
    assert rules.numbers == NumberPlan(
        outside=(("9(.*)", r"\1"), ("8(.*)", r"7\1")), inside=(("5(.*)", r"\1"),), e164=True, region="RU"
    )


def test_the_tables_of_numbers_are_loaded_for_those_who_want_them() -> None:
    """Without E.164 nobody pays for it."""
    program = (
        "import sys; from celreplay.calls.numberplan import NumberPlan; import celreplay.parts\n"
        "NumberPlan(outside=(('9', '8'),), region='RU').outside_form('99'); print('phonenumbers' in sys.modules)\n"
        "NumberPlan(e164=True).outside_form('99'); print('phonenumbers' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True"]
