"""Named SQL statements from the `.sql` files beside this module, and their parameters per database."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_PARAMETER = re.compile(r"(NOT IN |IN )?:(\w+)")


def load(stem: str) -> dict[str, str]:
    """The statements of `<stem>.sql` by name, without their comments."""
    text = Path(__file__).with_name(f"{stem}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return {
        name: "\n".join(line for line in body.strip().splitlines() if not line.startswith("--"))
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }


class Bound(NamedTuple):
    """A statement as the driver takes it."""

    sql: str
    arguments: tuple[object, ...]


class Dialect(NamedTuple):
    """How a database writes identifiers and parameters."""

    quote: str
    style: Literal["?", "$", "%s"]

    def name(self, identifier: str) -> str:
        """A quoted identifier. The names come from the config and from the table: they may hold anything."""
        quoted = f"{self.quote}{identifier.replace(self.quote, self.quote * 2)}{self.quote}"
        return quoted.replace("%", "%%") if self.style == "%s" else quoted

    def table(self, table: str) -> str:
        """A quoted table name; `schema.table` names a table elsewhere."""
        return ".".join(self.name(part) for part in table.split(".", 1))

    def bind(self, statement: str, names: Mapping[str, str], values: Mapping[str, object]) -> Bound:
        """Fill `{names}` with quoted identifiers and `:values` with placeholders; `IN :keys` takes a list."""
        arguments: list[object] = []
        places: dict[str, str] = {}

        def place(match: re.Match[str]) -> str:
            among, key = match[1] or "", match[2]
            value = values[key]
            if self.style == "$":
                places.setdefault(key, f"${len(places) + 1}{_cast(value)}")
                if len(places) > len(arguments):
                    arguments.append(value)
                return {"": "", "IN ": "= ANY", "NOT IN ": "<> ALL"}[among] + (
                    f"({places[key]})" if among else places[key]
                )
            if isinstance(value, list):
                arguments.extend(value)
                return f"{among}({', '.join([self.style] * len(value))})"
            arguments.append(value)
            return self.style

        return Bound(_PARAMETER.sub(place, statement).format_map(names), tuple(arguments))


def _cast(value: object) -> str:
    return "::bigint" if isinstance(value, int) else ""
