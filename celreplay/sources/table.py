"""Reading a CEL table: one set of statements and steps for all databases."""

from collections.abc import AsyncIterator, Collection, Container, Mapping, Sequence

from celreplay.cel.events import CelEvent, happened_between
from celreplay.cel.eventtime import epoch_of
from celreplay.sources.base import LinkedidPage, Position, TableDescription
from celreplay.sources.keys import chunks, counted, usable
from celreplay.sources.layout import Layout
from celreplay.sources.reader import TableReader
from celreplay.times import SECOND

_LOWEST, _HIGHEST = -(2**63), 2**63 - 1
_PAGE = 4000  # rows a step: some milliseconds, so that a writer of an SQLite file never waits long
_UNORDERED_PAGE = 100_000  # without an index on id each step reads the whole table
_PROBE = 20
_SLACK = 2 * 3600 * SECOND  # rows come late when a database stood still; a clock goes back by an hour


class TableSource(TableReader):
    """The `CelSource` over a `Database`. The first use looks at the table; making one does no I/O."""

    async def describe(self) -> TableDescription:
        """See CelSource."""
        layout = await self._look()
        first, last = await self._ends(layout, 1)
        return TableDescription(
            table=self._table,
            columns=dict(layout.columns),
            missing=layout.missing,
            indexed=layout.indexed,
            eventtime_form=layout.zone.form if layout.zone else "",
            oldest=first[0].eventtime if first else None,
            last=Position(last[0].id, last[0].eventtime) if last else Position(),
        )

    async def rows_after(self, position: Position, limit: int) -> Sequence[CelEvent]:
        """See CelSource."""
        layout = await self._ready()
        if "id" not in layout.columns:
            return await self._after_moment(layout, position.eventtime, limit)
        if position.id is None and position.eventtime:
            position = await self.position_before(position.eventtime + 1)
        last = _LOWEST if position.id is None else position.id
        return await self._decoded(await self._fetch("page_by_id", last=last, limit=limit))

    async def rows_since(self, moment: int, limit: int) -> Sequence[CelEvent]:
        """See CelSource."""
        return await self._after_moment(await self._ready(), moment, limit)

    async def rows_with_ids(self, ids: Collection[int]) -> Sequence[CelEvent]:
        """See CelSource."""
        layout = await self._ready()
        if "id" not in layout.columns:
            return []
        return sorted(await self._with_ids(ids), key=lambda event: event.id or 0)

    async def position_before(self, instant: int) -> Position:
        """See CelSource."""
        layout = await self._ready()
        target = instant - _SLACK
        if "id" not in layout.columns:
            return Position(eventtime=max(0, target))
        if "id" not in layout.indexed and not layout.empty:
            return await self._first_since(layout, target)
        first, last = await self._ends(layout, 1)
        if not first or not last or first[0].eventtime >= target:
            return Position()
        low, high = first[0], last[0]
        while (high.id or 0) - (low.id or 0) > _PROBE:
            middle = ((low.id or 0) + (high.id or 0)) // 2
            marks = await self._marks(middle, high.id or 0, _PROBE)
            newest = max(marks, key=lambda mark: mark.eventtime, default=high)
            # to the left is always safe: a clock that was wrong for a while must not hide rows
            if low.eventtime - _SLACK <= newest.eventtime < target:
                low = marks[-1]
            else:
                high = CelEvent(id=middle, eventtype="", eventtime=newest.eventtime)
        return Position(low.id, low.eventtime)

    async def linkedids_between(
        self, start: int, end: int, after: Position | None = None
    ) -> AsyncIterator[LinkedidPage]:
        """See CelSource."""
        layout = await self._ready()
        pages = self._pages_by_id if "id" in layout.columns else self._pages_by_time
        async for before, marks in pages(layout, start, end, after):
            inside = [mark.linkedid or mark.uniqueid for mark in marks if happened_between(mark, start, end)]
            last = Position(marks[-1].id, max(mark.eventtime for mark in marks))
            yield LinkedidPage(linkedids=tuple(filter(None, dict.fromkeys(inside))), after=before, last=last)

    async def rows_of(self, keys: Collection[str]) -> Sequence[CelEvent]:
        """See CelSource."""
        layout = await self._ready()
        new = usable(keys)
        known: set[str] = set()
        under: dict[str, set[str]] = {}
        rows: dict[object, CelEvent] = {}
        indexed = {"linkedid", "uniqueid"} <= set(layout.indexed) or "id" not in layout.columns
        while new:
            known |= new
            found = await (self._by_keys(new, under) if indexed else self._by_passing(layout, known, rows))
            rows |= {name: event for event, name in counted(found)}
            for event in found:
                if event.linkedid in known:
                    under.setdefault(event.uniqueid, set()).add(event.linkedid)
            named = {key for event in found for key in (event.linkedid, event.uniqueid)}
            new = usable(named) - known
        return sorted(
            rows.values(), key=lambda event: (event.id or 0, event.eventtime if event.id is None else 0)
        )

    async def aclose(self) -> None:
        """See CelSource."""
        await self._database.aclose()

    async def _first_since(self, layout: Layout, target: int) -> Position:
        """One pass by the server: without an index on id each step of a bisection would be one."""
        span = await self._fetch("ids_between", start=layout.written(target), end=layout.written(2**63))
        if span[0][0] is None:
            last = (await self._ends(layout, 1))[1]
            return Position(last[0].id, last[0].eventtime) if last else Position()
        return Position(int(str(span[0][0])) - 1, max(0, target))

    async def _pages_by_id(
        self, layout: Layout, start: int, end: int, after: Position | None
    ) -> AsyncIterator[tuple[Position, list[CelEvent]]]:
        low, high = await self._bounds(layout, start, end)
        place = Position(low)
        if after is not None and after.id is not None and after.id >= low:
            place = after
        size = _PAGE if "id" in layout.indexed else _UNORDERED_PAGE
        while marks := await self._marks(low if place.id is None else place.id, high, size):
            yield place, marks
            place = Position(marks[-1].id, marks[-1].eventtime)
            if len(marks) < size or min(mark.eventtime for mark in marks) >= end + _SLACK * 12:
                return

    async def _bounds(self, layout: Layout, start: int, end: int) -> tuple[int, int]:
        """Ids that enclose the period."""
        if layout.empty:
            return 0, _LOWEST
        if "eventtime" in layout.indexed and not self._database.short:
            span = await self._fetch(
                "ids_between", start=layout.written(start - _SLACK), end=layout.written(end + _SLACK)
            )
            first, final = span[0]
            return (0, _LOWEST) if first is None else (int(str(first)) - 1, int(str(final)))
        before = await self.position_before(start) if "id" in layout.indexed else Position()
        low = _LOWEST if before.id is None else before.id
        last = (await self._ends(layout, 1))[1]
        return low, (last[0].id or 0) if last else _LOWEST

    async def _pages_by_time(
        self, layout: Layout, start: int, end: int, after: Position | None
    ) -> AsyncIterator[tuple[Position, list[CelEvent]]]:
        place = after or Position(eventtime=max(0, start - _SLACK))
        while events := await self._after_moment(layout, place.eventtime, _PAGE):
            yield place, events
            place = Position(None, events[-1].eventtime)
            if events[0].eventtime >= end + _SLACK:
                return

    async def _by_keys(self, keys: set[str], under: Mapping[str, set[str]]) -> list[CelEvent]:
        """By index. `under`: linkedids by channel that were looked up before, so that only the rows of a
        channel that left them are read. A row under linkedid and uniqueid of two chunks comes twice."""
        events: list[CelEvent] = []
        for chunk in chunks(keys):
            known = sorted({*chunk, *(linkedid for key in chunk for linkedid in under.get(key, ()))})
            events += await self._decoded(await self._fetch("rows_by_key", keys=chunk, known=known))
        return events

    async def _by_passing(self, layout: Layout, keys: set[str], have: Container[object]) -> list[CelEvent]:
        """Without index: one pass over the rows since the oldest key; gives those not in `have`. What a row
        names is wanted from there on, which saves a pass."""
        wanted = set(keys)
        born, before = [epoch_of(key) for key in keys], Position()
        if "id" in layout.indexed and None not in born:
            before = await self.position_before(min(filter(None, born), default=0))
        last = _LOWEST if before.id is None else before.id
        size = _PAGE if "id" in layout.indexed else _UNORDERED_PAGE
        ids: list[object] = []
        while marks := await self._marks(last, _HIGHEST, size):
            for mark in marks:
                if mark.linkedid in wanted or mark.uniqueid in wanted:
                    wanted |= usable((mark.linkedid, mark.uniqueid))
                    if mark.id not in have:
                        ids.append(mark.id)
            last = marks[-1].id or 0
        return await self._with_ids(ids)

    async def _with_ids(self, ids: Collection[object]) -> list[CelEvent]:
        return [
            event
            for chunk in chunks(ids)
            for event in await self._decoded(await self._fetch("rows_by_id", ids=chunk))
        ]
