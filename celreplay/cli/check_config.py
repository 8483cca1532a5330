"""`celreplay check-config`: what is wrong with a config file, or what was understood."""

from collections.abc import Mapping
from pathlib import Path

import click
import msgspec
import yaml

from celreplay.cli.common import config_option, examples
from celreplay.cli.output import print_json
from celreplay.cli.telling import json_option, note, warning
from celreplay.config import Config, load
from celreplay.connectors.table import OPTIONS


@click.command(
    name="check-config", epilog=examples("celreplay check-config", "celreplay check-config -c new.yaml")
)
@config_option
@json_option("One JSON object: the config, with its defaults.")
def command(config_path: Path, *, as_json: bool) -> None:
    """Check a config file and show what was understood.

    Defaults are filled in, secrets are masked. All mistakes are told at once, with
    exit code 2. Nothing is connected to.
    """
    config = load(config_path, OPTIONS)
    if as_json:
        print_json(understood(config))
    else:
        click.echo(yaml.safe_dump(understood(config), sort_keys=False, allow_unicode=True), nl=False)
    for text in config.warnings:
        warning(text)
    note(f"{config_path}: no mistakes")


def understood(config: Config) -> object:
    """The config as plain values, without secrets; what is not from the file is left out."""
    values = {name: getattr(config, name) for name in config.__struct_fields__ if name != "warnings"}
    return _plain(values)


def _plain(value: object) -> object:
    """What YAML can say: subclasses of text and numbers in their written form, secrets as their mask."""
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value if value is None or type(value) in (bool, int, float, str) else str(value)
