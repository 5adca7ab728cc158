"""The latest events of the messages of a worker, on any machine: its flight recorder, asked through the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tasuki.desk.reading.bodies import line
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.desk.site import problem_of
from tasuki.errors import TasukiError
from tasuki.observe.events import NEWEST
from tasuki.state.recorder_requests import PATIENCE, Worker, ask
from tasuki.state.worker_record import Presence
from tasuki.top.frame import amounts
from tasuki.top.frame.amounts import short_id
from tasuki.top.frame.columns import Column
from tasuki.top.views.view import Row, Table, View

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.desk.viewer import Viewer

_STYLES = {"error": "bad", "timeout": "bad", "lease lost": "bad", "stale": "warn", "settled": "dim", "started": "ok"}


class _Event(NamedTuple):
    at: float
    kind: str
    message: str
    attempt: int | None
    consumer: str
    value: str


class EventsView(View):
    """The newest events first; asked for when it opens, and every ten seconds."""

    crumb = "events"
    period = 10.0
    columns = (
        Column("at", "TIME", 12, text=lambda shown: amounts.moment(shown.at), style="dim"),
        Column("kind", "EVENT", 13, style=lambda shown: _STYLES.get(shown.kind, "")),
        Column("message", "MESSAGE", 12, text=lambda shown: short_id(shown.message), at_most=139),
        Column("whole", "MESSAGE", 36, of="message", at_least=140),
        Column("attempt", "TRY", 3, "some", style="dim"),
        Column("consumer", "CONSUMER", 18, style="dim", at_least=100, keep="end"),
        Column("value", "", style=lambda shown: "bad" if shown.kind == "error" else "dim"),
    )

    def __init__(self, worker: Presence) -> None:
        self._worker = worker

    async def read(self, reading: Viewer, snapshot: Snapshot) -> Table:
        """See :class:`View`."""
        rows: list[Row] = []
        left = {consumer.id for consumer in self._worker.consumers}
        for app, _ in reading.site.parts():
            try:
                found = await reading.site.on(app, partial(self._asked, left))
            except TasukiError as error:
                return Table(empty=(problem_of(error),))
            left = left - found.keys()
            rows += [_row(consumer, number, each) for consumer, events in found.items()
                     for number, each in enumerate(events)]  # fmt: skip
        rows.sort(key=lambda row: row.value.at, reverse=True)
        if not any(reading.site.live.state_of(id) for id in snapshot.queues):
            return Table(empty=("Its events cannot be asked for: no queue of this project has a store.",))
        silent = f"It has not answered for {PATIENCE:g} s: its event loop may be blocked; its log has the events."
        return Table(rows, (silent if left else "Nothing has happened yet.",))

    async def _asked(self, consumers: set[str], live: Assembly) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        worker = Worker(self._worker.host, self._worker.pid)
        found: dict[str, Sequence[Mapping[str, Any]]] = {}
        for state in live.states_of_queues():
            own = {id for id in consumers if id not in live.consumers or live.consumers[id].state is state}
            if own:
                found |= await ask(await state.store(), worker, own, NEWEST)
        return found

    def copied(self, row: Row | None) -> str:
        """See :class:`View`."""
        return "" if row is None else str(row.value.message)


def _row(consumer: str, number: int, event: Mapping[str, Any]) -> Row:
    at, kind, message = event["at"], event["kind"], event["message"] or ""
    shown = _Event(at, kind, message, event["attempt"], consumer, _value(event))
    find = f"{kind} {message} {shown.value} {consumer}"
    return Row(f"{at} {consumer} {number}", shown, find, kind in ("error", "timeout"))


def _value(event: Mapping[str, Any]) -> str:
    value = event["value"]
    if value is None:
        return ""
    return f"{value * 1000:.1f} ms" if event["kind"] == "ended" else line(value)
