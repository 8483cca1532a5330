"""Delivers what waits: for each connector a team of workers."""

import asyncio
import random as randomness
from collections.abc import Callable, Mapping

from celreplay.clock import Clock
from celreplay.config import DeliveryConfig
from celreplay.connectors.base import Connector
from celreplay.connectors.http import HttpDriver
from celreplay.connectors.masking import secrets_in
from celreplay.connectors.options import DeliveryOptions
from celreplay.delivery.courier import Courier
from celreplay.delivery.settling import Settler
from celreplay.delivery.storing import Storing
from celreplay.delivery.team import Team
from celreplay.delivery.vitals import Vitals
from celreplay.store.base import Store


class Deliverer:
    """Delivers what waits in the store, for all connectors, with one set of workers for each.

    `connectors` and `options`: by the connector's name. `Store.recover` belongs before `run`.
    """

    def __init__(
        self,
        store: Store,
        connectors: Mapping[str, Connector],
        driver: HttpDriver,
        clock: Clock,
        options: Mapping[str, DeliveryOptions],
        delivery: DeliveryConfig | None = None,
        *,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        config = delivery or DeliveryConfig()
        self._teams: dict[str, Team] = {}
        for name, connector in connectors.items():
            settler = Settler(options=options[name], can_probe=connector.can_probe, random=random)
            secrets = secrets_in(options[name])
            storing = Storing(store, name, clock)
            courier = Courier(storing, connector, driver, clock, settler, secrets)
            self._teams[name] = Team(storing, connector, courier, clock, options[name], config)

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`, then let what is in flight finish, at most `shutdown_deadline` seconds.

        Raises StoreError where the store cannot be used at the beginning; later it is waited for.
        """
        for team in self._teams.values():
            await team.open()
        async with asyncio.TaskGroup() as group:
            for name, team in self._teams.items():
                group.create_task(team.run(stop, group), name=f"deliveries to {name}")

    def hint(self) -> None:
        """Something was queued: look at once."""
        for team in self._teams.values():
            team.hint()

    def vitals(self) -> Mapping[str, Vitals]:
        """Connector → how it stands at this moment."""
        return {name: team.vitals() for name, team in self._teams.items()}
