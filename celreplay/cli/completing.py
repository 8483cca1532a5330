"""What the shell offers for an option when TAB is pressed. Nothing here complains."""

from collections.abc import Sequence

import click


def connectors(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> Sequence[str]:
    """The connectors of the config file, as far as it can be read; secrets need not be."""
    return [name for name in _connectors(str(ctx.params.get("config_path"))) if name.startswith(incomplete)]


def _connectors(path: str) -> Sequence[str]:
    import yaml  # noqa: PLC0415  # commands are listed without it

    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  # click has not made a Path of it yet
            found = yaml.safe_load(file)["connectors"]
    except (OSError, TypeError, ValueError, KeyError, yaml.YAMLError):
        return []
    return [str(name) for name in found] if isinstance(found, dict) else []


def delivery_states(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> Sequence[str]:
    """What `deliveries list --state` takes."""
    from celreplay.api.delivery_query import HELD  # noqa: PLC0415  # commands are listed without it
    from celreplay.store.base import State  # noqa: PLC0415  # as above

    return [state for state in (*State, HELD) if state.startswith(incomplete)]
