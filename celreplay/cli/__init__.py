"""The door over a terminal: `celreplay COMMAND`. One module per command, loaded when it is asked for."""

import io
import os
import sys
from importlib import import_module
from typing import NoReturn, cast

import click
from click.shell_completion import CompletionItem

from celreplay import __version__
from celreplay.cli.telling import complain
from celreplay.errors import CelreplayError

EXIT_FAILED = 1
"""The command ran and the answer is bad news: the demo found a fault, the daemon is not running."""
EXIT_WRONG = 2
"""Nothing was done: wrong usage, wrong config, a database or file that cannot be used."""
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

COMMANDS = {
    "serve": "Run the daemon: read CEL, deliver calls, answer on port 8077.",
    "calls": "Print calls as celreplay understands them. Delivers nothing.",
    "replay": "Process calls again, by id or by period.",
    "status": "Show where reading and delivering stand.",
    "deliveries": "Show deliveries; send dead ones again, or take them off the list.",
    "explain": "Show why a call is what it is, and where it stands at each CRM.",
    "capture": "Write a call, without its people, as a test case.",
    "doctor": "Look for whatever could keep calls from arriving.",
    "store": "Check the store, copy it, make its file smaller.",
    "check-config": "Check a config file and show what was understood.",
    "hash-password": "Make what the config may hold instead of a password.",
    "completion": "Print the lines that make a shell complete commands.",
    "demo": "Watch real calls go from CEL to a local receiver.",
}
"""Name → first line of its help. The module is the name, with `_` for `-`."""


_EPILOG = """\b
Examples:
  celreplay check-config
  celreplay doctor
  celreplay calls --start-date -0
  celreplay replay --start-date -7 --dry-run

\b
Exit codes:
    0  done
    1  bad news: the command ran, and something is not as it should be
    2  nothing was done: wrong usage, wrong config, an unusable database or file
  130  interrupted by Ctrl-C
  141  the reader of the output went away
"""


class _Commands(click.Group):
    """Imports a command's module when the command is used, so that `--help` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"celreplay.cli.{cmd_name.replace('-', '_')}")
        return cast("click.Command", module.command)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The names from the list: a TAB imports no command."""
        names = [
            CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click itself would make it a failure like any other
            raise click.exceptions.Exit(EXIT_BROKEN_PIPE) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@click.version_option(__version__, prog_name="celreplay", message="%(prog)s %(version)s")
def cli() -> None:
    """Bring every call of an Asterisk PBX into the CRM, once, even after downtime."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit. What a user can cause is one line on stderr, never a traceback."""
    if sys.stdout is None or sys.stderr is None:
        os._exit(EXIT_WRONG)  # closed by the caller: there is nobody to tell
    for stream in (sys.stdout, sys.stderr):  # whatever the locale: no caller's name ends a listing
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    as_json = "--json" in (sys.argv if arguments is None else arguments)
    try:
        code = cli.main(arguments, prog_name="celreplay", standalone_mode=False, obj=as_json)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        code = EXIT_WRONG
    except BrokenPipeError:
        code = EXIT_BROKEN_PIPE
    except (click.ClickException, CelreplayError, OSError) as error:
        complain(error, as_json=as_json)
        code = EXIT_WRONG
    except (KeyboardInterrupt, click.Abort):
        code = EXIT_INTERRUPTED
    _leave(code if isinstance(code, int) else 0)


def _leave(code: int) -> NoReturn:
    if code == EXIT_BROKEN_PIPE:
        # the interpreter flushes stdout once more at its end, and would complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(code)
