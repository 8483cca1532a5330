"""What celreplay says about itself at the end, by its CLI: the judge's second witness beside the ledgers."""

import asyncio
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from chaos.judge import judge
from chaos.ledger import read
from chaos.processes import Daemon
from chaos.scenarios import Scenario
from chaos.world import World, calls_of, events_of, requests_of

WAITING = ("pending", "sending", "uncertain")
_QUESTIONS = 40
"""Calls that are explained at most: each takes a second, and a run with more faults needs no more."""


async def final_status(daemon: Daemon) -> dict[str, Any]:
    """`celreplay status --json`; empty if it says nothing."""
    code, out = await daemon.command("status", "--json")
    return dict(json.loads(out)) if code == 0 and out else {}


async def settled(daemon: Daemon) -> bool:
    """All rows read, no call open, nothing waits, no replay under way."""
    status = await final_status(daemon)
    if not status or status["cel_error"]:
        return False
    waits = sum(counts[state] for counts in status["connectors"].values() for state in WAITING)
    reading = status["reading"] or {}
    replays = all(replay["state"] in ("done", "cancelled", "failed") for replay in status["replays"])
    return not waits and not reading.get("rows_behind") and not reading.get("open_keys") and replays


async def gather(daemon: Daemon, folder: Path, scenario: Scenario, seen_within: float) -> World:
    """The world of a run that is over."""
    lines = read(folder / "crm.jsonl")
    events = events_of(read(folder / "events.jsonl"))
    calls = calls_of(read(folder / "pbx.jsonl"))
    status = next((event.facts for event in reversed(events) if event.what == "status"), {})
    counts = status.get("connectors", {}).get("crm", {})
    world = World(
        requests=requests_of(lines),
        calls=calls,
        events=events,
        forged=sum(line["kind"] == "forged" for line in lines),
        probeable=scenario.probeable,
        id_of={call.linkedid: webhook_id("chaos", "crm", call.linkedid, "call") for call in calls},
        revision_of=await _revisions(daemon),
        waiting=counts or {"pending": -1},
        grace=scenario.grace,
        gap=seen_within + 1.5,
        timeout=scenario.timeout,
        workers=scenario.workers,
    )
    explained = await _explained(daemon, _in_question(world))
    return replace(world, explained=explained)


def webhook_id(*parts: str) -> str:
    """docs/connectors/webhook.md: SHA-256 of system, connector, linkedid and part, each followed by a NUL byte."""
    return "call_" + hashlib.sha256("".join(f"{part}\0" for part in parts).encode()).hexdigest()


async def _revisions(daemon: Daemon) -> dict[str, str]:
    _, out = await daemon.command("calls", "--all", "--json")
    return {call["linkedid"]: call["revision"] for call in map(json.loads, out.splitlines())}


def _in_question(world: World) -> list[str]:
    """Calls that would be faults if `explain` had nothing to say about them."""
    faults = judge(world).faults
    return list(dict.fromkeys([fault.linkedid for fault in faults] + _overtakers(world)))[:_QUESTIONS]


def _overtakers(world: World) -> list[str]:
    return [fault.what.rpartition(" of ")[2] for fault in judge(world).reordered]


async def _explained(daemon: Daemon, linkedids: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for linkedid in linkedids:
        _, out = await daemon.command("explain", "--json", linkedid)
        for line in out.splitlines():
            for delivery in json.loads(line)["deliveries"]:
                if delivery["linkedid"] == linkedid:
                    found[linkedid] = delivery
        await asyncio.sleep(0)
    return found
