"""The use cases of deliveries: looking at them, sending dead ones again, taking them off the list."""

from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec
import structlog

from celreplay.choices import Changed, Choice, check
from celreplay.clock import Clock
from celreplay.connectors.base import Connector
from celreplay.errors import BadRequestError
from celreplay.intake import Intake
from celreplay.rebuilding import Rebuilder
from celreplay.sources.base import CelSource
from celreplay.store.base import Hold, State, Store
from celreplay.store.records import AttemptRecord, DeliveryPage, DeliveryRecord, Place, Rebuilt, Wanted

_PAGE = 500
_LEFT_LISTED = 1_000
_WAITING = frozenset({State.PENDING, State.UNCERTAIN})
_log = structlog.get_logger(__name__)


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as a person sees it."""

    record: DeliveryRecord
    hold: Hold | None = None
    """It waits at a connector that is on hold."""
    attempts: Sequence[AttemptRecord] = ()


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One page."""

    deliveries: Sequence[DeliveryView]
    after: Place | None
    """Where the next one begins."""


class Deliveries:
    """What people ask of deliveries."""

    def __init__(
        self,
        *,
        source: CelSource,
        store: Store,
        intake: Intake,
        connectors: Mapping[str, Connector],
        clock: Clock,
    ) -> None:
        self._store = store
        self._rebuilder = Rebuilder(source, store, intake)
        self._connectors = connectors
        self._clock = clock

    async def list(self, wanted: Wanted, *, after: Place | None = None, limit: int = 100) -> Listed:
        """A page of them, newest change first. Raises BadRequestError for a connector nobody knows."""
        await self._check_connector(wanted)
        page = await self._store.list_deliveries(wanted, after=after, limit=limit)
        holds = await self._store.holds()
        return Listed(deliveries=[_view(record, holds) for record in page.deliveries], after=page.after)

    async def show(self, delivery_id: int) -> DeliveryView | None:
        """One with its journal."""
        record = await self._store.delivery(delivery_id)
        return None if record is None else await self._with_journal(record)

    async def of_call(self, linkedid: str, connector: str | None = None) -> Sequence[DeliveryView]:
        """Those of a call, by any of its linkedids, with their journals."""
        await self._check_connector(Wanted(connector=connector))
        known = await self._store.call(linkedid)
        ids = dict.fromkeys([linkedid, *(known.linkedids if known else ())])
        records = [
            one for id_ in ids for one in await self._store.deliveries(linkedid=id_, connector=connector)
        ]
        return [await self._with_journal(record) for record in records]

    async def how_many(self, wanted: Wanted, *, most: int = 10_000) -> int:
        """How many a filter finds; counted up to `most`."""
        count = 0
        async for page in self._pages(wanted):
            count += len(page)
            if count >= most:
                return most
        return count

    async def retry(self, choice: Choice) -> Changed:
        """Make dead ones due at once. A filter on what is held wakes the connectors. Raises BadRequestError,
        SourceError, StoreError: nothing has happened then, but for the pages before an error of the store."""
        await self._check(choice)
        if choice.wanted is not None and choice.wanted.held:
            return await self._resume(choice, choice.wanted)
        changed = await (self._retry_named(choice) if choice.ids else self._retry_found(choice))
        _tell("deliveries.retried", choice, changed)
        return changed

    async def discard(self, choice: Choice) -> Changed:
        """Take dead ones off the list. Errors as with `retry`."""
        await self._check(choice)
        if choice.wanted is not None and choice.wanted.held:
            raise BadRequestError("what is held is not dead", parameter="state")
        if choice.ids:
            left = await self._store.discard(choice.ids, by=choice.by, now=self._clock.now(), whole=True)
            _refuse(left)
            changed = Changed(count=len(choice.ids))
        else:
            changed = Changed()
            async for page in self._pages(choice.wanted or Wanted()):
                ids = [record.delivery_id for record in page]
                left = await self._store.discard(ids, by=choice.by, now=self._clock.now())
                changed = _added(changed, len(ids) - len(left), left)
        _tell("deliveries.discarded", choice, changed)
        return changed

    async def _retry_named(self, choice: Choice) -> Changed:
        records = [await self._store.delivery(id_) for id_ in choice.ids]
        wishes, left = await self._wishes([one for one in records if one is not None], rebuild=choice.rebuild)
        missing = {id_: f"there is no delivery {id_}" for id_ in choice.ids if id_ not in wishes | left}
        _refuse(missing | left)
        _refuse(await self._send_again(wishes, choice.by, whole=True))
        return Changed(count=len(wishes))

    async def _retry_found(self, choice: Choice) -> Changed:
        changed = Changed()
        async for page in self._pages(choice.wanted or Wanted()):
            wishes, left = await self._wishes(page, rebuild=choice.rebuild)
            left |= await self._send_again(wishes, choice.by, whole=False)
            changed = _added(changed, len(page) - len(left), left)
        return changed

    async def _send_again(
        self, wishes: Mapping[int, Rebuilt | None], by: str, *, whole: bool
    ) -> Mapping[int, str]:
        askable = [name for name, connector in self._connectors.items() if connector.can_probe]
        now = self._clock.now()
        return await self._store.retry(wishes, by=by, now=now, askable=askable, whole=whole)

    async def _wishes(
        self, records: Sequence[DeliveryRecord], *, rebuild: bool
    ) -> tuple[dict[int, Rebuilt | None], dict[int, str]]:
        """What is to be sent for each, and why others cannot be."""
        left = {
            record.delivery_id: f"its connector {record.connector} is not in the config"
            for record in records
            if record.connector not in self._connectors
        }
        kept = [record for record in records if record.delivery_id not in left]
        if not rebuild:
            return {record.delivery_id: None for record in kept}, left
        wishes: dict[int, Rebuilt | None] = {}
        for id_, built in (await self._rebuilder.rebuild(kept, now=self._clock.now())).items():
            if isinstance(built, Rebuilt):
                wishes[id_] = built
            else:
                left[id_] = built
        return wishes, left

    async def _resume(self, choice: Choice, wanted: Wanted) -> Changed:
        names = sorted(await self._store.holds()) if wanted.connector is None else [wanted.connector]
        now = self._clock.now()
        resumed = tuple([name for name in names if await self._store.resume(name, now=now)])
        if wanted.connector is not None and not resumed:
            raise BadRequestError(f"connector {wanted.connector} is not on hold", parameter="connector")
        for name in resumed:
            _log.info("connector.resumed", connector=name, by=choice.by)
        return Changed(resumed=resumed)

    async def _pages(self, wanted: Wanted) -> AsyncIterator[Sequence[DeliveryRecord]]:
        """Those of a filter, a page at a time; one that changes on the way is not met again."""
        after: Place | None = None
        while True:
            page: DeliveryPage = await self._store.list_deliveries(wanted, after=after, limit=_PAGE)
            yield [record for record in page.deliveries if record.delivery_id]  # 0: only its key is kept
            after = page.after
            if after is None:
                return

    async def _with_journal(self, record: DeliveryRecord) -> DeliveryView:
        attempts = await self._store.attempts(record.delivery_id)
        view = _view(record, await self._store.holds())
        return msgspec.structs.replace(view, attempts=attempts)

    async def _check(self, choice: Choice) -> None:
        check(choice)
        if choice.wanted is not None:
            await self._check_connector(choice.wanted)

    async def _check_connector(self, wanted: Wanted) -> None:
        name = wanted.connector
        if name is None or name in self._connectors:
            return
        known = sorted({*self._connectors, *await self._store.counts()})
        if name not in known:
            listed = ", ".join(known) or "none is configured"
            raise BadRequestError(f"no connector {name!r} (known: {listed})", parameter="connector")


def _view(record: DeliveryRecord, holds: Mapping[str, Hold]) -> DeliveryView:
    waits = record.state in _WAITING
    return DeliveryView(record=record, hold=holds.get(record.connector) if waits else None)


def _refuse(left: Mapping[int, str]) -> None:
    """Named ones are done together, or not at all."""
    for id_, why in left.items():
        words = why if why.startswith("there is") else f"delivery {id_} {why}"
        others = f" (and {len(left) - 1} others cannot be done)" if len(left) > 1 else ""
        raise BadRequestError(f"{words}{others}; nothing was done", parameter="id")


def _added(changed: Changed, count: int, left: Mapping[int, str]) -> Changed:
    listed = dict(list({**changed.left, **left}.items())[:_LEFT_LISTED])
    return msgspec.structs.replace(changed, count=changed.count + count, left=listed)


def _tell(event: str, choice: Choice, changed: Changed) -> None:
    found = msgspec.structs.asdict(choice.wanted) if choice.wanted is not None else {}
    narrowed = {name: value for name, value in found.items() if value}
    fields = {"ids": list(choice.ids[:20]), "rebuild": choice.rebuild, **narrowed}
    _log.info(event, by=choice.by, deliveries=changed.count, left=len(changed.left), **fields)
