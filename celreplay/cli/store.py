"""`celreplay store`: looking after the file in which celreplay keeps what it knows."""

from pathlib import Path

import click

from celreplay.cli import EXIT_FAILED
from celreplay.cli.common import config_option, examples, load_config, quiet_log
from celreplay.cli.output import print_json
from celreplay.cli.telling import bad_news, json_option
from celreplay.parts import store_path
from celreplay.store.sqlite.upkeep import back_up, inspect, megabytes, vacuum


@click.group(
    name="store",
    epilog=examples("celreplay store check", "celreplay store backup /root/celreplay-copy.sqlite"),
)
def command() -> None:
    """Check the store, copy it, make its file smaller."""
    quiet_log()


@command.command(name="check", epilog=examples("celreplay store check"))
@config_option
@json_option("One JSON object: store, sound, findings.")
def check(config_path: Path, *, as_json: bool) -> None:
    """Look whether the store is sound.

    Reads the whole file, beside a running daemon too, and changes nothing. Each finding is a line on stdout;
    exit code 1 if there is one.
    """
    path = store_path(load_config(config_path))
    findings = inspect(path)
    if as_json:
        print_json({"store": str(path), "sound": not findings, "findings": findings})
    else:
        click.echo("\n".join(findings) or f"store {path} is sound")
    if findings:
        bad_news(f"store {path} is not sound: docs/store.md, Damage, says what to do", "damaged")
        raise click.exceptions.Exit(EXIT_FAILED)


@command.command(name="backup", epilog=examples("celreplay store backup /root/celreplay-copy.sqlite"))
@config_option
@click.argument("file", type=click.Path(path_type=Path))
@json_option("One JSON object: file, bytes.")
def backup(config_path: Path, file: Path, *, as_json: bool) -> None:
    """Copy the store as it is now to FILE.

    Works beside a running daemon. The copy is checked, readable for its owner only, and never takes the place
    of another file.
    """
    size = back_up(store_path(load_config(config_path)), file)
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        click.echo(f"{file}: {megabytes(size)}, checked")


@command.command(name="vacuum", epilog=examples("systemctl stop celreplay; celreplay store vacuum"))
@config_option
@json_option("One JSON object: store, and its bytes before and after.")
def shrink(config_path: Path, *, as_json: bool) -> None:
    """Give unused room in the store's file back to the disk.

    Only while celreplay is stopped, and with twice the store's content free on its disk.
    """
    path = store_path(load_config(config_path))
    done = vacuum(path)
    if as_json:
        print_json({"store": str(path), "before": done.before, "after": done.after})
        return
    freed = megabytes(done.before - done.after)
    click.echo(f"store {path}: {freed} freed, {megabytes(done.before)} before, {megabytes(done.after)} now")
