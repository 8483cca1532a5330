"""The documents tell all there is, and what they tell works."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import click
import msgspec
import pytest
import yaml
from aiohttp import web

from celreplay.api.app import make_app
from celreplay.api.digest import DigestAuth
from celreplay.api.parameters import read_parameters
from celreplay.api.read_call import parse
from celreplay.cli import COMMANDS, EXIT_BROKEN_PIPE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_WRONG, cli
from celreplay.config import Config, load
from celreplay.connectors.table import OPTIONS
from celreplay.zone import zone_named

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
EVERYTHING = README + "".join(TEXTS.values())
NOW = 1_795_500_000_000_000


def all_commands() -> dict[str, click.Command]:
    """`deliveries list` → its command; the whole command line stands first, under no name."""
    context = click.Context(cli)
    found: dict[str, click.Command] = {"": cli}
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {below}": one for below, one in command.commands.items()}
    return found


def options() -> Iterator[tuple[str, str]]:
    """(command, option) of the whole command line."""
    for name, command in all_commands().items():
        named = (parameter for parameter in command.params if isinstance(parameter, click.Option))
        yield from ((name.partition(" ")[0], max(one.opts, key=len)) for one in named if name)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_described(name: str) -> None:
    """Each command has a chapter in docs/cli.md and stands in the README."""
    assert f"## celreplay {name}\n" in TEXTS["cli.md"]
    assert name in README


@pytest.mark.parametrize(("name", "option"), list(options()))
def test_every_option_is_described(name: str, option: str) -> None:
    """Each option stands in its command's chapter, or among the ones that several commands share."""
    text = TEXTS["cli.md"]
    chapter = text.partition(f"## celreplay {name}\n")[2].partition("\n## ")[0]
    shared = text.partition("## celreplay ")[0]
    assert f"{option}" in chapter or f"`{option}" in shared


def keys_of(struct: type[msgspec.Struct], path: str) -> Iterator[str]:
    """The dotted keys of a section."""
    for field in msgspec.structs.fields(struct):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from keys_of(field.type, f"{path}{field.name}.")
        else:
            yield f"{path}{field.name}"


def test_every_key_of_the_config_is_described() -> None:
    """Each key of the config, and of each connector's options, stands in configuration.md and the example."""
    example = (ROOT / "config.example.yaml").read_text(encoding="utf-8")
    keys = [key for key in keys_of(Config, "") if key != "warnings"]
    keys += [key for kind in OPTIONS.values() for key in keys_of(kind, "")]
    assert len(keys) > 30
    names = {key.rpartition(".")[2] for key in keys}
    missing = {name for name in names if f"`{name}`" not in TEXTS["configuration.md"]}
    assert missing == set()
    assert {name for name in names if f"{name}:" not in example} == set()


def routes() -> list[tuple[str, str]]:
    """(method, path) of the HTTP door; the routes need no working service."""
    zone = zone_named("UTC")
    app: web.Application = make_app(
        None,  # type: ignore[arg-type]  # no request is made
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        DigestAuth({}),
        zone=zone,
        clock=None,  # type: ignore[arg-type]
    )
    found = [(route.method, route.resource.canonical) for route in app.router.routes() if route.resource]
    return [(method, path) for method, path in found if method != "HEAD"]


def test_every_route_is_described() -> None:
    """Each route stands in docs/api.md with its method, and its path in the README."""
    assert len(routes()) >= 6
    for method, path in routes():
        assert f"{method} {path}" in TEXTS["api.md"], (method, path)
        assert path.partition("{")[0].rstrip("/") in README


def test_every_promise_names_a_test_that_exists() -> None:
    """The README's table of promises: each row names a test, and the test is there."""
    table = README.partition("## What is promised")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    for row in rows:
        named = re.findall(r"`(tests/\w+\.py)::(\w+)`", row)
        assert named, row
        for file, test in named:
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            assert test in {getattr(node, "name", None) for node in tree.body}, f"{file}::{test}"


def curl_lines() -> list[str]:
    return [line for line in re.sub(r"\\\n", "", README).splitlines() if line.startswith("curl ")]


@pytest.mark.parametrize("line", curl_lines())
def test_the_curl_lines_of_the_readme_ask_for_what_there_is(line: str) -> None:
    """Each curl line goes to a route that exists, with parameters that are understood."""
    words = shlex.split(line)
    address = next(word for word in words if word.startswith("127.0.0.1:8077/"))
    data = words[words.index("-d") + 1] if "-d" in words else ""
    method = words[words.index("-X") + 1] if "-X" in words else "POST" if data else "GET"
    parts = urlsplit(f"http://{address}")
    patterns = [path.replace("{id}", "[0-9]+") for known, path in routes() if known == method]
    assert any(re.fullmatch(pattern, parts.path) for pattern in patterns), line
    if parts.path == "/pbx/read_call":
        form = "application/x-www-form-urlencoded"
        parameters = read_parameters(parts.query, form, data.encode())
        asked = parse(parameters, user="login", zone=zone_named("UTC"), now=NOW)
        assert asked.request.ids or asked.request.period
    else:
        assert {name for name, _ in parse_qsl(parts.query)} <= (
            {"path"} if parts.path == "/status" else set()
        )


def yaml_blocks() -> list[tuple[str, str]]:
    """(page, block) of each config in the documents."""
    texts = {"README.md": README, **TEXTS}
    return [
        (page, block)
        for page, text in texts.items()
        for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        if re.match(r"(pbx|cel|store|api|delivery|log|connectors):", block)
    ]


@pytest.mark.parametrize(("page", "block"), yaml_blocks())
def test_the_configs_of_the_documents_can_be_loaded(page: str, block: str, tmp_path: Path) -> None:
    """Each config block is one that celreplay takes, completed where it shows only a section."""
    for file, content in (("admin.password", "x"), ("crm.secret", "whsec_" + "A" * 43 + "=")):
        (tmp_path / file).write_text(content)
    values = yaml.safe_load(re.sub(r"/etc/celreplay/", f"{tmp_path}/", block))
    values.setdefault("cel", {}).setdefault("url", "sqlite:////nowhere/cel.sqlite")
    if "connectors" in values:
        values.setdefault("pbx", {}).setdefault("name", "office")
    path = tmp_path / "celreplay.yaml"
    path.write_text(yaml.safe_dump(values))
    environ = {"CEL_PASSWORD": "x", "CRM_SECRET": "whsec_" + "A" * 43 + "="}
    assert load(path, OPTIONS, environ).cel.url, page


def test_the_commands_of_the_documents_are_understood() -> None:
    """Each `celreplay …` line of the documents has a command and options that exist."""
    known = {name: {option for owner, option in options() if owner == name} for name in COMMANDS}
    lines = re.findall(
        r"^(?:    |.*?`)celreplay ([a-z][a-z-]*)((?: [^`\n|#>\[(]*)?)", EVERYTHING, re.MULTILINE
    )
    assert len(lines) > 15
    for command, rest in lines:
        assert command in known, command
        for option in re.findall(r"(?<=\s)--[a-z-]+", rest):
            assert option in known[command] | {"--help", "--config"}, (command, option)


def as_typed(line: str) -> str:
    """Which command click takes the line for. Raises what click raises where it takes it for none."""
    words = shlex.split(line, comments=True)
    words = words[words.index("celreplay") + 1 :]
    for end in ("|", ">", "2>", "&&", ";"):
        words = words[: words.index(end)] if end in words else words
    command: click.Command = cli
    name: list[str] = []
    while isinstance(command, click.Group):
        name.append(words.pop(0))
        found = command.get_command(click.Context(command), name[-1])
        assert found is not None, line
        command = found
    command.make_context(" ".join(name), words)
    return " ".join(name)


@pytest.mark.parametrize("name", list(all_commands()))
def test_the_help_of_every_command_has_examples_that_work(name: str) -> None:
    """`--help` ends with examples of this command, and click takes each of them as it stands there."""
    epilog = all_commands()[name].epilog or ""
    lines = [line for line in epilog.splitlines() if " celreplay " in f" {line}"]
    assert lines, f"no example in `celreplay {name} --help`"
    for line in lines:
        assert as_typed(line).startswith(name), line


def test_the_examples_of_the_documents_work() -> None:
    """click takes each example of docs/cli.md and of the other pages; synopses are none."""
    lines = re.findall(r"^    ((?:sudo -u celreplay )?celreplay [a-z].*)$", EVERYTHING, re.MULTILINE)
    examples = [line for line in lines if not re.search(r"[\\[(…|]|\b[A-Z]{2,}\b", line.partition(" | ")[0])]
    assert len(examples) > 15
    for line in examples:
        assert as_typed(line)


@pytest.mark.parametrize("code", [0, EXIT_FAILED, EXIT_WRONG, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE])
def test_every_exit_code_is_described(code: int) -> None:
    """Each stands in `celreplay --help` and in docs/cli.md."""
    assert re.search(rf"^ +{code}  ", cli.epilog or "", re.MULTILINE)
    assert f"\n| {code} |" in TEXTS["cli.md"]


@pytest.mark.parametrize("page", ["README.md", *(str(page.relative_to(ROOT)) for page in PAGES)])
def test_links_lead_somewhere(page: str) -> None:
    """Each link to a file of the repository leads to one."""
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    missing = [target for target in targets if not ((ROOT / page).parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize(
    "name", [name for name in all_commands() if name not in {"serve", "demo", "completion"}]
)
def test_every_command_that_tells_something_has_json(name: str) -> None:
    """`--json` is one way for all commands, as docs/cli.md promises."""
    command = all_commands()[name]
    if not isinstance(command, click.Group):
        assert "--json" in {option for parameter in command.params for option in parameter.opts}
