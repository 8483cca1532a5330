"""One sentence of `explain` for each field, word for word, and the rows that it needs."""

import pytest
from captures_io import events_of

from celreplay.calls.explain import FIELDS, explained
from celreplay.calls.numbering import PbxRules
from celreplay.cel.grouping import groups_of

SENTENCES = [
    (
        "01-in-answered-1",
        "linkedid",
        "the linkedid of the channel that began the call, PJSIP/trunk-main-00000000, first row CHAN_START",
        [1],
    ),
    (
        "19-pickup-1",
        "linkedids",
        "2 linkedids of one call: PJSIP/108-0000003f moved to 1795396146.49",
        [196, 261, 520, 522, 523],
    ),
    ("01-in-answered-1", "system", "pbx.name of the config; no row has a part in it", []),
    (
        "10-out-answered-1",
        "direction",
        "PJSIP/106-00000010, first row CHAN_START, is inside and dialled 79031110001; rung outside: PJSIP/trunk-main-00000011",
        [60, 61, 62],
    ),
    (
        "03-in-busy-1",
        "disposition",
        "PJSIP/152-00000005 rang 0.1 s and hung up with cause 17 (busy): busy; nobody else was rung",
        [9, 10, 15],
    ),
    (
        "01-in-answered-1",
        "caller",
        "cid_num 79161234501, cid_name Ivan in the CHAN_START of PJSIP/trunk-main-00000000",
        [1],
    ),
    ("10-out-answered-1", "dialed_number", "exten in the CHAN_START of PJSIP/106-00000010", [60]),
    (
        "10-out-answered-1",
        "external_number",
        "the number of PJSIP/trunk-main-00000011, by the Dial in the APP_START row of PJSIP/106-00000010",
        [60, 61, 62],
    ),
    (
        "07-in-queue-answered-1",
        "answered_by",
        "PJSIP/141-0000000f talked first; the number of PJSIP/141-0000000f, by the Dial in the APP_START row of Local/141@from-queue-00000000;2",
        [42, 43, 122, 127, 292],
    ),
    (
        "16-blind-transfer-1",
        "extension",
        "PJSIP/162-0000004b, first row CHAN_START, inside, talked last",
        [360, 518, 878],
    ),
    (
        "10-out-answered-1",
        "trunk",
        "endpoint of the channel PJSIP/trunk-main-00000011, first row CHAN_START",
        [62],
    ),
    ("07-in-queue-answered-1", "queue", "Queue, shown by 6 rows", [38, 39, 125, 128, 302, 303]),
    ("01-in-answered-1", "started_at", "CHAN_START of PJSIP/trunk-main-00000000", [1]),
    ("01-in-answered-1", "answered_at", "ANSWER of PJSIP/101-00000001, who talked first", [25, 27]),
    (
        "01-in-answered-1",
        "ended_at",
        "HANGUP of PJSIP/trunk-main-00000000, the last end of the caller and of who talked last",
        [135, 138],
    ),
    (
        "01-in-answered-1",
        "duration",
        "from CHAN_START of PJSIP/trunk-main-00000000 to HANGUP of PJSIP/trunk-main-00000000, the last end of the caller and of who talked last",
        [1, 135, 138],
    ),
    (
        "01-in-answered-1",
        "wait",
        "from CHAN_START of PJSIP/trunk-main-00000000 to ANSWER of PJSIP/101-00000001, who talked first",
        [1, 25, 27],
    ),
    (
        "06-in-ringgroup-1",
        "ring",
        "from CHAN_START of PJSIP/121-0000000b to the first answer, PJSIP/122-0000000c",
        [31, 109, 115],
    ),
    (
        "16-blind-transfer-1",
        "talk",
        "time in bridges of conversation: PJSIP/161-00000024, PJSIP/162-0000004b",
        [186, 355, 518, 878],
    ),
    ("24-hold-1", "hold", "music on hold heard during the talk", [348, 508, 768, 910]),
    (
        "06-in-ringgroup-1",
        "legs",
        "rung or talked: PJSIP/121-0000000b, PJSIP/122-0000000c, PJSIP/123-0000000d",
        [30, 31, 32, 33, 109, 111, 113, 115, 227, 229],
    ),
    (
        "16-blind-transfer-1",
        "transfers",
        "blind by 161 to 162: BLINDTRANSFER",
        [146, 147, 184, 353, 357, 360, 517],
    ),
    ("23-recorded-1", "recordings", "files named by 2 rows of recorders, 0 user events", [249, 250]),
    (
        "15-voicemail-1",
        "voicemail",
        "VoiceMail, shown by 17 rows",
        [314, 315, 318, 496, 497, 591, 592, 627, 628, 712, 713, 836, 837, 1306, 1307, 1329, 1540],
    ),
    ("21-conference-1a", "conference", "ConfBridge or MeetMe, shown by 4 rows", [222, 223, 809, 810]),
    (
        "03-in-busy-1",
        "hangup_cause",
        "cause 17 (busy) in the HANGUP of PJSIP/152-00000005, the leg that decided",
        [10],
    ),
    (
        "01-in-answered-1",
        "hangup_by",
        "hangupsource of PJSIP/trunk-main-00000000 is PJSIP/101-00000001, not the caller's channel",
        [138],
    ),
    (
        "03-in-busy-1",
        "sip_code",
        "stands for busy, causes of the legs: 17; PJSIP/152-00000005 rang 0.1 s and hung up with cause 17 (busy): busy; nobody else was rung",
        [9, 10, 15],
    ),
    (
        "23-recorded-3",
        "accountcode",
        "accountcode of PJSIP/trunk-main-000000b4, in 15 rows",
        [1246, 1247, 1248, 1249, 1250, 1251, 1252, 1253, 1254, 1326, 1328, 1460, 1461, 1462, 1463],
    ),
    (
        "23-recorded-3",
        "userfield",
        "userfield of PJSIP/trunk-main-000000b4, in 15 rows",
        [1246, 1247, 1248, 1249, 1250, 1251, 1252, 1253, 1254, 1326, 1328, 1460, 1461, 1462, 1463],
    ),
    (
        "01-in-answered-1",
        "complete",
        "CHAN_START of the caller and the end of every channel are there: 2 HANGUP",
        [1, 135, 138],
    ),
    ("25-killed-1-ringing", "warnings", "1 found, see below", [2691, 2692, 2693]),
    (
        "01-in-answered-1",
        "revision",
        "a hash of the 15 rows that belong together",
        [1, 2, 3, 25, 26, 27, 28, 133, 134, 135, 136, 137, 138, 139, 140],
    ),
]
MEANINGS = {"CRM_ROUTE": "responsible", "RECORDING": "recording"}


def test_every_field_has_its_sentence() -> None:
    """But `custom`, which needs a config: below."""
    assert [field for _, field, _, _ in SENTENCES] == [field for field in FIELDS if field != "custom"]


@pytest.mark.parametrize(("case", "field", "sentence", "rows"), SENTENCES)
def test_a_field_is_explained_in_these_words(case: str, field: str, sentence: str, rows: list[int]) -> None:
    """The reason of one captured call, and the rows without which it would not be known."""
    (one,) = explained(groups_of(events_of(case, "sqlite"))[0].events, PbxRules(system="pbx"))
    assert one.fields[field].reason == sentence
    assert set(rows) <= set(one.fields[field].rows)


def test_what_the_dialplan_said_is_explained_by_its_events() -> None:
    """Only the events that the config names."""
    (group,) = groups_of(events_of("23-recorded-3", "sqlite"))
    (one,) = explained(group.events, PbxRules(system="pbx", user_events=MEANINGS))
    field = one.fields["custom"]
    said = [event.id for event in group.events if event.eventtype == "CRM_ROUTE"]
    assert one.call.custom.keys() == {"responsible"}
    assert (field.reason, field.rows) == ("what the user events CRM_ROUTE say", said)


def test_a_user_event_that_names_no_file_has_no_part_in_recordings() -> None:
    """Of two user events one names the recording."""
    (one,) = explained(
        groups_of(events_of("variants/apps-all/variant-apps-all-3", "sqlite"))[0].events,
        PbxRules(system="pbx"),
    )
    assert one.fields["recordings"].reason == "files named by 0 rows of recorders, 1 user events"
    assert one.fields["recordings"].rows == [29]


FURTHER = [
    (
        "02-in-abandoned-ringing-1",
        "disposition",
        "PJSIP/151-00000003 rang 2.0 s and hung up with cause 127 (the caller gave up): no_answer; nobody else was rung",
    ),
    (
        "02-in-abandoned-ringing-1",
        "hangup_by",
        "hangupsource of PJSIP/trunk-main-00000002 is the caller's channel PJSIP/trunk-main-00000002",
    ),
    (
        "02-in-abandoned-ringing-1",
        "hangup_cause",
        "cause 127 (taken back by the PBX) in the HANGUP of PJSIP/trunk-main-00000002, the caller's channel",
    ),
    (
        "03-in-busy-1",
        "hangup_by",
        "PJSIP/trunk-main-00000004 was turned away before any answer, by PJSIP/152-00000005",
    ),
    (
        "03-in-busy-1",
        "hangup_cause",
        "cause 17 (busy) in the HANGUP of PJSIP/152-00000005, the leg that decided",
    ),
    ("04-in-ivr-hangup-1", "legs", "nobody was rung or talked"),
    (
        "07-in-queue-answered-5",
        "answered_by",
        "PJSIP/147-000000db talked first; the number of PJSIP/147-000000db, by its own first row",
    ),
    (
        "08-in-queue-abandoned-1",
        "disposition",
        "left queue 703 and no agent had talked (ended +3.024 s with cause 0 (no cause given), dialstatus CANCEL)",
    ),
    (
        "14-internal-answered-1",
        "direction",
        "PJSIP/158-0000001e, first row CHAN_START, is inside and dialled 159; rung outside: no outside line",
    ),
    ("21-conference-1a", "disposition", "entered conference 801"),
    (
        "22-click-to-call-1",
        "direction",
        "PJSIP/177-00000036, first row CHAN_START, is inside, called first by the PBX and dialled 79231110001; rung outside: PJSIP/trunk-main-00000046",
    ),
    ("22-click-to-call-3", "dialed_number", "no row shows a number that was dialled"),
    (
        "25-killed-1-ringing",
        "disposition",
        "PJSIP/102-00000005 was rung and the rows stop: no_answer; nobody else was rung",
    ),
    ("25-killed-1-ringing", "hangup_by", "no HANGUP row has a hangupsource"),
    ("25-killed-1-ringing", "hangup_cause", "no HANGUP row of PJSIP/trunk-main-00000004 has a cause"),
    (
        "25-killed-3-queue",
        "disposition",
        "left queue 703 and no agent had talked (the rows stop before its end)",
    ),
    (
        "30-queue-timeout-1",
        "hangup_by",
        "hangupsource of PJSIP/trunk-main-00000054 is dialplan/builtin: the PBX itself",
    ),
    (
        "35-core-stop-now-1-ringing",
        "disposition",
        "PJSIP/102-00000130 rang 3.6 s and hung up with cause 0 (nobody answered within the Dial time-out): no_answer; nobody else was rung",
    ),
    (
        "38-sqlite-reader-lock-1",
        "legs",
        "rung or talked: PJSIP/101-0000012a (first seen at its BRIDGE_ENTER)",
    ),
    (
        "asterisk16-further/47-phones-14",
        "disposition",
        "PJSIP/274-00000093 rang 1.5 s and hung up with cause 127 (the caller gave up): no_answer; PJSIP/273-00000091 only sent the call on",
    ),
    (
        "asterisk16-more/32-races-2",
        "disposition",
        "PJSIP/192-00000090 rang 1.0 s and hung up with cause 16 (another phone answered): no_answer; nobody else was rung",
    ),
]
"""Other ends that the same fields have had."""


@pytest.mark.parametrize(("case", "field", "sentence"), FURTHER)
def test_other_ends_have_their_own_words(case: str, field: str, sentence: str) -> None:
    """Word for word, read beside the rows of each call."""
    found = [
        one.fields[field].reason
        for group in groups_of(events_of(case, "sqlite"))
        for one in explained(group.events, PbxRules(system="pbx"))
    ]
    assert sentence in found
