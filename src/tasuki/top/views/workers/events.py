"""The latest events of the messages of a worker, on any machine: its flight recorder, asked through the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tasuki.desk.reading.bodies import line
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.desk.site import problem_of
from tasuki.errors import TasukiError
from tasuki.observe.events import NEWEST
from tasuki.state.asks import PATIENCE, Worker, ask
from tasuki.state.presence import Presence
from tasuki.top.frame import amounts
from tasuki.top.frame.columns import Cell, Column
from tasuki.top.frame.styles import Signs
from tasuki.top.views.ids import short_id
from tasuki.top.views.view import Row, Table, View

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.desk.viewer import Viewer

_STYLES = {"error": "bad", "timeout": "bad", "lease lost": "bad", "stale": "warn", "settled": "dim", "started": "ok"}


class EventsView(View):
    """The newest events first; asked for when it opens, and every ten seconds."""

    period = 10.0
    columns = (
        Column("at", "TIME", 12),
        Column("event", "EVENT", 13),
        Column("message", "MESSAGE", 12, at_most=139),
        Column("whole", "MESSAGE", 36, at_least=140),
        Column("attempt", "TRY", 3, is_right=True),
        Column("consumer", "CONSUMER", 18, at_least=100, keep="end"),
        Column("value", ""),
    )

    def __init__(self, worker: Presence) -> None:
        self._worker = worker

    @property
    def crumb(self) -> str:
        """See :class:`View`."""
        return "events"

    async def read(self, reading: Viewer, snapshot: Snapshot) -> Table:
        """See :class:`View`."""
        rows: list[tuple[float, Row]] = []
        left = {consumer.id for consumer in self._worker.consumers}
        for app, _ in reading.site.parts():
            try:
                found = await reading.site.on(app, partial(self._asked, left))
            except TasukiError as error:
                return Table(empty=(problem_of(error),))
            left = left - found.keys()
            rows += [_row(consumer, number, each) for consumer, events in found.items()
                     for number, each in enumerate(events)]  # fmt: skip
        rows.sort(key=lambda pair: pair[0], reverse=True)
        if not any(reading.site.live.state_of(id) for id in snapshot.queues):
            return Table(empty=("Its events cannot be asked for: no queue of this project has a store.",))
        silent = f"It has not answered for {PATIENCE:g} s: its event loop may be blocked; its log has the events."
        return Table([row for _, row in rows], (silent if left else "Nothing has happened yet.",))

    async def _asked(self, consumers: set[str], live: Assembly) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        worker = Worker(self._worker.host, self._worker.pid)
        found: dict[str, Sequence[Mapping[str, Any]]] = {}
        for state in live.states_of_queues():
            own = {id for id in consumers if id not in live.consumers or live.consumers[id].state is state}
            if own:
                found |= await ask(await state.store(), worker, own, NEWEST)
        return found

    def cells(self, row: Row, signs: Signs) -> Sequence[Cell]:
        """See :class:`View`."""
        event, consumer = row.value
        attempt = "" if not event["attempt"] else str(event["attempt"])
        return [
            (amounts.moment(event["at"]), "dim"),
            (line(event["kind"]), _STYLES.get(event["kind"], "")),
            (short_id(event["message"] or ""), ""),
            (line(event["message"] or "", 80), ""),
            (attempt, "dim"),
            (line(consumer), "dim"),
            (_value(event), "bad" if event["kind"] == "error" else "dim"),
        ]

    def sorted_by(self, column: str, row: Row) -> Any:
        """See :class:`View`."""
        event, consumer = row.value
        if column in ("at", "attempt"):
            return event[column] or 0
        message = event["message"] or ""
        texts = {"event": event["kind"], "message": message, "whole": message, "consumer": consumer}
        return texts.get(column, _value(event))

    def copied(self, row: Row | None) -> str:
        """See :class:`View`."""
        return "" if row is None else str(row.value[0]["message"] or "")


def _row(consumer: str, number: int, event: Mapping[str, Any]) -> tuple[float, Row]:
    kind, message = event["kind"], event["message"] or ""
    find = f"{kind} {message} {_value(event)} {consumer}"
    return event["at"], Row(f"{event['at']} {consumer} {number}", (event, consumer), find, kind in ("error", "timeout"))


def _value(event: Mapping[str, Any]) -> str:
    value = event["value"]
    if value is None:
        return ""
    return f"{value * 1000:.1f} ms" if event["kind"] == "ended" else line(value)
