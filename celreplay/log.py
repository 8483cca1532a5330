"""The log: one event a line on stderr, JSON for journald, readable on a terminal; no secrets in either.

Events are named with dots (`delivery.settled`) and carry fields; what other libraries log by the standard
library takes the same way.
"""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Mapping
from typing import Literal, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from celreplay.secret import MASK, is_secret_name, mask_text

_DEEPEST = 4
_encode = msgspec.json.Encoder(enc_hook=str).encode


class _Lines:
    """Writes our own events straight to the stream: attempts may be thousands a second. What
    cannot be written is lost, as with the standard library's handlers: a broken log stops nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"{line}\n")
            self._stream.flush()

    debug = info = warning = error = critical = _write


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that configuring again replaces it and nobody else's."""


def configure(
    level: str = "info",
    form: Literal["auto", "json", "console"] = "auto",
    *,
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Set up structlog and the standard library's logging, for the whole process.

    `auto` is the console form on a terminal, else JSON lines. Where the stream is journald's, lines carry no
    time of their own: the journal has one.
    """
    stream = sys.stderr if stream is None else stream
    console = form == "console" or (form == "auto" and stream.isatty())
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        mask_secrets,
    ]
    if not _is_journal(stream, os.environ if environ is None else environ):
        shared.append(structlog.processors.TimeStamper(fmt="iso", utc=not console))
    structlog.configure(
        processors=[*shared, *_renderer(console, stream)],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: _Lines(stream),
        cache_logger_on_first_use=False,
    )
    handler = _Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderer(console, stream),
            ],
        )
    )
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(threshold)
    logging.captureWarnings(capture=True)
    for chatty in ("asyncio", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(max(threshold, logging.WARNING))


def _renderer(console: bool, stream: TextIO) -> list[Processor]:
    if console:
        return [structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=28)]
    return [structlog.processors.JSONRenderer(serializer=_json)]


def _json(event: EventDict, **_: object) -> str:
    try:
        return _encode(event).decode()
    except (TypeError, ValueError, OverflowError):  # half a surrogate, a key of an odd type, a huge number
        return json.dumps(event, default=str)


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """True where the stream is the socket in `$JOURNAL_STREAM` (systemd.exec(5): device:inode)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask fields with a secret's name, and passwords and tokens inside texts and addresses."""
    masked = {key: _masked(key, value, 0) for key, value in event.items()}
    return {"event": masked.pop("event", ""), "level": masked.pop("level", ""), **masked}


def _masked(key: object, value: object, depth: int) -> object:
    if isinstance(key, str) and is_secret_name(key) and not isinstance(value, bool | int | float | None):
        return MASK
    if isinstance(value, str):
        return mask_text(value)
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {inner: _masked(inner, item, depth + 1) for inner, item in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple):
        return [_masked(None, item, depth + 1) for item in value]
    return value
