"""The tools of the chaos runs do what docs/chaos.md says of them."""

import json
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from chaos.faults import USUAL, WELL, Dice
from chaos.judge import Fault, Verdict
from chaos.kinds import Maker, kinds
from chaos.ledger import Ledger, read
from chaos.processes import SECRET, Crm
from chaos.report import result_of, table
from chaos.scenarios import LONG, SHORT
from chaos.world import Event, World, requests_of
from standardwebhooks import Webhook

BODY = json.dumps(
    {
        "data": {
            "linkedid": "1.1",
            "linkedids": ["1.1"],
            "external_number": "447700900001",
            "started_at": "s",
            "revision": "r",
            "complete": True,
        }
    }
)


def test_no_two_calls_share_an_id_a_channel_or_a_bridge() -> None:
    """Two calls of one kind at one moment have nothing in common that rows are put together by."""
    maker = Maker("seed")
    made = [maker.happening(1_800_000_000.0) for _ in range(300)]
    assert len({happening.kind for happening in made}) > 50
    for column in ("uniqueid", "linkedid", "channame"):
        values = [{row[column] for _, row in happening.rows} for happening in made]
        assert len(set().union(*values)) == sum(map(len, values)), column


def test_a_call_keeps_its_form_at_another_moment_and_number() -> None:
    """Its rows are in the order of writing, its ids hold the second of their birth, its number is the chosen one."""
    maker = Maker("seed")
    for happening in (maker.happening(1_800_000_000.0) for _ in range(200)):
        moments = [moment for moment, _ in happening.rows]
        assert moments == sorted(moments)
        assert 1_800_000_000 - 1 < moments[0] <= 1_800_000_000
        born = int(happening.rows[0][1]["uniqueid"].partition(".")[0])
        assert abs(born - moments[0]) < 1.5
        cells = {cell for _, row in happening.rows for cell in row.values()}
        assert {truth.linkedid for truth in happening.truths} <= cells
        text = " ".join(cells)
        assert all(truth.number in text for truth in happening.truths)


def test_captures_that_show_the_same_rows_are_one_kind_with_two_calls() -> None:
    """Joined customers: none of the two is a part of the other."""
    merged = next(kind for kind in kinds() if kind.name.startswith("26-merged"))
    assert len(merged.truths) == 2
    assert [truth.others for truth in merged.truths] == [(), ()]


def test_the_same_seed_throws_the_same_faults_about_as_often_as_told() -> None:
    """Each fault comes; what remains is well."""
    thrown = [Dice("a", USUAL).throw() for _ in range(3)]
    assert len(set(thrown)) == 1
    dice = Dice("a", USUAL)
    many = [dice.throw() for _ in range(20_000)]
    assert set(many) == {WELL, *USUAL}
    assert many.count("late") == pytest.approx(20_000 * USUAL["late"], rel=0.2)


def test_a_ledger_with_a_torn_line_is_read_without_it(tmp_path: Path) -> None:
    """The writer was killed in the middle of its last line."""
    ledger = Ledger(tmp_path / "ledger")
    ledger.write("up", life=0)
    with (tmp_path / "ledger").open("a") as file:
        file.write('{"t": 1.0, "ki')
    assert [line["kind"] for line in read(tmp_path / "ledger")] == ["up"]


def signed(body: str) -> dict[str, str]:
    moment = datetime.now(UTC)
    return {
        "webhook-id": "call_a",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("call_a", moment, body),
    }


async def post(crm: Crm, **headers: str) -> int:
    """The status; 0: cut."""
    async with aiohttp.ClientSession() as session:
        try:
            async with session.post(crm.url, data=BODY, headers=signed(BODY) | headers) as answer:
                return answer.status
        except aiohttp.ClientError:
            return 0


async def question(crm: Crm) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{crm.url}/call_a", headers=signed("")) as answer,
    ):
        return answer.status


async def test_the_crm_fails_as_told_and_its_ledger_tells_the_truth(tmp_path: Path) -> None:
    """Cut before and after the taking, refused, taken; and a kill makes it forget nothing."""
    crm = Crm(tmp_path, "seed", 1.0, 0.1, Ledger(tmp_path / "events"))
    await crm.start()
    try:
        for fault, status, known in (("cut", 0, 404), ("500", 500, 404), ("cut_taken", 0, 200)):
            await crm.set_rates({"calls": {fault: 1.0}, "questions": {}})
            assert await post(crm) == status
            assert await question(crm) == known
        await crm.kill()
        await crm.start()
        assert await question(crm) == 200
        await crm.be_well()
        assert await post(crm) == 200
        assert await post(crm, **{"webhook-signature": "v1,bm8="}) == 401
    finally:
        await crm.kill()
    lines = read(crm.ledger)
    assert sum(line["kind"] == "forged" for line in lines) == 1
    taken = [(each.fault, each.status, each.committed is not None) for each in requests_of(lines)]
    assert taken == [
        ("cut", None, False),
        ("500", 500, False),
        ("cut_taken", None, True),
        ("well", 200, True),
    ]


async def test_the_crm_takes_a_call_after_it_has_cut_the_connection(tmp_path: Path) -> None:
    """Unknown when it is asked at once, known soon after."""
    crm = Crm(tmp_path, "seed", 1.0, 0.3, Ledger(tmp_path / "events"))
    await crm.start()
    try:
        await crm.set_rates({"calls": {"cut_taken_late": 1.0}, "questions": {}})
        assert await post(crm) == 0
        while await question(crm) != 200:
            pass
    finally:
        await crm.kill()
    request = requests_of(read(crm.ledger))[0]
    assert request.status is None
    assert request.committed is not None
    assert request.arrived <= request.committed


def test_the_table_counts_what_was_done_and_what_came_of_it() -> None:
    """Faults of the CRM and around it together; one line for each scenario."""
    events = [Event(1.0, "kill"), Event(2.0, "crm-kill"), Event(3.0, "ready")]
    verdict = Verdict(lost=[Fault("1.1", "lost: it")], repeats=2)
    result = result_of(LONG[0], World(requests=[], calls=[], events=events), verdict)
    assert result.faults == ["1.1: lost: it"]
    assert result.cells() == ["kills", "postgresql", "1", "1", "0", "0", "2", "1", "0", "0", "0"]
    assert len({len(line) for line in table([result]).splitlines()}) == 1


def test_the_long_form_kills_a_hundred_times_among_five_thousand_calls() -> None:
    """And the short one has the same scenarios."""
    by_name = {scenario.name: scenario for scenario in LONG}
    for name in ("kills", "kills-asked"):
        assert by_name[name].kills >= 100
        assert by_name[name].calls >= 5000
    assert [scenario.name for scenario in SHORT] == list(by_name)
