"""From YAML to structs: every mistake of a file at once, each with its path.

The file is read as text, not as YAML guesses it: a password `0123` stays `0123` and a name `no` stays `no`;
the type of the field says what a text means.
"""

import contextlib
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
import yaml

from celreplay.leaves import did_you_mean, joined, out_of, parse
from celreplay.secret import Secret

_VARIABLE = re.compile(r"\$(\$)?\{([^}]*)\}")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"
_LISTS = {list, tuple, frozenset, set}
_DEEPEST = 30  # an alias that holds itself would have no end


class Wrong(Exception):  # noqa: N818 - a signal between a value and its reader, never seen outside
    """A value that cannot be read; its mistake is noted already."""


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

    def wrong_at(self, path: str) -> bool:
        """True when a mistake was noted at the path itself."""
        return any(mistake.startswith(f"{path}: ") for mistake in self.mistakes)

    def entries(self, node: yaml.Node | None, path: str) -> dict[str, yaml.Node]:
        """The entries of a mapping; a key without a value is left out: its default holds."""
        if node is None or node.tag == _NULL:
            return {}
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(path, f"must be `key: value` lines, not {_kind(node)}", node)
        entries: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                self.wrong(path, "has a key that is no name", key)
            elif key.value in entries:
                self.wrong(joined(path, key.value), "stands here twice", key)
            else:
                entries[key.value] = value
        return {key: value for key, value in entries.items() if value.tag != _NULL}

    def fields(
        self, kind: type[msgspec.Struct], node: yaml.Node | None, path: str, elsewhere: Sequence[str] = ()
    ) -> dict[str, Any]:
        """The values for a struct's fields; unknown keys and missing ones are noted. Keys named in
        `elsewhere` are read by somebody else."""
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        entries = self.entries(node, path)
        for key in entries:
            if key not in fields and key not in elsewhere:
                self.wrong(joined(path, key), f"is unknown{did_you_mean(key, fields)}", entries[key])
        values: dict[str, Any] = {}
        for name, field in fields.items():
            with contextlib.suppress(Wrong):
                if name in entries:
                    values[field.name] = self.value(field.type, entries[name], joined(path, name))
                elif field.required and _is_struct(field.type):
                    values[field.name] = self.struct(field.type, None, joined(path, name))
                elif field.required:
                    self.wrong(joined(path, name), "is missing", node)
        return values

    def struct(
        self, kind: type[msgspec.Struct], node: yaml.Node | None, path: str, elsewhere: Sequence[str] = ()
    ) -> msgspec.Struct:
        """A whole struct. Its `__post_init__` may raise ValueError(`field: what is wrong`)."""
        before = len(self.mistakes)
        values = self.fields(kind, node, path, elsewhere)
        if len(self.mistakes) > before:
            raise Wrong
        try:
            return kind(**values)
        except ValueError as error:
            field, colon, what = str(error).partition(": ")
            if colon and re.split(r"[.\[]", field)[0] in kind.__struct_fields__:
                raise self.wrong(joined(path, field), what, node) from None
            raise self.wrong(path, str(error), node) from None

    def value(self, kind: Any, node: yaml.Node, path: str) -> object:  # noqa: ANN401 - a type, or a form of one
        """A value of the type `kind`. Raises Wrong when its mistake is noted."""
        if path.count(".") + path.count("[") > _DEEPEST:
            raise self.wrong(path, "is nested too deeply", node)
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is typing.Annotated:
            return self._bounded(self.value(arguments[0], node, path), arguments[1:], node, path)
        if origin in {typing.Union, types.UnionType}:
            return self._union(arguments, node, path)
        if origin in _LISTS:
            return origin(self._items(arguments[0], node, path))
        if origin in {dict, Mapping}:
            return self._mapping(arguments, node, path)
        return self._single(kind, node, path)

    def _single(self, kind: Any, node: yaml.Node, path: str) -> object:  # noqa: ANN401 - the same
        if kind is yaml.Node:
            return node
        if kind is object or kind is Any:
            return self._as_yaml_sees_it(node, path)
        if _is_struct(kind):
            return self.struct(kind, node, path)
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
                missing.append("${…} must be ${NAME} or ${NAME:-default}; write $${ for a plain ${")
            value = self._environ.get(name, "")
            if not value and not has_default:
                missing.append(f"the environment variable {name} is not set")
            return value or default

        text = _VARIABLE.sub(fill, str(node.value))
        if missing:
            raise self.wrong(path, missing[0], node)
        return text

    def _leaf(self, kind: object, text: str, node: yaml.Node, path: str) -> object:
        try:
            return parse(kind, text)
        except ValueError as error:
            raise self.wrong(path, str(error), node) from None

    def _secret(self, kind: type[Secret], node: yaml.Node, path: str) -> object:
        if isinstance(node, yaml.MappingNode):
            return self._leaf(kind, self._file(node, path), node, path)
        secret = self._leaf(kind, self.text(node, path), node, path)
        if not _VARIABLE.search(str(node.value)) and getattr(secret, "has_password", True):
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

    def _items(self, kind: object, node: yaml.Node, path: str) -> list[Any]:
        if not isinstance(node, yaml.SequenceNode):
            raise self.wrong(path, f"must be a list, [a, b], not {_kind(node)}", node)
        return self._all(kind, ((f"{path}[{index}]", item) for index, item in enumerate(node.value)))

    def _mapping(self, kinds: tuple[Any, ...], node: yaml.Node, path: str) -> dict[Any, Any]:
        before, (key_kind, value_kind) = len(self.mistakes), kinds
        entries = self.entries(node, path)
        for key, item in entries.items():
            with contextlib.suppress(Wrong):
                self._leaf(key_kind, key, item, joined(path, key))
        values = self._all(value_kind, ((joined(path, key), item) for key, item in entries.items()))
        if len(self.mistakes) > before:
            raise Wrong
        return {parse(key_kind, key): value for key, value in zip(entries, values, strict=True)}

    def _all(self, kind: object, items: Iterable[tuple[str, yaml.Node]]) -> list[Any]:
        """Read each; raise Wrong only after the last, so that the mistakes of all are noted."""
        before, values = len(self.mistakes), []
        for path, node in items:
            with contextlib.suppress(Wrong):
                values.append(self.value(kind, node, path))
        if len(self.mistakes) > before:
            raise Wrong
        return values

    def _union(self, kinds: tuple[Any, ...], node: yaml.Node, path: str) -> object:
        """The first kind that fits, else the mistake of the last one of the node's shape."""
        *others, last = [kind for kind in kinds if _has_shape(kind, node)] or kinds
        for kind in others:
            before = len(self.mistakes)
            with contextlib.suppress(Wrong):
                return self.value(kind, node, path)
            del self.mistakes[before:]
        return self.value(last, node, path)

    def _bounded(self, value: object, bounds: tuple[Any, ...], node: yaml.Node, path: str) -> object:
        """Check `Annotated[…, msgspec.Meta(ge=…, le=…, min_length=…, pattern=…)]`."""
        for bound in bounds:
            if isinstance(bound, msgspec.Meta) and (what := out_of(bound, value)):
                raise self.wrong(path, what, node)
        return value

    def _as_yaml_sees_it(self, node: yaml.Node, path: str) -> object:
        if isinstance(node, yaml.SequenceNode):
            return self._items(object, node, path)
        if isinstance(node, yaml.MappingNode):
            return self._mapping((str, object), node, path)
        text = self.text(node, path)
        with contextlib.suppress(ValueError, yaml.YAMLError):
            if isinstance(node, yaml.ScalarNode) and node.style is None and text == node.value:
                return yaml.safe_load(text)
        return text


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _has_shape(kind: object, node: yaml.Node) -> bool:
    if kind is type(None) or (get_origin(kind) in _LISTS) != isinstance(node, yaml.SequenceNode):
        return False
    is_file = isinstance(node, yaml.MappingNode) and [key.value for key, _ in node.value] == ["file"]
    return not _is_struct(kind) or (isinstance(node, yaml.MappingNode) and not is_file)


def _kind(node: yaml.Node) -> str:
    """For people; never the value itself, it may be a secret in the wrong place."""
    listed = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
    return "`key: value` lines" if isinstance(node, yaml.MappingNode) else listed
