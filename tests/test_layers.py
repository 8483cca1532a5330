"""The shape of the package: who may import whom, what stays pure, how long a thing may get."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "celreplay"
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py"))

GROUND = {
    *("apiconfig", "config", "leaves", "reading", "retention", "rewrites", "ruleconfig", "secret", "units"),
    *("clock", "errors", "health", "log", "period", "systemd", "times", "waiting", "zone"),
}
LAYERS: list[set[str]] = [
    GROUND,
    {"cel"},
    {"calls"},
    {"sources", "store", "connectors"},
    {"choices", "intake", "lookup", "following", "pace", "rebuilding"},
    {"tail", "replay", "delivery", "keeping"},
    {"services", "deliveries", "overview", "monitor"},
    {"parts"},
    {"api"},
    {"daemon"},
    {"doctor"},
    {"cli", "demo", "__main__"},
]
"""Lowest first. A module imports from lower layers and from itself."""
TOGETHER = [
    GROUND,
    {"choices", "intake", "lookup", "following", "pace", "rebuilding"},
    {"services", "deliveries", "overview", "monitor"},
    {"cli", "demo", "__main__"},
]
"""Layers whose members may import one another. Elsewhere siblings see only each other's seam, `base`."""

PURE = re.compile(
    r"celreplay/(cel/|calls/|period\.py|units\.py|leaves\.py|following/(gaps|overlap)\.py|delivery/(lanes|pacing|retry|settling|throttle)\.py)"
)
PURE_IMPORTS = {
    *(
        "bisect",
        "collections",
        "dataclasses",
        "datetime",
        "difflib",
        "enum",
        "fnmatch",
        "functools",
        "hashlib",
    ),
    *("heapq", "ipaddress", "itertools", "math", "operator", "re", "string", "typing", "zoneinfo"),
    *("msgspec", "phonenumbers", "celreplay"),
}
ONLY_IN = {
    "asyncpg": r"sources/|store/|demo/",
    "aiomysql": r"sources/",
    "asyncmy": r"sources/",
    "pymysql": r"sources/",
    "sqlite3": r"sources/|store/|demo/|cli/|doctor/",
    "aiohttp": r"connectors/(http|failures)\.py|api/|daemon\.py|demo/|cli/",
    "prometheus_client": r"api/metrics\.py",
    "click": r"cli/",
    "rich": r"cli/|demo/",
    "yaml": r"config\.py|reading\.py|cli/(check_config|capture|completing)\.py|demo/",
}
"""Each library has one place, so that its errors are translated in one place."""

LONGEST_MODULE = 250
LONGEST_FUNCTION = 55
LONGER = {"celreplay/store/base.py": 420, "celreplay/store/sqlite/store.py": 280}
"""The seam of the store is one Protocol and the records it speaks in: fields and their meaning, no code. Its
implementation has one short method for each of the Protocol's, which hands the work to the module that does it."""


def tree_of(module: str) -> ast.Module:
    """A module's syntax."""
    return ast.parse((ROOT / module).read_text("utf-8"))


def imports_of(module: str) -> Iterator[str]:
    """Dotted names of everything a module imports, wherever in it: `celreplay.store.base.State`, `asyncio`."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide where they lead"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def place_of(dotted: str) -> str:
    """`celreplay.store.base.State` → `store`; a name of the package itself (its version) is in no layer."""
    parts = dotted.split(".")
    is_module = len(parts) > 1 and ((PACKAGE / parts[1]).is_dir() or (PACKAGE / f"{parts[1]}.py").exists())
    return parts[1] if is_module else ""


def own_place(module: str) -> str:
    """The layer name of a file; empty for the package's `__init__`."""
    place = module.split("/")[1].removesuffix(".py")
    return "" if place == "__init__" else place


def test_every_module_has_a_layer() -> None:
    """A new module says where it belongs; a name without a module is taken off the list."""
    assert {own_place(module) for module in MODULES} - {""} == set().union(*LAYERS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_lead_downward(module: str) -> None:
    """cli > daemon > api > services > tail | replay | delivery > sources | store | connectors > calls > cel."""
    own = own_place(module)
    rank = {place: number for number, layer in enumerate(LAYERS) for place in layer}
    wrong = []
    for name in imports_of(module):
        place = place_of(name) if name.startswith("celreplay.") else ""
        if not place or place == own or (own and rank[place] < rank[own]):
            continue
        seam = name.split(".")[2:3] == ["base"]
        siblings = bool(own) and rank[place] == rank[own] and (seam or LAYERS[rank[own]] in TOGETHER)
        if not siblings:
            wrong.append(name)
    assert wrong == []


@pytest.mark.parametrize("module", [module for module in MODULES if PURE.match(module)])
def test_the_meaning_of_rows_is_worked_out_without_the_world(module: str) -> None:
    """No I/O, no clock, no asyncio, no driver, in what is interpreted: the same rows give the same calls."""
    assert {name.split(".")[0] for name in imports_of(module)} <= PURE_IMPORTS
    for node in ast.walk(tree_of(module)):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), f"line {node.lineno}"
        if isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            assert called not in {"open", "print", "input", "now", "today", "utcnow"}, f"line {node.lineno}"


@pytest.mark.parametrize("module", MODULES)
def test_each_library_has_its_place(module: str) -> None:
    """And nothing for tests gets into the package."""
    names = {name.split(".")[0] for name in imports_of(module)}
    inside = module.removeprefix("celreplay/")
    assert not names & {"tests", "pytest", "hypothesis", "unittest"}
    assert [name for name in names & ONLY_IN.keys() if not re.match(ONLY_IN[name], inside)] == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_and_its_functions_are_short(module: str) -> None:
    """At most 250 lines a module and 55 a function: longer ones hold two ideas."""
    length = len((ROOT / module).read_text("utf-8").splitlines())
    longest = LONGER.get(module, LONGEST_MODULE)
    assert length <= longest
    functions = [
        node for node in ast.walk(tree_of(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("module", MODULES)
def test_what_a_checker_is_told_to_pass_over_has_its_reason(module: str) -> None:
    """`# noqa: CODE` and a sentence; and nothing hides from mypy."""
    for number, line in enumerate((ROOT / module).read_text("utf-8").splitlines(), start=1):
        assert "type: ignore" not in line, f"line {number}"
        if "noqa" in line:
            assert re.search(r"# noqa: [A-Z]+\d+(, [A-Z]+\d+)*\s+([-#]\s+)?\w.+", line), f"line {number}"
