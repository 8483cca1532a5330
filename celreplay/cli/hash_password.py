"""`celreplay hash-password`: a password as the HA1s that the config may hold instead."""

import sys

import click

from celreplay.api.credentials import ha1s_of
from celreplay.cli.common import examples
from celreplay.cli.output import print_json
from celreplay.cli.telling import json_option
from celreplay.errors import CelreplayError


@click.command(
    name="hash-password",
    epilog=examples("celreplay hash-password night", "pass show pbx/night | celreplay hash-password night"),
)
@click.argument("user")
@json_option("One JSON object: user, sha256, md5.")
def command(user: str, *, as_json: bool) -> None:
    """Make what the config may hold instead of a password.

    The password is asked for twice, or read from a pipe. What is printed belongs below
    api.users. It is as good as the password for this API, though for nothing else: keep
    the file closed to others.
    """
    try:
        ha1s = ha1s_of(user, _password())
    except ValueError as error:
        raise CelreplayError(str(error)) from None
    lines = {algorithm.replace("-", "").lower(): ha1 for algorithm, ha1 in ha1s.items()}
    if as_json:
        print_json({"user": user, **lines})
        return
    click.echo(f"{user}:")
    for algorithm, ha1 in lines.items():
        click.echo(f"  {algorithm}: {ha1}")


def _password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    text = sys.stdin.readline()
    return text.removesuffix("\n").removesuffix("\r")
