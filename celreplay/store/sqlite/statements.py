"""SQL by name: `queries.sql` holds every statement, each under a line `-- name: purpose`."""

import re
from importlib import resources

_HEAD = re.compile(r"^-- (\w+): (.+)$")


def load(text: str) -> dict[str, str]:
    """The statements of a `.sql` text by their names. Raises ValueError for a name that stands twice."""
    statements: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if head := _HEAD.match(line):
            if head[1] in statements:
                raise ValueError(f"two statements named {head[1]}")
            lines = statements[head[1]] = []
        elif not line.startswith("--"):
            lines.append(line)
    return {name: "\n".join(body).strip() for name, body in statements.items()}


SQL = load(resources.files(__package__).joinpath("queries.sql").read_text(encoding="utf-8"))
"""Every statement the store runs, but for the schema's."""
