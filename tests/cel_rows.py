"""Made-up CEL rows: a short way to write them, and strategies for any rows at all."""

from typing import Any

from hypothesis import strategies as st

from celreplay.cel.events import CelEvent, EventType

UNIQUEIDS = ["1795396140.1", "1795396140.2", "1795396141.3", "pbx1-1795396142.4", "odd", ""]
NAMES = [
    "PJSIP/trunk-main-00000001",
    "PJSIP/101-00000002",
    "Local/102@from-queue-00000001;1",
    "Local/102@from-queue-00000001;2",
]
EXTRAS = [
    "",
    "{",
    '{"bridge_id":"b1","bridge_technology":"simple_bridge"}',
    '{"bridge_id":"b2","bridge_technology":"holding_bridge"}',
    '{"hangupcause":16,"hangupsource":"PJSIP/101-00000002","dialstatus":"ANSWER"}',
    '{"hangupcause":17,"hangupsource":"","dial',
    '{"hangupcause":"x","hangupsource":5,"dialstatus":null}',
    '{"extension":"162","transferee_channel_uniqueid":"1795396140.1"}',
    '{"channel2_uniqueid":"1795396141.3","transfer_target_channel_uniqueid":"N/A"}',
    '{"pickup_channel_uniqueid":"1795396141.3"}',
    '{"reason":"ParkedCallUnparked","retriever":"PJSIP/101-00000002"}',
    '{"extra":"in-101.wav"}',
    "[1]",
]
APPS = [
    "",
    "Dial",
    "Queue",
    "VoiceMail",
    "ConfBridge",
    "MixMonitor",
    "Monitor",
    "AppDial2",
    "ParkedCall",
    "Busy",
]


def row(number: int, eventtype: str, uniqueid: str, linkedid: str, **fields: Any) -> CelEvent:
    """The row with id `number`, a second after the one before it."""
    return CelEvent(
        id=number,
        eventtype=eventtype,
        eventtime=fields.pop("eventtime", 1_795_396_140_000_000 + number * 1_000_000),
        uniqueid=uniqueid,
        linkedid=linkedid,
        **fields,
    )


def any_rows(max_size: int = 25) -> st.SearchStrategy[list[CelEvent]]:
    """Rows as no Asterisk would write them, with few different keys so that they meet."""
    event = st.builds(
        CelEvent,
        id=st.none() | st.integers(1, 60),
        eventtype=st.sampled_from([*map(str, EventType), "CRM_ROUTE", "FROM_THE_FUTURE", ""]),
        eventtime=st.integers(1_795_396_140_000_000, 1_795_396_200_000_000)
        | st.integers(0, 4_000_000_000_000_000),
        ambiguous=st.booleans(),
        user_defined=st.booleans(),
        userdeftype=st.sampled_from(["", "MOH_STREAM_BEGIN", "MOH_STREAM_END"]),
        uniqueid=st.sampled_from(UNIQUEIDS),
        linkedid=st.sampled_from(UNIQUEIDS),
        channame=st.sampled_from([*NAMES, "", "nonsense", "Message/ast_msg_queue"]),
        cid_num=st.sampled_from(["", "101", "79161234501", "s", "anonymous"]),
        exten=st.sampled_from(["", "s", "102", "74951230101", "*8", "s-BUSY"]),
        context=st.sampled_from(["", "from-pstn", "from-internal"]),
        appname=st.sampled_from(APPS),
        appdata=st.sampled_from(
            ["", ",", "PJSIP/101,20", "PJSIP/79031110001@trunk-main,60,T", "700,tT", "104@default,u"]
        ),
        peer=st.sampled_from(["", *NAMES]),
        extra=st.sampled_from(EXTRAS) | st.text(max_size=8),
    )
    return st.lists(event, max_size=max_size)
