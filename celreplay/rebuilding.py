"""New bytes for deliveries that ended long ago: their calls understood anew, and the rules asked again."""

from collections.abc import Iterable, Mapping, Sequence

from celreplay.intake import Intake, Wish
from celreplay.lookup import groups_of_ids
from celreplay.sources.base import CelSource
from celreplay.store.base import FinishedCall, NewDelivery, Store
from celreplay.store.records import DeliveryRecord, Rebuilt


class Rebuilder:
    """Makes payloads of CEL rows, or of the stored call where the rows have gone."""

    def __init__(self, source: CelSource, store: Store, intake: Intake) -> None:
        self._source = source
        self._store = store
        self._intake = intake

    async def rebuild(self, records: Sequence[DeliveryRecord], *, now: int) -> Mapping[int, Rebuilt | str]:
        """delivery_id → the new bytes, or why there are none. Raises SourceError, StoreError."""
        calls = await self._calls(records, now)
        return {record.delivery_id: _rebuilt(record, calls.get(record.linkedid)) for record in records}

    async def _calls(self, records: Iterable[DeliveryRecord], now: int) -> Mapping[str, FinishedCall]:
        """The calls of deliveries by their linkedids, understood anew as far as their rows are there."""
        linkedids = {record.linkedid for record in records}
        found = self._intake.finished(await groups_of_ids(self._source, linkedids), Wish(), now)
        calls = {linkedid: one for one in found for linkedid in one.call.linkedids}
        for linkedid in linkedids - calls.keys():
            stored = await self._store.call(linkedid)
            if stored is not None:
                calls[linkedid] = self._intake.wished(stored, Wish(), now)
        return calls


def _rebuilt(record: DeliveryRecord, found: FinishedCall | None) -> Rebuilt | str:
    """New bytes, or why there are none."""
    if found is None:
        return "neither its CEL rows nor its call are kept"
    call = found.call
    if call.linkedid != record.linkedid:
        return f"its call has become a part of {call.linkedid}"
    wish = next((one for one in found.deliveries if _is_of(one, record)), None)
    if wish is None:
        return f"its call has no {record.part} for {record.connector} any more"
    if wish.skip_reason:
        return f"a rule says no: {wish.skip_reason}"
    payload = wish.update if wish.update and record.delivered_at is not None else wish.payload
    return Rebuilt(
        payload=payload, revision=call.revision, strand=wish.strand, started_at=int(call.started_at)
    )


def _is_of(wish: NewDelivery, record: DeliveryRecord) -> bool:
    """Also where the record is a further one made on purpose, `call:2` for `call`."""
    copy = record.part.removeprefix(wish.part)
    same = copy == "" or (copy != record.part and copy[:1] == ":" and copy[1:].isdigit())
    return same and wish.connector == record.connector
