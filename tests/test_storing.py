"""Ending attempts together, over a real store."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from delivering import call_of, office_in
from fakes import FakeConnector

from celreplay.clock import SystemClock
from celreplay.connectors.base import OutcomeKind
from celreplay.delivery.storing import Storing
from celreplay.store.base import Claim, Settlement, State


def ended(claim: Claim, **changes: Any) -> Settlement:
    end = Settlement(
        delivery_id=claim.delivery_id,
        token=claim.token,
        state=State.DELIVERED,
        reason="taken",
        kind=OutcomeKind.OK,
        ended_at=1,
    )
    return msgspec.structs.replace(end, **changes)


async def test_attempts_that_end_at_once_each_hear_of_their_own(tmp_path: Path) -> None:
    """They share a transaction; who had lost his claim hears so, and the others that they kept theirs."""
    office, connector = await office_in(tmp_path, SystemClock()), FakeConnector()
    await office.queue(connector, *(call_of(number) for number in range(6)))
    claims = await office.store.claim("crm", 6, now=office.clock.now(), order_patience=900)
    storing = Storing(office.store, "crm", office.clock)
    kept = await asyncio.gather(
        storing.settle([ended(claims[0])]),
        storing.settle([ended(claims[1]), ended(claims[2])]),
        storing.settle([ended(claims[3], token=claims[3].token + 1)]),
        storing.settle([ended(claims[4], state=State.DEAD), ended(claims[0])]),
        storing.settle([ended(claims[5])]),
    )
    assert list(kept) == [[True], [True, True], [False], [True, False], [True]]
    assert await office.count(connector, State.DELIVERED) == 4
    assert await office.count(connector, State.DEAD) == 1
    assert await office.count(connector, State.SENDING) == 1
    await office.store.aclose()


async def test_an_end_that_cannot_be_stored_does_not_stop_those_after_it(tmp_path: Path) -> None:
    """A fault of ours is told to those it met; what ends later is stored."""
    office, connector = await office_in(tmp_path, SystemClock()), FakeConnector()
    await office.queue(connector, call_of(1), call_of(2))
    claims = await office.store.claim("crm", 2, now=office.clock.now(), order_patience=900)
    storing = Storing(office.store, "crm", office.clock)
    [wrong] = await asyncio.gather(
        storing.settle([ended(claims[0], state=State.SENDING)]), return_exceptions=True
    )
    assert isinstance(wrong, ValueError)
    assert await storing.settle([ended(claims[1])]) == [True]
    await office.store.aclose()
