"""The CEL database: whether it answers, what the table is like, how quick a look-up is."""

import time

from celreplay.cel.events import CelEvent
from celreplay.doctor.findings import Finding, error, ok, warning
from celreplay.errors import SourceError
from celreplay.sources.base import CelSource, Position, TableDescription
from celreplay.times import SECOND, Instant

SAMPLE = 5_000
"""Of the latest rows that are looked at."""
_SLOW = 0.5
"""Seconds for the look-up of one call."""
_DAY = 24 * 3600 * SECOND


async def about_database(source: CelSource) -> tuple[list[Finding], list[CelEvent]]:
    """The findings, and the latest rows for the findings about them."""
    try:
        description = await source.describe()
        rows = await _latest(source, description)
        seconds = await _look_up(source, rows)
    except SourceError as trouble:
        return [error("database", trouble.message, trouble.hint or "see docs/sources.md")], []
    return [_table(description), _indexes(description, seconds)], rows


async def _latest(source: CelSource, description: TableDescription) -> list[CelEvent]:
    last = description.last
    if last.id is not None:
        return list(await source.rows_after(Position(id=last.id - SAMPLE, eventtime=0), SAMPLE))
    return list(await source.rows_since(last.eventtime - _DAY, SAMPLE)) if last.eventtime else []


async def _look_up(source: CelSource, rows: list[CelEvent]) -> float:
    if not rows:
        return 0.0
    began = time.perf_counter()
    await source.rows_of({rows[-1].uniqueid})
    return time.perf_counter() - began


def _table(description: TableDescription) -> Finding:
    oldest = "empty" if description.oldest is None else f"oldest row {Instant(description.oldest).iso()}"
    text = f"{description.table}: times in {description.eventtime_form or 'a form not known yet'}, {oldest}"
    missing = [name for name in ("linkedid", "uniqueid", "extra", "eventtype") if name in description.missing]
    if missing:
        how = "add them to the table and to the module's configuration; see docs/install.md"
        return error("table", f"{text}; it has no column for {', '.join(missing)}", how)
    if "id" in description.missing:
        how = "ALTER TABLE cel ADD COLUMN id BIGINT AUTO_INCREMENT PRIMARY KEY (or BIGSERIAL)"
        return warning("table", f"{text}; without an id it is followed by time", how)
    return ok("table", text)


def _indexes(description: TableDescription, seconds: float) -> Finding:
    names = {field: description.columns.get(field, field) for field in ("linkedid", "uniqueid", "eventtime")}
    lacking = [column for field, column in names.items() if field not in description.indexed]
    took = f"the look-up of a call took {seconds * 1000:.0f} ms"
    if not lacking and seconds < _SLOW:
        return ok("indexes", took)
    if not lacking:
        return warning("indexes", took, "look at the load of the database")
    made = "; ".join(f"CREATE INDEX {name}_index ON {description.table} ({name})" for name in lacking)
    text = f"none on {', '.join(lacking)}; {took}"
    return warning("indexes", text, f"at a quiet hour: {made}")
