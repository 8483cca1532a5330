"""From YAML to structs: every mistake of a file at once, each with its path.

The file is read as text, not as YAML's guesses: a password `0123` stays `0123` and a name `no` stays `no`; the
field's type says what a text means.
"""

import contextlib
import difflib
import enum
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
import yaml

from celreplay.errors import ConfigError
from celreplay.units import DatabaseUrl, Secret

_VARIABLE = re.compile(r"\$(\$)?\{([^}]*)\}")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NULL = "tag:yaml.org,2002:null"
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_DEEPEST = 30  # an alias that holds itself would have no end


class Wrong(Exception):  # noqa: N818 - a signal between a value and its reader, never seen outside
    """A value that cannot be read; its mistake is noted already."""


def compose(path: Path) -> yaml.Node | None:
    """The file's document. Raises ConfigError where there is none: missing, unreadable, not YAML."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError([f"is not UTF-8 (byte {error.start})"], where=str(path)) from None
    except OSError as error:
        raise ConfigError([f"cannot be read: {error.strerror or error}"], where=str(path)) from None
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError([f"{place}not YAML: {error.problem or error.context}"], where=str(path)) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError([f"not YAML: {error}"], where=str(path)) from None


def did_you_mean(word: str, known: typing.Iterable[str]) -> str:
    """`; did you mean url?`, or the list of what there is."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known)}" * bool(known)


class Reader:
    """Converts nodes and collects what is wrong with them."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        """`folder`: where relative paths of `{file: …}` begin; `environ`: the variables of `${…}`."""
        self.mistakes: list[str] = []
        self.secrets_in_file: list[str] = []
        """Paths of the secrets that stand in the file itself."""
        self._folder = folder
        self._environ = environ

    def wrong(self, path: str, what: str, node: yaml.Node | None = None) -> Wrong:
        """Note a mistake; raise what it returns where there is no value to go on with."""
        line = f" (line {node.start_mark.line + 1})" if node is not None and node.start_mark else ""
        self.mistakes.append(f"{path or 'file'}: {what}{line}")
        return Wrong()

    def entries(self, node: yaml.Node | None, path: str) -> dict[str, yaml.Node]:
        """The entries of a mapping; a key without a value is left out: its default holds."""
        if node is None or node.tag == _NULL:
            return {}
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(path, f"must be `key: value` lines, not {_kind(node)}", node)
        entries: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                self.wrong(path, "has a key that is no name", key)
            elif key.value in entries:
                self.wrong(_join(path, key.value), "stands here twice", key)
            else:
                entries[key.value] = value
        return {key: value for key, value in entries.items() if value.tag != _NULL}

    def wrong_at(self, path: str) -> bool:
        """True when a mistake was noted at the path or below it."""
        return any(re.match(rf"{re.escape(path)}[.:\[]", mistake) for mistake in self.mistakes)

    def fields(
        self, kind: type[msgspec.Struct], node: yaml.Node | None, path: str, known_already: Sequence[str] = ()
    ) -> dict[str, Any]:
        """The values for a struct's fields; unknown keys and missing ones are noted."""
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        entries = self.entries(node, path)
        for key in entries:
            if key not in fields and key not in known_already:
                self.wrong(_join(path, key), f"is unknown{did_you_mean(key, fields)}", entries[key])
        values: dict[str, Any] = {}
        for name, field in fields.items():
            if name in entries:
                try:
                    values[field.name] = self.value(field.type, entries[name], _join(path, name))
                except Wrong:
                    continue
            elif field.required:
                self.wrong(_join(path, name), "is missing", node)
        return values

    def struct(
        self, kind: type[msgspec.Struct], node: yaml.Node | None, path: str, known_already: Sequence[str] = ()
    ) -> Any:
        """A whole struct. Its `__post_init__` may raise ValueError about fields that do not go together."""
        before = len(self.mistakes)
        values = self.fields(kind, node, path, known_already)
        if len(self.mistakes) > before:
            raise Wrong
        try:
            return kind(**values)
        except ValueError as error:
            raise self.wrong(path, str(error), node) from None

    def value(self, kind: Any, node: yaml.Node, path: str) -> Any:
        """A value of the type `kind`. Raises Wrong when its mistake is noted."""
        if path.count(".") + path.count("[") > _DEEPEST:
            raise self.wrong(path, "is nested too deeply", node)
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is typing.Annotated:
            return self._bounded(self.value(arguments[0], node, path), arguments[1:], node, path)
        if origin in {typing.Union, types.UnionType}:
            return self._union(arguments, node, path)
        if origin in {list, tuple, frozenset, set}:
            return origin(self._items(arguments[0], node, path))
        if origin in {dict, Mapping}:
            return self._mapping(arguments, node, path)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self.struct(kind, node, path)
        if kind is yaml.Node:
            return node
        if kind is object or kind is Any:
            return self._plain(node, path)
        if isinstance(kind, type) and issubclass(kind, Secret):
            return self._secret(kind, node, path)
        return self._leaf(kind, self.text(node, path), node, path)

    def text(self, node: yaml.Node, path: str) -> str:
        """A scalar with its `${VARIABLE}` and `${VARIABLE:-default}` filled in; `$${` is a plain `${`."""
        if not isinstance(node, yaml.ScalarNode):
            raise self.wrong(path, f"must be one value, not {_kind(node)}", node)
        missing: list[str] = []

        def fill(match: re.Match[str]) -> str:
            if match[1]:
                return match[0][1:]
            name, has_default, default = match[2].partition(":-")
            if not _VARIABLE_NAME.fullmatch(name):
                missing.append(f"${{{match[2]}}} is no variable: write ${{NAME}} or ${{NAME:-default}}")
            value = self._environ.get(name, "")
            if not value and not has_default:
                missing.append(f"the environment variable {name} is not set")
            return value or default

        text = _VARIABLE.sub(fill, str(node.value))
        if missing:
            raise self.wrong(path, "; ".join(missing), node)
        return text

    def _leaf(self, kind: Any, text: str, node: yaml.Node, path: str) -> Any:
        try:
            return _parse(kind, text)
        except ValueError as error:
            raise self.wrong(path, str(error), node) from None

    def _secret(self, kind: type[Secret], node: yaml.Node, path: str) -> Secret:
        if isinstance(node, yaml.MappingNode):
            return typing.cast(Secret, self._leaf(kind, self._file(node, path), node, path))
        secret = typing.cast(Secret, self._leaf(kind, self.text(node, path), node, path))
        from_environment = _VARIABLE.search(str(node.value))
        if not from_environment and (not isinstance(secret, DatabaseUrl) or secret.has_password):
            self.secrets_in_file.append(path)
        return secret

    def _file(self, node: yaml.Node, path: str) -> str:
        entries = self.entries(node, path)
        if set(entries) != {"file"}:
            raise self.wrong(path, "must be a text or {file: /path/of/the/secret}", node)
        name = self._folder / self.text(entries["file"], f"{path}.file")
        try:
            return name.read_text("utf-8").removesuffix("\n").removesuffix("\r")
        except OSError as error:
            raise self.wrong(f"{path}.file", f"{name}: {error.strerror or error}", node) from None
        except UnicodeDecodeError:
            raise self.wrong(f"{path}.file", f"{name} is not UTF-8", node) from None

    def _items(self, kind: Any, node: yaml.Node, path: str) -> list[Any]:
        if not isinstance(node, yaml.SequenceNode):
            raise self.wrong(path, f"must be a list, [a, b], not {_kind(node)}", node)
        return self._all((index, f"{path}[{index}]", kind, item) for index, item in enumerate(node.value))[1]

    def _mapping(self, kinds: tuple[Any, ...], node: yaml.Node, path: str) -> dict[Any, Any]:
        before = len(self.mistakes)
        key_kind, value_kind = kinds
        entries = self.entries(node, path)
        for key, item in entries.items():
            with contextlib.suppress(Wrong):
                self._leaf(key_kind, key, item, _join(path, key))
        keys, values = self._all((key, _join(path, key), value_kind, item) for key, item in entries.items())
        if len(self.mistakes) > before:
            raise Wrong
        return {_parse(key_kind, key): value for key, value in zip(keys, values, strict=True)}

    def _all(self, items: typing.Iterable[tuple[Any, str, Any, yaml.Node]]) -> tuple[list[Any], list[Any]]:
        """Read each; raise Wrong only after the last, so that the mistakes of all are noted."""
        keys, values, wrong = [], [], False
        for key, path, kind, node in items:
            try:
                values.append(self.value(kind, node, path))
                keys.append(key)
            except Wrong:
                wrong = True
        if wrong:
            raise Wrong
        return keys, values

    def _union(self, kinds: tuple[Any, ...], node: yaml.Node, path: str) -> Any:
        """The first kind that fits; what the last one says is the mistake. An absent value is its default."""
        choices = [kind for kind in kinds if kind is not type(None)]
        for kind in choices[:-1]:
            before = len(self.mistakes)
            try:
                return self.value(kind, node, path)
            except Wrong:
                del self.mistakes[before:]
        return self.value(choices[-1], node, path)

    def _bounded(self, value: Any, bounds: tuple[Any, ...], node: yaml.Node, path: str) -> Any:
        """Check `Annotated[…, msgspec.Meta(ge=…, le=…, min_length=…, pattern=…)]`."""
        for bound in bounds:
            if isinstance(bound, msgspec.Meta) and (what := _out_of(bound, value)):
                raise self.wrong(path, what, node)
        return value

    def _plain(self, node: yaml.Node, path: str) -> Any:
        """A value of any type, as YAML itself sees it."""
        if isinstance(node, yaml.SequenceNode):
            return self._items(object, node, path)
        if isinstance(node, yaml.MappingNode):
            return self._mapping((str, object), node, path)
        text = self.text(node, path)
        if isinstance(node, yaml.ScalarNode) and node.style is None and text == node.value:
            try:
                return yaml.safe_load(text)
            except (ValueError, yaml.YAMLError):
                return text
        return text


def _parse(kind: Any, text: str) -> Any:
    """The meaning of a text as a `kind`. Raises ValueError with a sentence for the admin."""
    if get_origin(kind) is typing.Literal:
        if text not in get_args(kind):
            raise ValueError(f"{text!r} is not possible{did_you_mean(text, get_args(kind))}")
        return text
    if get_origin(kind) is re.Pattern:
        try:
            return re.compile(text)
        except re.error as error:
            raise ValueError(f"{text!r} is no regular expression: {error}") from None
    if kind is bool:
        if text.lower() not in _BOOLEANS:
            raise ValueError(f"{text!r} is neither true nor false")
        return _BOOLEANS[text.lower()]
    if kind in {int, float}:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"{text!r} is no {'whole ' * (kind is int)}number") from None
    if issubclass(kind, enum.Enum):
        return _parse(typing.Literal[tuple(str(member.value) for member in kind)], text) and kind(text)
    return kind.parse(text) if hasattr(kind, "parse") else kind(text)


def _out_of(bound: msgspec.Meta, value: Any) -> str:
    """What is wrong with a value outside its bounds; empty when nothing is."""
    shown = f"{value}" if isinstance(value, str | int | float) else "this"
    checks = (
        (bound.ge, lambda limit: value < limit, "is less than {limit}"),
        (bound.gt, lambda limit: value <= limit, "must be more than {limit}"),
        (bound.le, lambda limit: value > limit, "is more than {limit}"),
        (bound.lt, lambda limit: value >= limit, "must be less than {limit}"),
        (bound.min_length, lambda limit: len(value) < limit, "is too short, at least {limit}"),
        (bound.max_length, lambda limit: len(value) > limit, "is too long, at most {limit}"),
        (bound.pattern, lambda limit: not re.search(limit, value), "does not match {limit}"),
    )
    for limit, is_out, what in checks:
        if limit is not None and is_out(limit):
            return f"{shown} {what.format(limit=limit)}"
    return ""


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "`key: value` lines"
    return "a list" if isinstance(node, yaml.SequenceNode) else f"{node.value!r}"
