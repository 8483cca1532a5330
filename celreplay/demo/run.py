"""The run of the demo: calls of the past by `/pbx/read_call`, live ones row by row, and what came."""

import asyncio
import secrets
import tempfile
import time
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text

from celreplay.demo.data import CapturedCall, calls_before, create_table, live_calls, write_rows
from celreplay.demo.receiver import Receiver
from celreplay.demo.screen import Screen, table_of
from celreplay.demo.stage import PORT, USER, Stage, daemon, last_lines, port_to_use, read_call

LIVE_BEGIN = (0.0, 0.5, 1.5, 2.0)
"""Seconds from the beginning at which the live calls begin."""
PATIENCE = 45.0
"""Calls that have not come after so many seconds are not coming."""


async def demo(port: int | None, console: Console, *, keep: bool) -> bool:
    """Run it; True when every call came, once and genuine. Raises CelreplayError."""
    chosen, elsewhere = port_to_use(port)
    if elsewhere:
        console.print(f"port {PORT} is taken by another program: this demo uses {chosen}")
    with tempfile.TemporaryDirectory(prefix="celreplay-demo-") as folder:
        stage = Stage(
            folder=Path(folder),
            port=chosen,
            password=secrets.token_hex(6),
            secret="whsec_" + b64encode(secrets.token_bytes(32)).decode(),
        )
        screen = Screen(console)
        receiver = Receiver(stage.secret, screen.arrived)
        address = await receiver.start()
        stage.write_config(address)
        try:
            return await _on_stage(stage, receiver, screen, console, keep=keep)
        finally:
            screen.end()
            await receiver.stop()


async def _on_stage(
    stage: Stage, receiver: Receiver, screen: Screen, console: Console, *, keep: bool
) -> bool:
    old = calls_before(time.time())
    create_table(stage.cel)
    write_rows(stage.cel, [row for call in old for row in call.rows])
    async with daemon(stage):
        faults = await _play(stage, receiver, screen, old)
        screen.end()
        console.print(table_of(receiver.arrivals))
        for fault in faults:
            console.print(Text(f"fault: {fault}", style="bold red"))
        if faults:
            console.print(Text(f"the end of the daemon's log:\n{last_lines(stage.log)}"))
        else:
            text = f"{len(receiver.arrivals)} calls arrived, each once, each with a valid signature"
            console.print(Text(text, style="bold green"))
        if keep:
            _invite(stage, console)
            with suppress(asyncio.CancelledError):  # Ctrl-C is the way to end it
                await asyncio.Event().wait()
    return not faults


async def _play(
    stage: Stage, receiver: Receiver, screen: Screen, old: Sequence[CapturedCall]
) -> Sequence[str]:
    """Everything that happens; what went wrong."""
    now = time.time()
    live = [call.beginning_at(now + wait) for call, wait in zip(live_calls(), LIVE_BEGIN, strict=True)]
    old_ids, live_ids = {call.linkedid for call in old}, {call.linkedid for call in live}
    screen.expect(old_ids, live_ids)
    screen.say(f"{len(old)} calls lie in the CEL table since before the start, {len(live)} begin now")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_write_live(stage.cel, live))
        screen.say("GET /pbx/read_call?start_date=-1&force=1 asks for the calls since yesterday's midnight")
        await read_call(stage, {"start_date": "-1", "force": "1"})
        await _arrival_of(old_ids | live_ids, receiver)
    screen.say("GET /pbx/read_call?start_date=-1 once more: what was delivered is not sent again")
    again = await read_call(stage, {"start_date": "-1", "wait": "20"})
    return faults_of(receiver, old_ids | live_ids, again["counts"]["queued"], again["state"])


async def _write_live(path: Path, calls: Sequence[CapturedCall]) -> None:
    """Write each row at its time, as Asterisk does while people talk."""
    rows = sorted(
        (time, order, row)
        for call in calls
        for order, (time, row) in enumerate(zip(_rising(call.times), call.rows, strict=True))
    )
    for moment, _, row in rows:
        await asyncio.sleep(moment - time.time())
        write_rows(path, [row])


def _rising(times: Sequence[float]) -> list[float]:
    """When each row of a call was written: rows keep their order, though times run back by milliseconds."""
    rising = list(times)
    for place in range(1, len(rising)):
        rising[place] = max(rising[place], rising[place - 1])
    return rising


async def _arrival_of(linkedids: set[str], receiver: Receiver) -> None:
    """Wait until all have come, or for PATIENCE."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while not linkedids <= receiver.linkedids():
                receiver.came.clear()
                await receiver.came.wait()


def faults_of(receiver: Receiver, expected: set[str], queued_again: int, state: str) -> list[str]:
    """What is not as it should be; empty when each expected call came once, and genuine."""
    came = receiver.linkedids()
    faults = [f"turned away: {fault}" for fault in receiver.faults]
    if missing := expected - came:
        faults.append(f"{len(missing)} calls did not come: {', '.join(sorted(missing))}")
    if strange := came - expected:
        faults.append(f"calls came that nobody wrote: {', '.join(sorted(strange))}")
    if repeated := receiver.repeated():
        faults.append(f"came more than once: {', '.join(repeated)}")
    if queued_again or state != "done":
        faults.append(f"the second read_call is {state} and queued {queued_again} calls again")
    return faults


def _invite(stage: Stage, console: Console) -> None:
    text = f"""
The daemon stays up. In another terminal:
  curl --digest -u {USER}:{stage.password} "{stage.api}/pbx/read_call?start_date=-1"
sends nothing, as everything has arrived; ask for one call by its id and it comes again, shown here:
  curl --digest -u {USER}:{stage.password} "{stage.api}/pbx/read_call?id=ID"
Ids: celreplay calls -c {stage.config} --all
Ctrl-C ends it."""
    console.print(Text(text), soft_wrap=True)  # a wrapped curl line cannot be copied
