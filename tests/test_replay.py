"""Replays are durable jobs: what they queue, what they leave alone, and how they go on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cel_file import fill
from fakes import FakeClock
from structlog.testing import capture_logs

from celreplay.calls.interpret import PbxRules
from celreplay.config import Secret
from celreplay.connectors.base import Connector, OutcomeKind
from celreplay.connectors.table import build
from celreplay.connectors.webhook import WebhookOptions
from celreplay.demo.data import captured_calls, write_rows
from celreplay.errors import BadRequestError
from celreplay.health import Health
from celreplay.intake import Intake
from celreplay.lookup import Settled
from celreplay.period import Period
from celreplay.replay import Replayer
from celreplay.services import BEFORE_LIVE_READING, ReplayRequest, Services
from celreplay.sources.base import CelSource, LinkedidPage, Position, TableDescription
from celreplay.sources.opening import source_of
from celreplay.store.base import Force, Hold, Reading, Replay, ReplayState, State
from celreplay.store.sqlite import SqliteStore
from celreplay.times import SECOND, Instant

FIRST = 1_795_400_000
CALLS = [call.beginning_at(FIRST + 60 * place) for place, call in enumerate(captured_calls())]
NOW = Instant((FIRST + 86_400) * SECOND)
WHOLE = Period(start=FIRST * SECOND, end=int(NOW))


class Bench:
    """A CEL file with calls of yesterday, a store, and two connectors nobody sends to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cel = folder / "cel.sqlite"
        fill(self.cel, CALLS)
        self.clock = FakeClock(NOW)

    async def start(self) -> None:
        options = WebhookOptions(
            url="http://127.0.0.1:1/", secret=Secret("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
        )
        connectors: dict[str, Connector] = {name: build(name, "pbx1", options) for name in ("crm", "archive")}
        self.store = SqliteStore.open(self.folder / "store.sqlite", system="pbx1")
        self.source = source_of(f"sqlite:///{self.cel}")
        intake = Intake(PbxRules(system="pbx1"), connectors)
        self.replayer = Replayer(self.source, self.store, intake, self.clock, Settled())
        self.services = Services(
            source=self.source,
            store=self.store,
            replayer=self.replayer,
            connectors=connectors,
            health=Health(),
            clock=self.clock,
        )

    async def stop(self) -> None:
        await self.services.aclose()
        await self.source.aclose()
        await self.store.aclose()

    async def work(self) -> None:
        """Let the replayer do all that waits."""
        stop = asyncio.Event()
        task = asyncio.create_task(self.replayer.run(stop))
        while any(  # noqa: ASYNC110  the store is another party: it is asked, as an admin would
            replay.state in (ReplayState.REQUESTED, ReplayState.LOOKING_UP)
            for replay in await self.store.replays(unfinished=True)
        ):
            await asyncio.sleep(0.01)
        stop.set()
        await task


@pytest.fixture
async def new(tmp_path: Path) -> AsyncIterator[Bench]:
    """On its first day."""
    bench = Bench(tmp_path)
    await bench.start()
    yield bench
    await bench.stop()


@pytest.fixture
async def bench(new: Bench) -> Bench:
    """Where a period before live reading has been asked for."""
    await new.store.once(BEFORE_LIVE_READING, now=NOW)
    return new


def asked(**values: object) -> ReplayRequest:
    return ReplayRequest(requested_by="api:admin", **values)  # type: ignore[arg-type]


async def test_a_period_queues_each_call_for_each_connector_once(bench: Bench) -> None:
    """Asked for twice, the second time everything is waiting already."""
    first = await bench.services.request_replay(asked(period=WHOLE))
    assert first.replay.state is ReplayState.REQUESTED
    await bench.work()
    second = await bench.services.request_replay(asked(period=WHOLE))
    await bench.work()
    one = await bench.store.replay(first.replay.id)
    two = await bench.store.replay(second.replay.id)
    assert one is not None
    assert two is not None
    assert (one.found, one.queued, one.state) == (len(CALLS), 2 * len(CALLS), ReplayState.DELIVERING)
    assert (two.queued, two.already_waiting, two.state) == (0, 2 * len(CALLS), ReplayState.DONE)


async def test_the_first_period_before_live_reading_is_refused_once(new: Bench) -> None:
    """Another connector may have sent these calls: it is said once, and nothing is done; the same request then
    goes on. A dry run is no such request."""
    report = await new.services.request_replay(asked(period=WHOLE, dry_run=True))
    assert report.replay.id == 1
    with pytest.raises(BadRequestError, match="live reading, which has not begun") as refused:
        await new.services.request_replay(asked(period=WHOLE))
    assert (refused.value.parameter, refused.value.code) == ("start_date", "before_live_reading")
    assert len(await new.store.replays()) == 1
    view = await new.services.request_replay(asked(period=WHOLE))
    assert view.replay.id == 2


@pytest.mark.parametrize("way_on", [{"force": Force.YES}, {"mark_delivered": True}])
async def test_who_knows_of_the_past_is_not_refused(new: Bench, way_on: dict[str, Any]) -> None:
    """`force=1` goes on, and so does recording the calls as delivered elsewhere; then it has been said."""
    assert (await new.services.request_replay(asked(period=WHOLE, **way_on))).replay.id == 1
    assert (await new.services.request_replay(asked(period=WHOLE))).replay.id == 2


async def test_a_period_of_live_reading_is_not_refused(new: Bench) -> None:
    """What began after the first start, and calls named one by one, need no warning."""
    reading = Reading(position=Position(), live_since=WHOLE.start)
    await new.store.save_calls([], now=NOW, reading=reading)
    assert (await new.services.request_replay(asked(period=WHOLE))).replay.id == 1
    before = Period(start=WHOLE.start - 1, end=WHOLE.end)
    with pytest.raises(BadRequestError, match="live reading, which began at"):
        await new.services.request_replay(asked(period=before))


async def test_one_connector_may_be_named(bench: Bench) -> None:
    """The others get nothing."""
    await bench.services.request_replay(asked(period=WHOLE, connector="crm"))
    await bench.work()
    counts = await bench.store.counts()
    assert counts["crm"][State.PENDING] == len(CALLS)
    assert not counts.get("archive", {}).get(State.PENDING, 0)


async def test_a_dry_run_reports_and_changes_nothing(bench: Bench) -> None:
    """The report is at the replay; the outbox stays empty."""
    view = await bench.services.request_replay(asked(period=WHOLE, dry_run=True))
    await bench.work()
    report = await bench.services.replay(view.replay.id)
    assert report is not None
    assert report.replay.queued == 2 * len(CALLS)
    assert report.replay.state is ReplayState.DONE
    assert {item.linkedid for item in report.items} == {call.linkedid for call in CALLS}
    assert await bench.store.deliveries() == []
    assert await bench.store.call(CALLS[0].linkedid) is None


async def test_calls_marked_as_delivered_are_never_sent(bench: Bench) -> None:
    """Another connector has sent them: a later period leaves them alone."""
    await bench.services.request_replay(asked(period=WHOLE, mark_delivered=True))
    await bench.work()
    view = await bench.services.request_replay(asked(period=WHOLE))
    await bench.work()
    replay = await bench.store.replay(view.replay.id)
    assert replay is not None
    assert (replay.queued, replay.already_delivered) == (0, 2 * len(CALLS))


async def test_named_ids_are_answered_call_by_call(bench: Bench) -> None:
    """Known ones are queued before the answer, unknown ones are listed."""
    view = await bench.services.request_replay(asked(ids=(CALLS[1].linkedid, "1000000000.1")))
    assert view.replay.not_found == ("1000000000.1",)
    assert {(item.linkedid, item.connector, item.result) for item in view.items} == {
        (CALLS[1].linkedid, "crm", "queued"),
        (CALLS[1].linkedid, "archive", "queued"),
    }


async def test_an_id_named_one_by_one_is_sent_again(bench: Bench) -> None:
    """After it was delivered, naming it queues it anew; force=0 does not."""
    await bench.services.request_replay(asked(period=WHOLE, mark_delivered=True))
    await bench.work()
    left = await bench.services.request_replay(asked(ids=(CALLS[2].linkedid,), force=Force.NO))
    again = await bench.services.request_replay(asked(ids=(CALLS[2].linkedid,)))
    assert {item.result for item in left.items} == {"already_delivered"}
    assert {item.result for item in again.items} == {"queued"}


async def test_unknown_ids_leave_no_trace(bench: Bench) -> None:
    """Nothing is stored for a request that found nothing."""
    view = await bench.services.request_replay(asked(ids=("1000000000.1",)))
    assert view.replay.id == 0
    assert await bench.store.replays() == []


async def test_a_call_in_progress_is_told(bench: Bench) -> None:
    """It is listed; the tail sends it when it has finished."""
    running = captured_calls()[0].beginning_at(bench.clock.now() / SECOND - 5)
    write_rows(bench.cel, running.rows[:6])
    view = await bench.services.request_replay(asked(ids=(running.linkedid,)))
    assert view.replay.in_progress == (running.linkedid,)
    assert view.items == []


async def test_a_replay_goes_on_after_a_restart(bench: Bench) -> None:
    """A daemon that died while it looked up takes its replay up again at the next start."""
    view = await bench.services.request_replay(asked(period=WHOLE))
    await bench.store.set_replay_state(view.replay.id, ReplayState.LOOKING_UP, now=int(NOW))
    await bench.stop()
    await bench.start()
    await bench.replayer.adopt()
    await bench.work()
    replay = await bench.store.replay(view.replay.id)
    assert replay is not None
    assert replay.found == len(CALLS)


async def test_a_replay_of_ids_that_died_behind_its_step_counts_once(bench: Bench) -> None:
    """Its calls were queued in one transaction with its counts: a restart only ends it."""
    ids = tuple(call.linkedid for call in CALLS[:3])
    asked_for = Replay(requested_at=int(NOW), requested_by="cli:root", ids=(*ids, "1000000000.1"))
    replay_id = await bench.store.add_replay(asked_for)
    await bench.store.set_replay_state(replay_id, ReplayState.LOOKING_UP, now=int(NOW))
    replay = await bench.store.replay(replay_id)
    assert replay is not None
    await bench.replayer._ids(replay, None)
    await bench.stop()
    await bench.start()
    await bench.replayer.adopt()
    await bench.work()
    replay = await bench.store.replay(replay_id)
    assert replay is not None
    counts = (replay.found, replay.queued, replay.waiting, replay.already_waiting, replay.not_found)
    assert counts == (3, 6, 6, 0, ("1000000000.1",))
    assert replay.state is ReplayState.DELIVERING


class Endless:
    """A CEL table with a period that never ends: what lies between is one page after the other."""

    def __init__(self, source: CelSource) -> None:
        self._source = source
        self.rows_of = source.rows_of
        self.rows_since = source.rows_since
        self.rows_with_ids = source.rows_with_ids
        self.rows_after = source.rows_after
        self.position_before = source.position_before
        self.aclose = source.aclose

    async def describe(self) -> TableDescription:
        return msgspec.structs.replace(await self._source.describe(), indexed=("id", "linkedid", "uniqueid"))

    async def linkedids_between(
        self, start: int, end: int, after: Position | None = None
    ) -> AsyncIterator[LinkedidPage]:
        place = after or Position(id=0)
        while start < WHOLE.start:
            last = Position(id=(place.id or 0) + 1)
            yield LinkedidPage(linkedids=(), after=place, last=last)
            place = last
        async for page in self._source.linkedids_between(start, end, after):
            yield page


async def test_long_replays_hold_up_no_short_one(bench: Bench) -> None:
    """Ten that never end are under way: one asked for later has its pages in turn."""
    replayer = bench.replayer
    replayer._source = Endless(bench.source)
    for _ in range(10):
        await bench.services.request_replay(asked(period=Period(start=1, end=int(NOW))))
    short = await bench.services.request_replay(asked(period=WHOLE))
    stop = asyncio.Event()
    task = asyncio.create_task(replayer.run(stop))
    async with asyncio.timeout(30):
        while (replay := await bench.store.replay(short.replay.id)) and replay.finished_at is None:
            if replay.state is ReplayState.DELIVERING:
                break
            await asyncio.sleep(0.01)
    long = await bench.store.replays(limit=100)
    stop.set()
    await task
    assert replay is not None
    assert replay.found == len(CALLS)
    assert {one.state for one in long if one.id != replay.id} == {ReplayState.LOOKING_UP}


async def test_all_that_were_under_way_go_on_after_a_restart(bench: Bench) -> None:
    """However many there were."""
    views = [await bench.services.request_replay(asked(period=WHOLE)) for _ in range(7)]
    for view in views:
        await bench.store.set_replay_state(view.replay.id, ReplayState.LOOKING_UP, now=int(NOW))
    await bench.stop()
    await bench.start()
    await bench.replayer.adopt()
    await bench.work()
    found = [await bench.store.replay(view.replay.id) for view in views]
    assert [replay.found for replay in found if replay] == [len(CALLS)] * 7


async def test_a_replay_names_the_hold_that_it_waits_for(bench: Bench) -> None:
    """Of the connectors on hold those at which something of it waits, and no other."""
    view = await bench.services.request_replay(asked(ids=(CALLS[0].linkedid,), connector="crm"))
    assert view.holds == {}
    hold = Hold(kind=OutcomeKind.AUTH, reason="401", since=int(NOW), next_canary_at=int(NOW))
    for name in ("crm", "archive", "gone"):
        await bench.store.set_hold(name, hold)
    later = await bench.services.replay(view.replay.id)
    assert later is not None
    assert later.holds == {"crm": hold}
    assert later.replay.waiting == 1


async def test_a_cancelled_replay_takes_its_deliveries_back(bench: Bench) -> None:
    """What still waited of it is not sent."""
    view = await bench.services.request_replay(asked(period=WHOLE))
    await bench.work()
    cancelled = await bench.services.cancel(view.replay.id, by="api:night")
    assert cancelled is not None
    assert cancelled.replay.state is ReplayState.CANCELLED
    counts = await bench.store.counts()
    assert counts["crm"].get(State.PENDING, 0) == 0
    assert counts["crm"][State.SKIPPED] == len(CALLS)


async def test_the_log_tells_who_asked_for_what(bench: Bench) -> None:
    """One event for a request that was taken and one for its cancellation, none for one that was refused."""
    with capture_logs() as told:
        view = await bench.services.request_replay(asked(period=WHOLE, dry_run=True))
        await bench.services.cancel(view.replay.id, by="api:night")
        with pytest.raises(BadRequestError):
            await bench.services.request_replay(asked(period=WHOLE, connector="nobody"))
    requested, cancelled = [event for event in told if event["event"].startswith("replay.")]
    assert (requested["replay"], requested["by"], requested["dry_run"]) == (view.replay.id, "api:admin", True)
    assert (requested["start"], requested["ids"]) == (Instant(WHOLE.start).iso(), 0)
    assert (cancelled["event"], cancelled["by"]) == ("replay.cancelled", "api:night")


@pytest.mark.parametrize(
    ("values", "parameter"),
    [
        pytest.param({}, "id", id="nothing asked"),
        pytest.param({"ids": ("1.1",), "period": WHOLE}, "id", id="ids and period"),
        pytest.param({"period": WHOLE, "connector": "nobody"}, "connector", id="unknown connector"),
        pytest.param(
            {"period": WHOLE, "mark_delivered": True, "force": Force.YES}, "force", id="mark and force"
        ),
    ],
)
async def test_a_wrong_request_is_refused_whole(
    bench: Bench, values: dict[str, object], parameter: str
) -> None:
    """The parameter is named and nothing has happened."""
    with pytest.raises(BadRequestError) as caught:
        await bench.services.request_replay(asked(**values))
    assert caught.value.parameter == parameter
    assert await bench.store.replays() == []
