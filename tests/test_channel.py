"""Names that Asterisk writes, and rows folded into channels."""

import msgspec
import pytest
from captures_io import events_of
from cel_rows import row

from celreplay.cel import names
from celreplay.cel.fold import fields_of, read
from celreplay.cel.names import Target
from celreplay.cel.timeline import in_order, repaired
from celreplay.times import SECOND


@pytest.mark.parametrize(
    ("name", "technology", "endpoint"),
    [
        pytest.param("PJSIP/trunk-main-00000023", "PJSIP", "trunk-main", id="endpoint with a hyphen"),
        pytest.param("SIP/101-0000001a", "SIP", "101", id="chan_sip"),
        pytest.param("DAHDI/i1/79031110001-1", "DAHDI", "i1", id="span of a line"),
        pytest.param("PJSIP/trunk-main-000", "PJSIP", "trunk-main", id="cut by a short column"),
        pytest.param(
            "Local/141@from-queue-0000000b;1", "Local", "141@from-queue", id="half of a Local channel"
        ),
        pytest.param("nonsense", "nonsense", "", id="no channel name"),
        pytest.param("", "", "", id="NULL"),
    ],
)
def test_a_channel_name_tells_technology_and_endpoint(name: str, technology: str, endpoint: str) -> None:
    """The part behind the last hyphen is the channel's number."""
    assert (names.technology_of(name), names.endpoint_of(name)) == (technology, endpoint)


@pytest.mark.parametrize(
    "name",
    [
        "Local/141@from-queue-0000000b;1",
        "CBAnn/801-00000002;2",
        "Surrogate/x",
        "Message/ast_msg_queue",
        "PJSIP/101-00000001<ZOMBIE>",
    ],
)
def test_some_channels_are_nobody(name: str) -> None:
    """Local halves, announcers, shells of masquerades, messages."""
    assert not names.is_somebody(name)


def test_halves_of_a_local_channel_know_each_other() -> None:
    """;1 and ;2 of the same name."""
    assert names.local_partner("Local/141@from-queue-0000000b;1") == "Local/141@from-queue-0000000b;2"
    assert names.local_partner("Local/141@from-queue-0000000b;2") == "Local/141@from-queue-0000000b;1"
    assert names.local_partner("PJSIP/101-00000001") == ""
    assert names.local_exten("Local/141@from-queue-0000000b;1") == "141"


@pytest.mark.parametrize(
    ("appdata", "targets"),
    [
        pytest.param(
            "PJSIP/79031110001@trunk-main,60,T",
            [Target("trunk-main", "79031110001")],
            id="number at endpoint",
        ),
        pytest.param("PJSIP/101,20,HhTtrkKb(func^s^1)", [Target("101", "")], id="endpoint"),
        pytest.param(
            "SIP/trunk-main/79031110001,60", [Target("trunk-main", "79031110001")], id="endpoint then number"
        ),
        pytest.param("PJSIP/101/sip:101@192.0.2.7:5060;ob,20", [Target("101", "")], id="contact of a phone"),
        pytest.param(
            "PJSIP/out/sip:79031110001@192.0.2.7",
            [Target("out", "79031110001")],
            id="address through an endpoint",
        ),
        pytest.param("IAX2/user:secret@office/200", [Target("office", "200")], id="IAX2"),
        pytest.param("DAHDI/g1/79031110001", [Target("g1", "79031110001")], id="DAHDI"),
        pytest.param("Local/124@rg-leg/n&PJSIP/125,20", [Target("", "124"), Target("125", "")], id="several"),
        pytest.param("", [], id="none"),
    ],
)
def test_the_data_of_dial_names_its_targets(appdata: str, targets: list[Target]) -> None:
    """Every way of naming a destination that a dialplan uses."""
    assert names.targets_of(appdata) == targets


def test_a_uniqueid_tells_the_second_of_its_channel() -> None:
    """`[systemname-]epoch.counter`, and nothing of another form."""
    assert names.epoch_of("1795396140.0") == 1795396140
    assert names.epoch_of("pbx-1-1795396895.12") == 1795396895
    assert names.epoch_of("asterisk-101") is None
    assert sorted(["1795396140.10", "odd", "1795396140.9", "1795396139.77"], key=names.age_of) == [
        "1795396139.77",
        "1795396140.9",
        "1795396140.10",
        "odd",
    ]


@pytest.mark.parametrize("text", ["", "s", "h", "<unknown>", " "])
def test_some_numbers_name_nobody(text: str) -> None:
    """`s` and the like never stand for a number."""
    assert names.real_number(text) is None


def test_pairs_of_a_cut_extra_that_are_whole_count() -> None:
    """A column that is too short cuts JSON in the middle."""
    event = row(
        1, "HANGUP", "1.1", "1.1", extra='{"hangupcause":17,"hangupsource":"PJSIP/101-00000001","dialst'
    )
    assert fields_of(event) == {"hangupcause": 17, "hangupsource": "PJSIP/101-00000001"}


def test_rows_fold_into_channels() -> None:
    """What a channel was, when it lived, where it talked."""
    scene = read(events_of("01-in-answered-1", "sqlite"))
    caller, callee = scene.channels["1795396140.0"], scene.channels["1795396140.1"]
    assert (caller.number, caller.exten, caller.dnid) == ("79161234501", "74951230101", "74951230101")
    assert (callee.endpoint, callee.cause, callee.source) == ("101", 16, "PJSIP/101-00000001")
    assert [app.name for app in caller.apps] == ["dial"]
    (stay,) = callee.talks
    assert round(((stay.leave or 0) - stay.enter) / SECOND) == 3


def test_a_channel_knows_every_linkedid_it_was_under() -> None:
    """A picking phone comes under the caller's linkedid, and no row announces it."""
    scene = read(events_of("19-pickup-1", "sqlite"))
    assert scene.channels["1795396148.69"].linkedids == ["1795396148.69", "1795396146.49"]


def test_a_parking_lot_is_no_conversation() -> None:
    """`holding_bridge` is never an answer; without `extra` PARK_START tells it."""
    events = events_of("20-parking-1", "sqlite")
    poor = [row(e.id or 0, e.eventtype, e.uniqueid, e.linkedid, channame=e.channame) for e in events]
    for rows in (events, poor):
        assert [stay.parked for stay in read(rows).channels["1795396146.53"].stays] == [False, True, False]


def test_a_stay_whose_exit_was_lost_ends_where_the_next_begins() -> None:
    """Nobody is in two bridges."""
    rows = [
        row(1, "CHAN_START", "1.1", "1.1"),
        row(2, "BRIDGE_ENTER", "1.1", "1.1"),
        row(3, "BRIDGE_ENTER", "1.1", "1.1"),
    ]
    stays = read(rows).channels["1.1"].stays
    assert [stay.leave for stay in stays] == [rows[2].eventtime, None]


def test_rows_without_ids_are_ordered_by_what_comes_first() -> None:
    """In one moment CHAN_START comes before HANGUP, HANGUP before CHAN_END, whatever order they come in."""
    kinds = ["CHAN_START", "ANSWER", "BRIDGE_ENTER", "BRIDGE_EXIT", "HANGUP", "CHAN_END", "LINKEDID_END"]
    rows = [row(0, kind, "1.1", "1.1") for kind in reversed(kinds)]
    anonymous = [msgspec.structs.replace(event, id=None) for event in rows]
    assert [event.eventtype for event in in_order(anonymous)] == kinds


def test_the_second_hour_is_found_by_the_rows_before() -> None:
    """02:59:58 and then 02:00:06: eight seconds, not minus an hour."""
    first = row(
        1, "CHAN_START", "1795396140.1", "1795396140.1", ambiguous=True, eventtime=1_795_396_140_500_000
    )
    later = row(2, "HANGUP", "1795396140.1", "1795396140.1", ambiguous=True, eventtime=1_795_392_548_000_000)
    fixed = repaired([first, later])
    assert fixed[0] is first
    assert fixed[1].eventtime - first.eventtime == 7_500_000


def test_a_call_of_the_second_hour_is_found_by_its_uniqueid() -> None:
    """Its linkedid holds the true second."""
    early = row(
        1, "CHAN_START", "1795399740.1", "1795399740.1", ambiguous=True, eventtime=1_795_396_140_000_000
    )
    assert repaired([early])[0].eventtime == 1_795_399_740_000_000
