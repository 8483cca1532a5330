"""The host: files, disk, port."""

import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

from celreplay.api.port import holder_of
from celreplay.config import Config
from celreplay.doctor.findings import Finding, error, ok, warning
from celreplay.parts import store_path
from celreplay.store.ownership import holder

_LITTLE = 1_000_000_000
_TOO_LITTLE = 50_000_000
"""Bytes free where the store lies."""


def about_host(config: Config, config_path: Path) -> list[Finding]:
    """All findings of this host."""
    path = store_path(config)
    return [_config(config, config_path), *_store(path), _port(config, path)]


def _config(config: Config, path: Path) -> Finding:
    if config.warnings:
        return warning("config", "; ".join(config.warnings), f"chown root:celreplay {path}; chmod 640 {path}")
    if not config.connectors:
        how = "add `connectors:`, see docs/configuration.md"
        return warning("config", "names no connector: calls are read and sent nowhere", how)
    return ok("config", f"{path}: no mistakes")


def _store(path: Path) -> list[Finding]:
    folder = path.parent
    if not folder.is_dir():
        how = f"install -d -o celreplay -g celreplay -m 750 {folder}"
        return [error("store", f"the folder {folder} is not there", how)]
    if not os.access(folder, os.W_OK):
        how = f"chown celreplay {folder}, and run this as that user (runuser -u celreplay)"
        return [error("store", f"{folder} cannot be written by this user", how)]
    findings = [_disk(folder)]
    if not path.exists():
        return [ok("store", f"{path} is made at the first start"), *findings]
    return [_file(path), *findings]


def _file(path: Path) -> Finding:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        return warning("store", f"{path} is open to others (mode {mode:o})", f"chmod 600 {path}")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2)) as store:
            found = store.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as trouble:
        return error("store", f"{path} cannot be read: {trouble}", 'see docs/store.md, "A bad day"')
    if found != "ok":
        return error(
            "store", f"{path} is damaged: {found}", "stop celreplay, put back a backup; see docs/store.md"
        )
    return ok("store", f"{path}, {path.stat().st_size / 1e6:.1f} MB")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free below {folder}"
    if free < _TOO_LITTLE:
        return error("disk", text, "make room: without it nothing is read or delivered")
    return warning("disk", text, "make room") if free < _LITTLE else ok("disk", text)


def _port(config: Config, store: Path) -> Finding:
    port = config.api.port
    daemon = holder(store)
    if daemon:
        return ok("daemon", f"runs (pid {daemon})")
    other = holder_of(port) if config.api.plain and port else ""
    if other:
        how = "stop that program, or set another api.port in the config"
        return error("port", f"port {port} is taken by {other}", how)
    return ok("daemon", f"does not run; port {port} is free")
