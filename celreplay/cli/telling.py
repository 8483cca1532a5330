"""What is said beside the results, on stderr: a line for people; with `--json` one JSON object a line."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from celreplay.errors import CelreplayError, ConfigError

_Command = TypeVar("_Command", bound=Callable[..., object])


def json_option(what: str) -> Callable[[_Command], _Command]:
    """`--json`, the one way to have results for programs; `what` says what they are."""
    return click.option("--json", "as_json", is_flag=True, help=what)


def is_json() -> bool:
    """Whether the command that runs was asked for JSON."""
    context = click.get_current_context(silent=True)
    return context is not None and context.obj is True


def note(text: str) -> None:
    """Something to know that is no trouble."""
    _say(text, {"note": text}, as_json=is_json())


def warning(text: str) -> None:
    """Something to look at; the command goes on."""
    _say(f"warning: {text}", {"warning": text}, as_json=is_json())


def bad_news(text: str, code: str) -> None:
    """Why the exit code will not be 0. `code`: a word for programs, as in the answers of the API."""
    _say(text, _error(code, text), as_json=is_json())


def complain(error: Exception, *, as_json: bool) -> None:
    """The error that ended a command."""
    if isinstance(error, click.ClickException):
        text = error.format_message()
        code = "usage" if isinstance(error, click.UsageError) else "refused"
        _say(text, _error(code, text), as_json=as_json)
    elif isinstance(error, ConfigError) and not as_json and len(error.mistakes) > 1:
        for mistake in error.mistakes:
            _say(mistake, {}, as_json=False)
    elif isinstance(error, CelreplayError):
        more = {"mistakes": error.mistakes} if isinstance(error, ConfigError) else {}
        parameter = getattr(error, "parameter", None)
        _say(str(error), _error(error.code, str(error), parameter, **more), as_json=as_json)
    else:
        what = getattr(error, "strerror", None) or str(error)
        file = getattr(error, "filename", None)
        text = f"{file}: {what}" if file else what
        _say(text, _error("system", text), as_json=as_json)


def _error(code: str, message: str, parameter: str | None = None, **more: object) -> dict[str, Any]:
    """The form of the API's errors (`api.answers.error_body`), made without loading what those need."""
    return {"error": {"code": code, "message": message, "parameter": parameter, **more}}


def _say(text: str, body: dict[str, Any], *, as_json: bool) -> None:
    click.echo(json.dumps(body, ensure_ascii=False) if as_json else f"celreplay: {text}", err=True)
