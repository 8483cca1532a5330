"""What is done to a running system. Each storm is one coroutine that goes on until it is cancelled or done."""

import asyncio
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from servers import Server

from chaos.ledger import Ledger
from chaos.processes import Crm, Daemon


async def keep_running(daemon: Daemon) -> None:
    """systemd: what has ended by itself is started again."""
    while True:
        if daemon.alive:
            await asyncio.sleep(0.2)
            continue
        await daemon.end(signal.SIGKILL, "kill")
        await daemon.up()


async def kills(
    daemon: Daemon, chance: random.Random, number: int, seconds: float, go_on: Callable[[], bool]
) -> None:
    """kill -9 at random moments, about `number` in `seconds`; every sixth while it starts, and now and then a
    SIGTERM in between, or a stand-still before the end, or a second start. Ends when it has done so many and `go_on` says no more."""
    done = 0
    rest = max(0.5, seconds / number - 1.0)  # a start takes about a second
    while done < number or go_on():
        await daemon.start()
        if chance.random() < 1 / 6:
            await asyncio.sleep(chance.uniform(0.0, 1.2))
            await daemon.end(signal.SIGKILL, "kill")
            done += 1
            continue
        if not await daemon.ready():
            await daemon.end(signal.SIGKILL, "kill")
            await asyncio.sleep(0.5)
            continue
        await asyncio.sleep(chance.uniform(0.0, 2.0) * rest)
        if chance.random() < 1 / 20:
            await daemon.rival()
        if chance.random() < 1 / 10:
            await daemon.freeze(chance.uniform(0.2, 4.0))
        if chance.random() < 1 / 10:
            await daemon.end(signal.SIGTERM, "term")
        else:
            await daemon.end(signal.SIGKILL, "kill")
            done += 1


async def crm_outages(crm: Crm, chance: random.Random, every: float, longest: float) -> None:
    """The CRM is away now and then: killed, connections refused for some seconds."""
    while True:
        await asyncio.sleep(chance.uniform(0.5, 1.5) * every)
        await crm.kill()
        await asyncio.sleep(chance.uniform(0.3, longest))
        await crm.start()


async def cel_restarts(
    server: Server, events: Ledger, chance: random.Random, number: int, seconds: float
) -> None:
    """The CEL database is stopped, every second time killed, and comes back after some seconds."""
    for turn in range(number):
        await asyncio.sleep(chance.uniform(0.5, 1.2) * seconds / number)
        events.write("cel-down")
        how = [signal.SIGKILL] if turn % 2 else []
        await asyncio.to_thread(server.stop, *how)
        await asyncio.sleep(chance.uniform(0.2, 3.0))
        await asyncio.to_thread(server.start)
        events.write("cel-up")


async def full_disks(disk: Path, events: Ledger, chance: random.Random, number: int, seconds: float) -> None:
    """The disk of the store is filled to the last byte, and freed again some seconds later."""
    for _ in range(number):
        await asyncio.sleep(chance.uniform(0.5, 1.0) * seconds / number)
        events.write("disk-full")
        ballast = disk / "ballast"
        end = time.monotonic() + chance.uniform(2.0, 5.0)
        while time.monotonic() < end:  # again and again: a checkpoint may have given room back
            await asyncio.to_thread(_fill, ballast)
            await asyncio.sleep(0.1)
        ballast.unlink()
        events.write("disk-free")


def _fill(ballast: Path) -> None:
    for block in (1 << 20, 4096, 512):
        try:
            with ballast.open("ab", buffering=0) as file:
                while file.write(b"\0" * block):
                    pass
        except OSError:
            continue
