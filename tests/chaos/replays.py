"""Somebody asks for calls again, by /pbx/read_call, while everything goes wrong."""

import asyncio
import random
from typing import Any

from chaos.ledger import Ledger, read
from chaos.processes import Daemon
from chaos.traffic import Pbx

_FOUND = ("delivering", "done")


class Replays:
    """One admin with curl."""

    def __init__(self, daemon: Daemon, events: Ledger, pbx: Pbx, chance: random.Random) -> None:
        self.daemon = daemon
        self.events = events
        self.pbx = pbx
        self.chance = chance

    async def ask(self, past: tuple[int, int]) -> None:
        """The past once, which is all it takes; then the same again in parts and whole, and calls by their ids."""
        start, end = past
        first = await self._request(f"start_date={start}&end_date={end}")
        self.events.write("replay", replay=first)
        await self._until_found(first)
        self.events.write("looked-up", replay=first)
        middle = (start + end) // 2
        await self._pause()
        await self._request(f"start_date={start}&end_date={middle}")
        await self._request(f"start_date={middle}")
        await self._pause()
        for _ in range(4):
            await self._request(f"id={','.join(self._some_ids())}&force=1")
            await self._pause()
            await self._request("start_date=-0")  # meets calls of this moment before the tail does

    def _some_ids(self) -> list[str]:
        known = [line["linkedid"] for line in read(self.pbx.ledger.path)]
        return self.chance.sample(known, min(5, len(known)))

    async def _pause(self) -> None:
        await asyncio.sleep(self.chance.uniform(0.2, 2.0))

    async def _request(self, query: str) -> int:
        """The number of the replay: asked again until it is taken, as the daemon may be down."""
        while True:
            status, answer = await self.daemon.curl(f"/pbx/read_call?{query}")
            if status == 202:
                self.events.write("asked", query=query, replay=answer["replay"])
                return int(answer["replay"])
            if status == 400 and answer["error"]["code"] == "before_live_reading":
                self.events.write("refused-once", query=query)
                continue
            if status not in (0, 503):
                raise RuntimeError(f"read_call?{query}: {status} {answer}")
            await asyncio.sleep(0.2)

    async def _until_found(self, replay: int) -> None:
        state: Any = None
        while state not in _FOUND:
            await asyncio.sleep(0.2)
            _, answer = await self.daemon.curl(f"/pbx/replays/{replay}")
            state = (answer or {}).get("state")
            if state in ("failed", "cancelled"):
                raise RuntimeError(f"replay {replay}: {answer}")
