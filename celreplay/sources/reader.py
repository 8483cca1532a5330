"""What all reading of a CEL table is made of: looking at it, running a statement, decoding rows."""

from collections.abc import Mapping, Sequence
from datetime import tzinfo

from celreplay.cel.events import CelEvent
from celreplay.errors import SourceError, SourceUnavailableError
from celreplay.sources.database import Database, Row
from celreplay.sources.layout import Layout
from celreplay.sources.statements import load

_SQL = load("table")
_SAMPLE = 500


class TableReader:
    """One table of a `Database`. The first use looks at the table; making one does no I/O."""

    def __init__(
        self, database: Database, *, table: str, columns: Mapping[str, str], zone: tzinfo, zone_name: str
    ) -> None:
        self._database = database
        self._table = table
        self._chosen = columns
        self._zone, self._zone_name = zone, zone_name
        self._layout: Layout | None = None

    async def _look(self) -> Layout:
        found = await self._database.look(self._table)
        layout = Layout(self._table, found, self._chosen, self._database.dialect)
        await self._judge(layout)
        self._layout = layout  # not before it is judged: others read meanwhile
        return layout

    async def _ready(self) -> Layout:
        layout = self._layout or await self._look()
        if layout.empty:
            await self._judge(layout)  # there may be rows by now
        return layout

    async def _judge(self, layout: Layout) -> None:
        first, last = [await self._fetch(name, layout, limit=_SAMPLE) for name in ("first", "last")]
        layout.judge([*first, *reversed(last)], self._zone, self._zone_name)

    async def _fetch(self, name: str, layout: Layout | None = None, **values: object) -> Sequence[Row]:
        layout = layout or self._layout or await self._look()
        try:
            return await self._database.fetch(self._database.dialect.bind(_SQL[name], layout.names, values))
        except SourceUnavailableError:
            raise
        except SourceError:
            self._layout = None  # somebody changed the table: look again next time
            raise

    async def _decoded(self, rows: Sequence[Row]) -> list[CelEvent]:
        layout = await self._ready()
        if rows and layout.zone and not layout.zone.proved:
            await self._judge(layout)
        return layout.decode.all(rows)

    async def _ends(self, layout: Layout, limit: int) -> tuple[list[CelEvent], list[CelEvent]]:
        first, last = await self._fetch("first", limit=limit), await self._fetch("last", limit=limit)
        return layout.decode.all(first), layout.decode.all(last)

    async def _marks(self, last: int, until: int, limit: int) -> list[CelEvent]:
        rows = await self._fetch("marks_by_id", last=last, until=until, limit=limit)
        return (await self._ready()).decode_mark.all(rows)

    async def _after_moment(self, layout: Layout, moment: int, limit: int) -> list[CelEvent]:
        """See `CelSource.rows_since`."""
        if moment <= 0 or layout.empty:
            rows = await self._fetch("first_by_time", limit=limit)
        else:
            rows = await self._fetch("page_by_time", last=layout.written(moment), limit=limit)
        events = await self._decoded(rows)
        if len(events) < limit or not events:
            return events
        cut = events[-1].eventtime
        among = [event for event in events if event.eventtime == cut]
        every = await self._decoded(await self._fetch("rows_at", moment=layout.written(cut)))
        # fewer: a time that is none, or a value that no query can name again
        whole = every if len(every) >= len(among) else among
        return [*(event for event in events if event.eventtime != cut), *whole]
