"""`celreplay replay`: /pbx/read_call from a terminal."""

from collections.abc import Sequence
from pathlib import Path

import click

from celreplay.api.answers import view_body
from celreplay.cli import EXIT_FAILED
from celreplay.cli.common import (
    asked_for,
    config_option,
    examples,
    load_config,
    quiet_log,
    run,
    unix_user,
    which_calls,
)
from celreplay.cli.completing import connectors
from celreplay.cli.output import print_json
from celreplay.cli.progress import watcher
from celreplay.cli.telling import bad_news, json_option, note
from celreplay.config import Config
from celreplay.daemon import cancelled, replay_now
from celreplay.services import ReplayRequest, ReplayView
from celreplay.store.base import Force, Queued, Replay, ReplayState


@click.command(
    name="replay",
    epilog=examples(
        "celreplay replay --start-date -7 --dry-run",
        "celreplay replay --start-date '2026-11-01' --end-date '2026-11-02'",
        "celreplay replay --id 1795396140.0 --connector crm",
        "celreplay replay --cancel 12",
    ),
)
@config_option
@which_calls
@click.option("--dry-run", is_flag=True, help="Say what would be sent; send and change nothing.")
@click.option(
    "--force", type=click.Choice([force.value for force in Force]), is_flag=False, flag_value="1",
    help="1: send again what was delivered, under the same id. new: as a second record. 0: leave it.",
)  # fmt: skip
@click.option("--mark-delivered", is_flag=True, help="Record the calls as delivered elsewhere; send nothing.")
@click.option(
    "--connector", metavar="NAME", shell_complete=connectors, help="Only for this connector of the config."
)
@click.option(
    "--cancel", metavar="REPLAY", type=click.IntRange(min=1),
    help="Stop a replay: what waits of it is not sent.",
)  # fmt: skip
@json_option("One JSON object: the answer of GET /pbx/replays/{id}.")
def command(
    config_path: Path,
    ids: Sequence[str],
    start_date: str | None,
    end_date: str | None,
    *,
    dry_run: bool,
    force: str | None,
    mark_delivered: bool,
    connector: str | None,
    cancel: int | None,
    as_json: bool,
) -> None:
    """Process calls again, by id or by period.

    A period sends what has not been delivered; a call named by --id is sent again. A running daemon does
    the work, else this command does. Ctrl-C stops watching: the replay goes on with the daemon, or with its
    next start.
    """
    quiet_log()
    config = load_config(config_path)
    if cancel is not None:
        if ids or start_date or end_date or dry_run or force or mark_delivered or connector:
            raise click.UsageError("--cancel takes the number of a replay and nothing else")
        _cancel(config, cancel, as_json=as_json)
        return
    named, period = asked_for(config, ids, start_date, end_date)
    if not named and period is None:
        raise click.UsageError("say which calls: --id ID, or --start-date DATE")
    request = ReplayRequest(
        ids=named,
        period=period,
        force=None if force is None else Force(force),
        dry_run=dry_run,
        connector=connector,
        mark_delivered=mark_delivered,
        requested_by=f"cli:{unix_user()}",
    )
    view = _watched(config, request)
    _report(view, as_json=as_json)
    if not _went_well(view):
        raise click.exceptions.Exit(EXIT_FAILED)


def _cancel(config: Config, replay_id: int, *, as_json: bool) -> None:
    view = run(cancelled(config, replay_id, by=f"cli:{unix_user()}"))
    if view is None:
        bad_news(f"there is no replay {replay_id}", "not_found")
        raise click.exceptions.Exit(EXIT_FAILED)
    if as_json:
        print_json(view_body(view))
    else:
        click.echo(f"replay {replay_id}: {summary(view.replay)}")


def _watched(config: Config, request: ReplayRequest) -> ReplayView:
    """See it through; who stops watching is told what becomes of it."""
    with watcher() as watching:
        try:
            return run(replay_now(config, request, watching.see))
        except KeyboardInterrupt:
            if watching.replay_id:
                who = "the daemon" if watching.daemon_works else "the next start of celreplay"
                note(f"replay {watching.replay_id} goes on with {who}")
            raise


def _report(view: ReplayView, *, as_json: bool) -> None:
    replay = view.replay
    for id_ in replay.not_found:
        bad_news(f"no CEL row has the id {id_}", "not_found")
    if replay.state is ReplayState.FAILED:
        bad_news(replay.error, "failed")
    if replay.id == 0:
        return
    if as_json:
        print_json(view_body(view))
        return
    if replay.dry_run or replay.ids:
        for item in view.items:
            reason = f": {item.reason}" if item.reason else ""
            result = (
                "would be sent" if replay.dry_run and item.result is Queued.QUEUED else _said(item.result)
            )
            click.echo(f"{item.linkedid}  {item.connector}  {result}{reason}")
    for linkedid in replay.in_progress:
        click.echo(f"{linkedid}  has not finished; it is sent when it has")
    click.echo(f"replay {replay.id}: {summary(replay)}")


def summary(replay: Replay) -> str:
    """`12 found, 10 to send, 9 delivered, 1 dead, 2 already delivered`."""
    counts = {
        "found": replay.found,
        "would be sent" if replay.dry_run else "to send": replay.queued,
        "delivered": replay.delivered,
        "dead": replay.dead,
        "waiting": replay.waiting,
        "already delivered": replay.already_delivered,
        "already waiting": replay.already_waiting,
        "marked as delivered": replay.marked_delivered,
        "changed since delivery": replay.changed,
        **{f"skipped ({reason})": count for reason, count in replay.skipped.items()},
        "not found": len(replay.not_found),
    }
    parts = [f"{count} {what}" for what, count in counts.items() if count or what == "found"]
    return f"{replay.state.value.replace('_', ' ')}: {', '.join(parts)}"


def _went_well(view: ReplayView) -> bool:
    replay = view.replay
    return replay.state is ReplayState.DONE and not replay.dead and not replay.not_found


def _said(result: Queued) -> str:
    return "sent again" if result is Queued.QUEUED else result.value.replace("_", " ")
