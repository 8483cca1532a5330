"""A table as it was found: its columns, how it writes times, and the decoders that follow from them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal

from celreplay.cel.decode import FIELDS, NEEDED, RowDecoder, columns_of, kind_of
from celreplay.cel.events import EventType
from celreplay.cel.eventtime import EventTimes, FoundZone, moment_of, zone_of
from celreplay.errors import SourceError
from celreplay.sources.database import Found, Row
from celreplay.sources.statements import Dialect
from celreplay.times import DAY, SECOND, Instant

MARKS = ("id", "eventtime", "uniqueid", "linkedid")
_LATEST = 250_000_000_000 * SECOND  # in the year 9892: drivers and zones know no year 10000
_TEN_DIGITS = (1_000_000_000, 9_999_999_999)  # 2001 to 2286: epochs as text compare rightly only among these
_INTEGERS = ("int", "serial", "numeric", "decimal", "number")


class Layout:
    """Built from the catalogue; `judge` then finds from rows how times are written."""

    def __init__(self, table: str, found: Found, chosen: Mapping[str, str], dialect: Dialect) -> None:
        self.table = table
        self.columns = columns_of(found.columns, chosen)
        self._settle_id(found)
        _require(table, self.columns, found)
        self.indexed = tuple(field for field, column in self.columns.items() if column in found.indexed)
        self.fields = tuple(field for field in FIELDS if field in self.columns)
        self.marks = tuple(field for field in MARKS if field in self.columns)
        names = {field: dialect.name(column) for field, column in self.columns.items()}
        self.names = names | {
            "table": dialect.table(table),
            "columns": ", ".join(names[field] for field in self.fields),
            "marks": ", ".join(names[field] for field in self.marks),
            "order": names.get("id", names["eventtime"]),
        }
        self.zone: FoundZone | None = None
        self._sample: object = None

    def _settle_id(self, found: Found) -> None:
        declared = found.columns.get(self.columns.get("id", ""), "")
        if not any(word in declared for word in _INTEGERS):
            self.columns.pop("id", None)
            if found.rowid:
                self.columns["id"] = found.rowid

    @property
    def empty(self) -> bool:
        """True if no row with a time has been seen."""
        return self._sample is None

    @property
    def missing(self) -> tuple[str, ...]:
        """CEL's fields that the table cannot hold."""
        return tuple(field for field in FIELDS if field not in self.columns and field != "eventenum")

    def judge(self, rows: Sequence[Row], local: tzinfo, name: str) -> None:
        """Find from rows (values in the order of `fields`) how times are written, and build the decoders."""
        place = {field: number for number, field in enumerate(self.fields)}
        samples, self._sample = [], None
        for row in rows:
            value = row[place["eventtime"]]
            try:
                moment = moment_of(value)
            except ValueError:
                continue
            self._sample = value
            number = place.get("eventenum")
            kind, own = kind_of(row[place["eventtype"]], None if number is None else row[number])
            if (
                isinstance(moment, datetime)
                and moment.tzinfo is None
                and kind == EventType.CHAN_START
                and not own
            ):
                samples.append((moment, str(row[place["uniqueid"]])))
        self.zone = self._found_zone(samples, local, name)
        self.times = EventTimes(self.zone.zone)
        self.decode = RowDecoder(self.fields, self.times)
        self.decode_mark = RowDecoder(self.marks, self.times)

    def _found_zone(self, samples: list[tuple[datetime, str]], local: tzinfo, name: str) -> FoundZone:
        if self._sample is None:
            return FoundZone(local, "", proved=False)
        moment = moment_of(self._sample)
        if isinstance(moment, int):
            return FoundZone(UTC, "epoch", proved=True)
        if moment.tzinfo is not None:
            return FoundZone(UTC, "with time zone", proved=True)
        return zone_of(samples, local, name)

    def written(self, instant: int) -> object:
        """An instant as the eventtime column holds it, to compare with. The table must not be empty."""
        instant = max(DAY, min(instant, _LATEST))
        sample, naive = self._sample, self.times.written(instant)
        if isinstance(sample, datetime):
            return Instant(instant).utc() if sample.tzinfo else naive
        if isinstance(sample, int | float | Decimal):
            kind = type(sample)
            return instant // SECOND if kind is int else kind(Decimal(instant) / SECOND)
        if isinstance(moment_of(sample), int):
            lowest, highest = _TEN_DIGITS
            second, rest = divmod(max(lowest * SECOND, min(instant, highest * SECOND)), SECOND)
            return f"{second}.{rest:06d}" if rest else str(second)
        return str(naive)


def _require(table: str, columns: Mapping[str, str], found: Found) -> None:
    absent = [field for field in NEEDED if field not in columns]
    if absent == ["linkedid"]:
        raise SourceError(
            f"table {table} has no column linkedid, so the rows of a call cannot be put together",
            hint="Asterisk's sample cel_sqlite3_custom.conf leaves it out: add linkedid to its columns and "
            "'${CHANNEL(linkedid)}' to its values, move the old file away and reload; if the column has "
            "another name, set columns.linkedid",
        )
    if absent:
        raise SourceError(
            f"table {table} is no CEL table: no column {', '.join(absent)}",
            hint=f"its columns: {', '.join(found.columns)}; other names can be set under columns",
        )
