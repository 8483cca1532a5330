"""`celreplay explain`: why a call is what it is, from its rows to what each CRM answered."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec

from celreplay.api.read_call import call_ids
from celreplay.calls.explain import Explained, explained, row_ids
from celreplay.calls.explain_rows import bridges_shown, channels_shown, rows_shown
from celreplay.calls.interpret import INTERPRETER_VERSION
from celreplay.calls.model import encode
from celreplay.cel.grouping import Group
from celreplay.cli import EXIT_FAILED
from celreplay.cli.common import config_option, examples, load_config, quiet_log, run
from celreplay.cli.explain_text import bridges, fields, headline, legs, timeline, wrapped
from celreplay.cli.output import local, printable, terminal_width
from celreplay.cli.telling import bad_news, json_option
from celreplay.config import Config
from celreplay.errors import SourceError
from celreplay.lookup import groups_of_ids
from celreplay.parts import open_source, pbx_rules, store_path
from celreplay.store.records import AttemptRecord, DeliveryRecord
from celreplay.store.sqlite import SqliteStore
from celreplay.times import Instant


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery with its attempts."""

    delivery: DeliveryRecord
    attempts: Sequence[AttemptRecord]


@click.command(name="explain", epilog=examples("celreplay explain 1795396140.0"))
@config_option
@click.argument("linkedid")
@json_option("One JSON object a call and line (docs/explain.md).")
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="json: the same as --json.",
)  # fmt: skip
def command(config_path: Path, linkedid: str, *, as_json: bool, form: str) -> None:
    """Show why a call is what it is, and where it stands at each CRM.

    LINKEDID is any linkedid or uniqueid of the call. Shows its CEL rows as a timeline, its bridges and legs,
    and for each field the reason and the rows that decided it; then every attempt at each CRM. Works beside
    the running daemon and without it.
    """
    quiet_log()
    config = load_config(config_path)
    (linkedid,) = call_ids([linkedid])
    calls, delivered, error = run(_found(config, linkedid))
    if as_json or form == "json":
        lines = [_json(one, _of(one, delivered)) for one in calls]
    else:
        lines = list(_text(calls, delivered, terminal_width()))
    if lines:
        sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    if error is not None:
        raise error
    if not calls:
        bad_news(f"no CEL row has the id {linkedid}, or its rows are no call", "not_found")
        raise click.exceptions.Exit(EXIT_FAILED)


async def _found(
    config: Config, linkedid: str
) -> tuple[list[Explained], list[Delivered], SourceError | None]:
    """Without the CEL table (the error tells why) the deliveries can still be shown."""
    source = open_source(config)
    groups, error = [], None
    try:
        groups = await groups_of_ids(source, [linkedid])
    except SourceError as wrong:
        error = wrong
    finally:
        await source.aclose()
    calls = [one for group in groups for one in _explained(group, config, linkedid)]
    ids = [linkedid, *(id_ for one in calls for id_ in one.call.linkedids)]
    return calls, await _delivered(config, ids), error


def _explained(group: Group, config: Config, asked: str) -> list[Explained]:
    return explained(group.events, pbx_rules(config), complete=group.ended, asked=asked)


async def _delivered(config: Config, ids: Sequence[str]) -> list[Delivered]:
    """What the store knows; nothing without connectors, and nothing before the first start."""
    if not config.connectors:
        return []
    path = store_path(config)
    if not path.exists():
        return []
    store = SqliteStore.open(path, system=config.pbx.name, interpreter=str(INTERPRETER_VERSION))
    try:
        known = await store.call(ids[0])
        every = dict.fromkeys([*ids, *(known.linkedids if known else ())])
        found = [record for id_ in every for record in await store.deliveries(linkedid=id_)]
        return [
            Delivered(delivery=one, attempts=list(await store.attempts(one.delivery_id))) for one in found
        ]
    finally:
        await store.aclose()


def _of(one: Explained, delivered: Sequence[Delivered]) -> list[Delivered]:
    return [record for record in delivered if record.delivery.linkedid in one.call.linkedids]


def _json(one: Explained, delivered: Sequence[Delivered]) -> str:
    scene = one.story.scene
    found: dict[str, object] = {
        "call": one.call,
        "rows": rows_shown(scene, row_ids(scene.rows)),
        "channels": channels_shown(scene),
        "bridges": bridges_shown(scene),
        "fields": one.fields,
        "deliveries": [_delivery_object(record) for record in delivered],
    }
    return encode(found).decode()


def _delivery_object(record: Delivered) -> dict[str, object]:
    """Times as in a call."""
    return _times_as_text(record.delivery) | {
        "attempts": [
            _times_as_text(one) | {"answer": one.answer.decode(errors="replace")} for one in record.attempts
        ]
    }


def _times_as_text(record: DeliveryRecord | AttemptRecord) -> dict[str, object]:
    return {
        name: Instant(value) if name.endswith("_at") and value is not None else value
        for name, value in msgspec.structs.asdict(record).items()
    }


def _text(calls: Sequence[Explained], delivered: Sequence[Delivered], width: int) -> Iterator[str]:
    if calls:
        scene = calls[0].story.scene
        yield "ROWS"
        yield from timeline(rows_shown(scene, row_ids(scene.rows)), channels_shown(scene), width)
        yield from ("", "BRIDGES", *bridges(bridges_shown(scene), width))
    for one in calls:
        yield from ("", *wrapped(f"CALL {headline(one)}", width, indent=5))
        yield from ("", "LEGS", *legs(one.call.legs, width))
        yield from ("", "FIELDS", *fields(one.fields, width))
        yield from ("", "WARNINGS")
        for warning in one.call.warnings or ["none"]:
            yield from wrapped(warning, width, indent=2)
    if delivered:
        yield from ("", "DELIVERIES") if calls else ("DELIVERIES",)
    for record in delivered:
        yield from _delivery_lines(record.delivery, record.attempts)


def _delivery_lines(delivery: DeliveryRecord, attempts: Sequence[AttemptRecord]) -> Iterator[str]:
    reason = f": {delivery.reason}" if delivery.reason else ""
    due = f", next try {_local(delivery.next_at)}" if delivery.next_at is not None else ""
    replay = f", asked for by replay {delivery.replay_id}" if delivery.replay_id is not None else ""
    yield printable(
        f"{delivery.linkedid}  {delivery.connector} {delivery.part}  {delivery.state.value}{reason}"
        f" (since {_local(delivery.updated_at)}{due}{replay})"
    )
    for attempt in attempts:
        status = f" [{attempt.http_status}]" if attempt.http_status is not None else ""
        result = attempt.kind.value if attempt.kind else "under way, or its process died"
        yield printable(
            f"  {attempt.number}. {_local(attempt.started_at)}  {result}{status}  {attempt.reason}".rstrip()
        )


def _local(instant: int) -> str:
    return local(Instant(instant).utc())
