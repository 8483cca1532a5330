"""Deliveries as text: what, why, and when next."""

import sys
from collections.abc import Iterator

from celreplay.cli.output import fit, local, printable, terminal_width
from celreplay.deliveries import DeliveryView
from celreplay.store.base import State
from celreplay.store.records import AttemptRecord
from celreplay.times import Instant, seconds_between


def counted(number: int) -> str:
    """`1 delivery`, `1,234 deliveries`."""
    return f"{number:,} {'delivery' if number == 1 else 'deliveries'}"


def line_of(view: DeliveryView) -> str:
    """A delivery in a line: what, why, and when next. On a terminal it is cut to the width."""
    record = view.record
    what = record.linkedid if record.part == "call" else f"{record.linkedid} {record.part}"
    state = "held" if view.hold is not None else record.state.value
    text = (
        f"{record.delivery_id:>6}  {_local(record.updated_at)}  {state:<10}  {record.connector}  {what}"
        f"  {record.strand or '-'}  {_why(view)}"
    )
    if sys.stdout.isatty():
        return fit(text, terminal_width()).rstrip()
    return printable(text)


def _why(view: DeliveryView) -> str:
    record = view.record
    if view.hold is not None:
        since, next_try = _local(view.hold.since), _local(view.hold.next_canary_at)
        return f"connector on hold since {since}: {view.hold.reason}; next try {next_try}"
    waits = record.state in (State.PENDING, State.UNCERTAIN) and record.next_at is not None
    return record.reason + (f"; next try {_local(record.next_at or 0)}" if waits else "")


def journal(view: DeliveryView) -> Iterator[str]:
    """A delivery with all its attempts."""
    record = view.record
    number = f"  {record.strand}" if record.strand else ""
    yield printable(
        f"delivery {record.delivery_id}: {record.connector}, {record.part} of {record.linkedid}{number}"
    )
    yield printable(f"  {record.state.value} since {_local(record.updated_at)}: {record.reason}")
    if view.hold is not None or record.next_at is not None:
        yield printable(f"  {_why(view)}")
    replay = f", asked for by replay {record.replay_id}" if record.replay_id is not None else ""
    yield f"  the call began {_local(record.started_at)}; lane {record.lane.name.lower()}{replay}"
    for attempt in view.attempts:
        yield from _attempt(attempt)


def _attempt(attempt: AttemptRecord) -> Iterator[str]:
    status = f" [{attempt.http_status}]" if attempt.http_status is not None else ""
    result = attempt.kind.value if attempt.kind else "under way, or its process died"
    ended = attempt.ended_at
    took = "" if ended is None else f"  {seconds_between(attempt.started_at, ended):.3f} s"
    moment = Instant(attempt.started_at).utc().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    yield printable(f"  {attempt.number}. {moment}{took}  {result}{status}  {attempt.reason}".rstrip())
    for line in attempt.answer.decode("utf-8", "replace").splitlines():
        yield printable(f"     {line}")


def _local(instant: int) -> str:
    return local(Instant(instant).utc())
