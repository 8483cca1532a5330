"""From groups of rows to what the store takes: the calls, each with the deliveries wished for it."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
import structlog

from celreplay.calls.interpret import PbxRules, calls_of
from celreplay.calls.model import Call
from celreplay.calls.rules import Rule, skip_reason
from celreplay.cel.grouping import Group
from celreplay.connectors.base import Connector
from celreplay.store.base import FinishedCall, Force, Lane, NewDelivery

_log = structlog.get_logger(__name__)


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """How calls are to be queued: live ones as they end, replayed ones as an admin asked."""

    lane: Lane = Lane.LIVE
    force: Force = Force.NO
    connector: str | None = None
    """Only this one; None = all."""
    mark_delivered: bool = False
    requeue_dead: bool = False


class Intake:
    """Interprets groups and words their deliveries; pure but for a log line on a fault of our own."""

    def __init__(
        self,
        pbx: PbxRules,
        connectors: Mapping[str, Connector],
        *,
        updated: Collection[str] = (),
        rules: Sequence[Rule] = (),
    ) -> None:
        self._pbx = pbx
        self._rules = rules
        self._connectors = connectors
        self._updated = frozenset(updated)
        """Connectors that get a call again when it has changed (`on_change: resend`)."""

    def calls(self, groups: Iterable[Group]) -> list[Call]:
        """The calls of the groups. A group that breaks the interpreter is logged and left out: it must not
        stop the calls behind it."""
        calls: list[Call] = []
        for group in groups:
            try:
                calls += calls_of(group.events, self._pbx, complete=group.ended)
            except Exception:  # noqa: BLE001  one bad call stops nobody; the rows stay in the table
                _log.exception("intake.interpreter_failed", keys=sorted(group.keys)[:4])
        return calls

    def finished(self, groups: Iterable[Group], wish: Wish, now: int) -> list[FinishedCall]:
        """The calls of the groups, each as `wished`."""
        return [self.wished(call, wish, now) for call in self.calls(groups)]

    def wished(self, call: Call, wish: Wish, now: int) -> FinishedCall:
        """A call with one delivery for each connector."""
        return FinishedCall(call=call, deliveries=self._deliveries(call, wish, now))

    def _deliveries(self, call: Call, wish: Wish, now: int) -> Sequence[NewDelivery]:
        return [
            self._delivery(call, connector, wish, now)
            for name, connector in self._connectors.items()
            if wish.connector in (None, name)
        ]

    def _delivery(self, call: Call, connector: Connector, wish: Wish, now: int) -> NewDelivery:
        name = connector.name
        reason = skip_reason(call, name, self._rules)
        return NewDelivery(
            connector=name,
            lane=wish.lane,
            strand=call.external_number,
            due_at=now,
            payload=b"" if reason else connector.prepare(call, "call"),
            update=connector.prepare(call, "call", update=True) if name in self._updated else b"",
            skip_reason=reason,
            mark_delivered=wish.mark_delivered,
            force=wish.force,
            requeue_dead=wish.requeue_dead,
        )
