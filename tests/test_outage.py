"""A receiver that is down for a day, over a real store; the clock is a fake one."""

import asyncio
from pathlib import Path

from delivering import call_of, fake_options, office_in
from fakes import FakeClock, FakeConnector

from celreplay.connectors.base import Delivery, Outcome, OutcomeKind
from celreplay.store.base import Lane, State
from celreplay.units import Duration

HOUR = 3600
DOWN = Outcome(kind=OutcomeKind.THROTTLE, reason="no connection with crm:443: connection refused")
OK = Outcome(kind=OutcomeKind.OK, reason="taken", http_status=200)
NUMBERS = 4


async def an_hour_of(clock: FakeClock) -> None:
    """In steps, so that those who sleep have time for their work."""
    for _ in range(60):
        await clock.advance(60)
        await asyncio.sleep(0.002)


async def test_a_day_without_the_receiver_costs_nothing(tmp_path: Path) -> None:
    """Calls of a day and a replay wait while canaries find it down, over a restart as well. When it is back all are
    delivered, each once, with no attempt burnt, live ones first and the calls of a number in their order."""
    clock = FakeClock(manual=True)
    office = await office_in(tmp_path, clock)
    connector = FakeConnector()
    up = False
    refused: list[str] = []
    taken: list[str] = []

    def answer(delivery: Delivery) -> Outcome:
        (taken if up else refused).append(delivery.linkedid)
        return OK if up else DOWN

    connector.outcome = answer
    # one failure is one too many: whatever burns two attempts is dead
    options = fake_options(workers=1, schedule=(Duration(1),))
    live = [call_of(HOUR * hour + 10) for hour in range(24)]
    replayed = [call_of(HOUR * hour - 10**6) for hour in range(24)]
    for half in (range(12), range(12, 24)):
        async with office.delivering(connector, options):
            for hour in half:
                strand = f"{hour % NUMBERS}"
                await office.queue(connector, live[hour], strand=strand)
                await office.queue(connector, replayed[hour], strand=strand, lane=Lane.REPLAY)
                await an_hour_of(clock)
    assert 200 <= len(refused) <= 24 * 12 + 20
    up = True
    async with office.delivering(connector, options):
        await clock.until(lambda: len(taken) == 48)
        await clock.advance(10)
    assert await office.count(connector, State.DELIVERED) == 48
    assert sorted(taken) == sorted(call.linkedid for call in [*live, *replayed])
    assert [call.linkedid for call in live[:19]] == taken[:19]
    assert taken.index(live[-1].linkedid) == 24
    for calls in (live, replayed):
        for number in range(NUMBERS):
            mine = [call.linkedid for call in calls[number::NUMBERS]]
            assert [one for one in taken if one in mine] == mine
    assert await office.store.holds() == {}
    await office.store.aclose()
