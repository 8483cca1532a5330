"""The configuration: one YAML file, read whole into frozen structs, or refused with every mistake in it.

The defaults stand here and nowhere else; `config.example.yaml` shows them, and a test compares the two.
"""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

from celreplay.apiconfig import ApiConfig
from celreplay.errors import ConfigError
from celreplay.leaves import did_you_mean
from celreplay.reading import Reader, Wrong
from celreplay.retention import RetentionConfig
from celreplay.rewrites import NumbersConfig
from celreplay.ruleconfig import RuleConfig
from celreplay.secret import CelUrl, Secret, StoreUrl
from celreplay.units import Duration, Glob, Regex, Size, ZoneName

__all__ = [
    "ApiConfig",
    "CelConfig",
    "Config",
    "DeliveryConfig",
    "Duration",
    "LogConfig",
    "PbxConfig",
    "RetentionConfig",
    "Secret",
    "Size",
    "StoreConfig",
    "load",
]

_CelField = Literal[
    "id", "eventtype", "eventtime", "userdeftype", "cid_name", "cid_num", "cid_ani", "cid_rdnis", "cid_dnid",
    "exten", "context", "channame", "appname", "appdata", "accountcode", "peeraccount", "uniqueid",
    "linkedid", "userfield", "peer", "extra",
]  # fmt: skip
_SqlName = Annotated[str, msgspec.Meta(pattern=r"^[^\s\"'`;\x00]{1,128}$")]
_Positive = Annotated[Duration, msgspec.Meta(gt=0)]
_CONNECTOR_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class PbxConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`pbx:` what cannot be read from the rows."""

    name: Annotated[str, msgspec.Meta(max_length=64, pattern=r"^([^\s/]+)?$")] = ""
    """The system in every identity; needed as soon as a connector is."""
    timezone: ZoneName = ZoneName("")
    """The zone of a table that holds local times, and of the dates people type; empty = the host's."""
    trunks: tuple[Glob, ...] = ()
    """Channel names or endpoints of outside lines: `PJSIP/trunk-*`, `sipgate*`."""
    extensions: Regex = Regex("")
    """Matches the whole of an inside number; empty = the names of the channels tell."""
    numbers: NumbersConfig = NumbersConfig()
    """The forms in which numbers are wanted."""
    user_events: dict[str, Literal["recording", "external_id", "note", "responsible", "destination"]] = {}
    """Name of a user-defined event → what its text is."""


class CelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`cel:` the table that Asterisk writes, and how it is followed."""

    url: CelUrl
    table: _SqlName = "cel"
    columns: dict[Annotated[str, _CelField], _SqlName] = {}
    """CEL's name → the column's name, where the table has names of its own."""
    poll_interval: Annotated[Duration, msgspec.Meta(ge=0.05, le=3600)] = Duration(1)
    grace: Duration = Duration(3)
    """Time between the end of a call and its delivery: rows may land late."""
    stale_after: _Positive = Duration(8 * 3600)
    """A call without a row for so long is over: Asterisk died."""
    start: Annotated[str, msgspec.Meta(min_length=1)] = "now"
    """Where the first start begins: `now`, or a date in a form of `start_date`."""


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`store:` where calls and the outbox are kept."""

    url: StoreUrl = StoreUrl("sqlite:////var/lib/celreplay/celreplay.sqlite")


class DeliveryConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`delivery:` order and shutdown."""

    order_patience: Duration = Duration(15 * 60)
    """A call that keeps failing by itself holds the later calls of its number at most so long."""
    live_patience: Duration = Duration(0)
    """A live call waits for older calls of its number that are being replayed at most so long."""
    shutdown_deadline: Annotated[Duration, msgspec.Meta(le=600)] = Duration(20)
    """What is being sent when the daemon stops has so long to finish."""


class LogConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`log:` to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    """`auto`: for people on a terminal, else JSON lines."""


class _Sections(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds beside connectors."""

    pbx: PbxConfig = PbxConfig()
    cel: CelConfig
    store: StoreConfig = StoreConfig()
    retention: RetentionConfig = RetentionConfig()
    api: ApiConfig = ApiConfig()
    delivery: DeliveryConfig = DeliveryConfig()
    rules: tuple[RuleConfig, ...] = ()
    log: LogConfig = LogConfig()


class Config(_Sections, frozen=True, kw_only=True):
    """The whole file."""

    connectors: dict[str, object] = {}
    """Name → the options of its type."""
    warnings: tuple[str, ...] = ()
    """What is allowed but not good; not from the file."""


class _File(_Sections, frozen=True, kw_only=True):
    """The file as it is read: connectors follow by their types."""

    connectors: yaml.Node | None = None


def load(
    path: str | Path, connector_types: Mapping[str, type], environ: Mapping[str, str] | None = None
) -> Config:
    """Read the file. `connector_types`: the value of `type:` → the struct of that connector's options.

    Raises ConfigError with all mistakes, each `path: what is wrong (line n)`.
    """
    path = Path(path)
    node = _document(path)
    environ = os.environ if environ is None else environ
    reader = Reader(path.parent, environ)
    try:
        values = reader.fields(_File, node, "")
    except Wrong:
        raise ConfigError(reader.mistakes, where=str(path)) from None
    values["connectors"] = _connectors(reader, values.get("connectors"), connector_types)
    _check_rules(reader, values.get("rules", ()), values["connectors"])
    if values["connectors"] and not _has_pbx_name(node, environ):
        reader.wrong("pbx.name", "is missing: deliveries are kept under it, so it should never change")
    if reader.mistakes:
        raise ConfigError(reader.mistakes, where=str(path))
    return Config(**values, warnings=_readable_by_others(path, reader.secrets_in_file))


def _document(path: Path) -> yaml.Node | None:
    """The file's document. Raises ConfigError where there is none: missing, unreadable, not YAML."""
    try:
        return yaml.compose(path.read_text("utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 (byte {error.start})"
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        if isinstance(error, PermissionError):
            what += f": run as root or as celreplay's user, or chgrp celreplay and chmod 640 {path}"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        what = f"{place}not YAML: {error.problem or error.context}"
    except (yaml.YAMLError, RecursionError) as error:
        what = f"not YAML: {error}"
    raise ConfigError([what], where=str(path))


def _connectors(reader: Reader, node: yaml.Node | None, known: Mapping[str, type]) -> dict[str, Any]:
    connectors: dict[str, Any] = {}
    try:
        entries = reader.entries(node, "connectors")
    except Wrong:
        return connectors
    for name, options in entries.items():
        path = f"connectors.{name}"
        if not _CONNECTOR_NAME.fullmatch(name):
            reader.wrong(path, "the name must be letters, digits, `-` and `_`, at most 64", options)
        try:
            connectors[name] = _connector(reader, options, path, known)
        except Wrong:
            connectors[name] = None
    return connectors


def _connector(reader: Reader, node: yaml.Node, path: str, known: Mapping[str, type]) -> object:
    entries = reader.entries(node, path)
    if "type" not in entries:
        raise reader.wrong(f"{path}.type", f"is missing{did_you_mean('', known)}", node)
    name = reader.text(entries["type"], f"{path}.type")
    if name not in known:
        raise reader.wrong(f"{path}.type", f"{name!r} is unknown{did_you_mean(name, known)}", entries["type"])
    return reader.struct(known[name], node, path, elsewhere=("type",))


def _check_rules(reader: Reader, rules: tuple[RuleConfig, ...], connectors: Mapping[str, object]) -> None:
    for place, rule in enumerate(rules):
        for name in rule.all_of("connectors"):
            if name not in connectors:
                path = f"rules[{place}].connectors"
                reader.wrong(path, f"there is no connector {name!r}{did_you_mean(name, connectors)}")


def _has_pbx_name(node: yaml.Node | None, environ: Mapping[str, str]) -> bool:
    """Looks by itself: other mistakes in `pbx:` leave no struct to ask."""
    quiet = Reader(Path(), environ)
    try:
        values = quiet.fields(PbxConfig, quiet.entries(node, "").get("pbx"), "pbx")
    except Wrong:
        return False
    return bool(values.get("name")) or quiet.wrong_at("pbx.name")


def _readable_by_others(path: Path, secrets: list[str]) -> tuple[str, ...]:
    if not secrets or not path.stat().st_mode & stat.S_IROTH:
        return ()
    return (f"{path} holds secrets ({', '.join(secrets)}) and everybody can read it: chmod o-r {path}",)
