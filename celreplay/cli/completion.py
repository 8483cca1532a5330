"""`celreplay completion`: what a shell needs to complete commands, options and names."""

import click
from click.shell_completion import get_completion_class

from celreplay.cli import cli
from celreplay.cli.common import examples
from celreplay.errors import CelreplayError

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    name="completion",
    epilog=examples(
        "celreplay completion bash > /etc/bash_completion.d/celreplay",
        "celreplay completion zsh > /usr/local/share/zsh/site-functions/_celreplay",
        "celreplay completion fish > ~/.config/fish/completions/celreplay.fish",
    ),
)
@click.argument("shell", type=click.Choice(_SHELLS))
def command(shell: str) -> None:
    """Print the lines that make a shell complete commands.

    TAB then knows commands, options, files, the connectors of the config, and the states of deliveries. bash
    must be 4.4 or newer.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise CelreplayError(f"this version of click knows no completion for {shell}")
    click.echo(kind(cli, {}, "celreplay", "_CELREPLAY_COMPLETE").source())
