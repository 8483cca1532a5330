"""Which calls go to which connector: the first rule of the list that matches decides."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from crm_server import CrmServer
from factories import make_call
from running import Pbx, run, until

from celreplay.calls.model import Call, Caller, Direction, Disposition
from celreplay.calls.rules import rule_of, skip_reason
from celreplay.config import Config, load
from celreplay.connectors.table import OPTIONS
from celreplay.errors import ConfigError
from celreplay.parts import rules_of

HEAD = """
pbx: {name: office}
cel: {url: sqlite:////tmp/cel.db}
connectors:
  crm: &webhook {type: webhook, url: "http://127.0.0.1:1/", secret: whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}
  reports: *webhook
rules:
"""
Loaded = Callable[..., Config]


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    def load_rules(*lines: str) -> Config:
        path = tmp_path / "celreplay.yaml"
        path.write_text(HEAD + "".join(f"  - {line}\n" for line in lines))
        return load(path, OPTIONS)

    return load_rules


def reason(config: Config, call: Call, connector: str = "crm") -> str:
    return skip_reason(call, connector, rules_of(config))


CASES: Mapping[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "direction": (
        "direction: [internal, outgoing]",
        {"direction": Direction.OUTGOING},
        {"direction": Direction.INCOMING},
    ),
    "disposition": (
        "disposition: ivr_only",
        {"disposition": Disposition.IVR_ONLY},
        {"disposition": Disposition.VOICEMAIL},
    ),
    "trunk": ("trunk: trunk-b*", {"trunk": "trunk-b2"}, {"trunk": "old-trunk-b2"}),
    "DID": ("did: ['+12025550100', '100']", {"dialed_number": "100"}, {"dialed_number": "1001"}),
    "number": (
        "number: '+1202555*'",
        {"external_number": "+12025550123"},
        {"external_number": "12025550123"},
    ),
    "expression": (
        r"number: '/\+?1202555\d{4}/'",
        {"external_number": "12025550123"},
        {"external_number": "120255501234"},
    ),
    "no number": ("number: ''", {"external_number": None}, {"external_number": "+12025550123"}),
    "caller": ("caller: '2??'", {"caller": Caller(number="201")}, {"caller": Caller(number="2010")}),
    "extension": ("extension: '/10[0-4]/'", {"extension": "104"}, {"extension": "105"}),
    "queue": ("queue: support", {"queue": "support"}, {"queue": None}),
    "account": ("accountcode: private", {"accountcode": "private"}, {"accountcode": "Private"}),
    "short": ("duration_below: 3 s", {"duration": 2.999}, {"duration": 3.0}),
    "no end": ("duration_from: 0 s", {"duration": 0.0}, {"duration": None}),
    "talk": ("{talk_from: 1 s, talk_below: 5 s}", {"talk": 1.0}, {"talk": 5.0}),
    "recorded": ("recorded: no", {"recordings": []}, {"recordings": ["/rec/1.wav"]}),
    "complete": ("complete: false", {"complete": False}, {"complete": True}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_condition_matches_the_whole_of_what_it_names(loaded: Loaded, name: str) -> None:
    """Each kind of condition: a call that meets it, and one that just does not."""
    condition, meets, misses = CASES[name]
    config = loaded(f"{{skip: private, {condition.strip('{}')}}}")
    assert reason(config, make_call(**meets)) == "rule 1: private"
    assert reason(config, make_call(**misses)) == ""


def test_the_first_rule_that_matches_decides(loaded: Loaded) -> None:
    """A white list: some are sent whatever follows, all others are skipped with that rule as the reason."""
    config = loaded("{send: our customers, number: '+1202*'}", "{skip: everybody else}")
    assert reason(config, make_call(external_number="+12025550123")) == ""
    assert reason(config, make_call(external_number="+498912345")) == "rule 2: everybody else"


def test_all_conditions_of_a_rule_must_be_met(loaded: Loaded) -> None:
    """Two conditions: a call that meets one of them is sent."""
    config = loaded("{skip: short ones from trunk b, trunk: b, duration_below: 5 s}")
    assert reason(config, make_call(trunk="b", duration=4.0)) != ""
    assert reason(config, make_call(trunk="b", duration=6.0)) == ""
    assert reason(config, make_call(trunk="a", duration=4.0)) == ""


def test_a_rule_may_be_for_some_connectors_only(loaded: Loaded) -> None:
    """The others send the call."""
    config = loaded("{skip: not for reports, connectors: reports}")
    assert (reason(config, make_call()), reason(config, make_call(), "reports")) == (
        "",
        "rule 1: not for reports",
    )


def test_a_click_to_call_that_nobody_took_is_skipped_unless_a_rule_sends_it(loaded: Loaded) -> None:
    """It called nobody; who wants it says so."""
    nobody = make_call(
        direction=Direction.INTERNAL,
        disposition=Disposition.NO_ANSWER,
        dialed_number=None,
        external_number=None,
    )
    assert "click-to-call" in skip_reason(nobody, "crm")
    assert reason(loaded("{send: also these, direction: internal}"), nobody) == ""


def test_numbers_may_stand_in_a_file_of_their_own(loaded: Loaded, tmp_path: Path) -> None:
    """One a line, with blanks and remarks as people write them; a file that cannot be read is a mistake."""
    numbers = tmp_path / "private.txt"
    numbers.write_text("# family\n+1 202 555-0123  # not for the CRM\n\n+12025550124\n")
    config = loaded(f"{{skip: private, number: '100', number_file: {numbers}}}")
    told = [reason(config, make_call(external_number=one)) for one in ("+12025550123", "100", "+12025550125")]
    assert told == ["rule 1: private", "rule 1: private", ""]
    numbers.unlink()
    with pytest.raises(ConfigError, match=r"rules\[0\].number_file: .*private.txt: No such file"):
        rules_of(config)


@pytest.mark.parametrize(
    ("rule", "mistake"),
    [
        ("{direction: internal}", "rules[0]: needs either `skip: REASON` or `send: REASON`"),
        ("{skip: a, send: b}", "rules[0]: needs either"),
        (
            "{skip: a, connectors: cmr}",
            "rules[0].connectors: there is no connector 'cmr'; did you mean 'crm'?",
        ),
        ("{skip: a, direction: inside}", "rules[0].direction: 'inside' is not possible"),
        ("{skip: a, number: '/1(/'}", "rules[0].number: '1(' is no regular expression"),
        ("{skip: a, talk_from: 5 s, talk_below: 5 s}", "rules[0].talk_from: no call is at least 5 s"),
        ("{skip: a, nummer: 1}", "rules[0].nummer: is unknown; did you mean 'number'?"),
    ],
)
def test_a_wrong_rule_is_a_mistake_with_its_place(loaded: Loaded, rule: str, mistake: str) -> None:
    """Told when the file is read, like every other mistake."""
    with pytest.raises(ConfigError) as told:
        loaded(rule)
    assert any(one.startswith(mistake) for one in told.value.mistakes), told.value.mistakes


def test_a_rule_without_conditions_matches_every_call(loaded: Loaded) -> None:
    """As the last one of a list it turns the default round."""
    [config] = loaded("{skip: nothing goes out yet}").rules
    assert rule_of(config, 7).matches(make_call(), "crm")
    assert rule_of(config, 7).reason == "rule 7: nothing goes out yet"


async def test_the_daemon_keeps_to_the_rules(tmp_path: Path) -> None:
    """A real daemon: the call that a rule skips is not sent, and the list says which rule it was."""
    async with CrmServer() as crm:
        pbx = Pbx(tmp_path, crm.url)
        pbx.options["rules"] = [{"skip": "too long", "duration_from": "4 s"}]
        async with pbx.daemon():
            written = pbx.happens(6)
            await until(lambda: len(crm.linkedids()) >= 2)
            command = [
                sys.executable,
                "-m",
                "celreplay",
                "deliveries",
                "list",
                "-c",
                str(pbx.config),
                "--json",
            ]
            listed: list[dict[str, Any]] = []
            while len(listed) < 6:
                _, out, _ = await run(*command)
                listed = json.loads(out)["deliveries"]
    skipped = {one["linkedid"] for one in listed if one["reason"] == "rule 1: too long"}
    assert skipped
    assert set(crm.linkedids()) == set(written) - skipped
