"""The worker processes on all machines, one of them, and its latest events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tasuki.desk.acts.acts import Order
from tasuki.desk.reading.attention import queue_in
from tasuki.desk.reading.bodies import line
from tasuki.desk.reading.snapshot import ConsumerRow, Snapshot
from tasuki.desk.site import problem_of
from tasuki.errors import TasukiError
from tasuki.observe.events import NEWEST
from tasuki.state.recorder_requests import PATIENCE, WorkerAddress, ask
from tasuki.state.worker_record import Presence, PresentConsumer, RunningMessage
from tasuki.top.frame import cells
from tasuki.top.frame.cells import Signs, short_id
from tasuki.top.frame.columns import Cell, Column
from tasuki.top.views.message import MessageView
from tasuki.top.views.view import Key, Row, Table, View

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.desk.viewer import Viewer


_NONE = ("No worker is alive. Start one: tasuki run",)
_UNKNOWN = (
    "The workers are not known: no queue of this project has a store for their signs.",
    "Give its driver or the queue a store (state: …).",
)


@dataclass(frozen=True, slots=True)
class _Seen:
    worker: Presence
    now: float
    lost_at: str = ""
    """A queue of a lost worker; empty: it gives signs."""

    @property
    def name(self) -> str:
        return f"{self.worker.host}:{self.worker.pid}"

    @property
    def up(self) -> float:
        return max(self.now - self.worker.started, 0.0)

    @property
    def consumers(self) -> str:
        more = f" and {self.worker.left_out} more" if self.worker.left_out else ""
        return ", ".join(consumer.id for consumer in self.worker.consumers) + more

    @property
    def is_problem(self) -> bool:
        return self.condition in ("silent", "not_live")

    @property
    def silent(self) -> float:
        return max(self.now - self.worker.seen, 0.0)

    @property
    def condition(self) -> str:
        return self.worker.condition(self.now)


_HEALTH: Mapping[str, tuple[str, str]] = {
    "ok": ("ok", "ok"),
    "warning": ("warning", "warn"),
    "not_ready": ("not ready", "warn"),
    "not_live": ("not live", "bad"),
    "silent": ("silent", "bad"),
    "unknown": ("", "dim"),
}
"""Condition of a worker → its word and style."""


def _run(seen: _Seen) -> str:
    return f"{seen.worker.running}/{seen.worker.concurrency}"


def _sign(seen: _Seen) -> str:
    return cells.age(seen.silent) if seen.silent >= 1 else "now"


def _health(seen: _Seen) -> Cell:
    return _HEALTH.get(seen.condition, ("", "dim"))


def _row(seen: _Seen) -> Row:
    worker = seen.worker
    find = f"{worker.name} {' '.join(each.id for each in worker.consumers)}"
    return Row(worker.key, seen, find, seen.is_problem)


class WorkersView(View):
    """One row a process."""

    crumb = "Workers"
    opens = "what it runs"
    columns = (
        Column("name", "WORKER", style=lambda seen: "bold" if seen.is_problem else "", keep="end"),
        Column("up", "UP", 6, "age"),
        Column("run", "RUN", 7, "count", "worker.running", _run, lambda seen: "" if seen.worker.running else "dim"),
        Column("done", "DONE", 8, "count", "worker.done"),
        Column(
            "failed", "FAILED", 7, "count", "worker.failed", style=lambda seen: "bad" if seen.worker.failed else "dim"
        ),
        Column(
            "seen", "SEEN", 5, "age", "silent", _sign, lambda seen: "bad" if seen.worker.is_late(seen.now) else "dim"
        ),
        Column(
            "health",
            "HEALTH",
            9,
            of="condition",
            text=lambda seen: _health(seen)[0],
            style=lambda seen: _health(seen)[1],
        ),
        Column("version", "VERSION", 9, of="worker.version", style="dim", at_least=100),
        Column("consumers", "CONSUMERS", style="dim", at_least=70, share=2),
    )
    keys = (
        Key("a", "acknowledge", "the end of a silent worker is known; its row ends", "enter", True, "Acknowledge",
            "silent worker"),
    )  # fmt: skip

    async def read(self, reading: Viewer, snapshot: Snapshot) -> Table:
        """See :class:`View`."""
        names = reading.site.ids
        lost = [_Seen(worker, snapshot.now, queue_in(worker, names)) for worker in snapshot.lost]
        rows = [_row(seen) for seen in [*lost, *(_Seen(worker, snapshot.now) for worker in snapshot.workers)]]
        return Table(rows, _NONE if snapshot.knows_workers or not snapshot.queues else _UNKNOWN)

    def copied(self, row: Row | None) -> str:
        """See :class:`View`."""
        return "" if row is None else str(row.value.name)

    def enter(self, row: Row) -> View | None:
        """See :class:`View`."""
        return WorkerView(row.value.worker)

    def order(self, key: Key, row: Row | None) -> Order | None:
        """See :class:`View`."""
        if row is None or not row.value.lost_at:
            return None
        return Order("acknowledge", "queue", row.value.lost_at, row.value.worker.name)


@dataclass(frozen=True, slots=True)
class _WorkerPart:
    """A consumer of the process, or a message that it runs."""

    consumer: PresentConsumer
    queue: str
    """The id of the queue, empty where the project does not have it."""
    seen: float
    """Unix time of the worker's last sign."""
    known: ConsumerRow | None = None
    message: RunningMessage | None = None

    @property
    def is_paused(self) -> bool:
        return self.known is not None and self.known.paused is not None

    @property
    def what(self) -> str:
        return line(self.consumer.id) if self.message is None else f"  {line(self.message.id)}"

    @property
    def style(self) -> str:
        if self.message is not None:
            return "bad" if self.message.bound else "ok"
        return "dim" if self.is_paused else "bold"

    @property
    def run(self) -> str:
        return f"{self.consumer.running}/{self.consumer.concurrency}" if self.message is None else ""

    @property
    def ran(self) -> float | None:
        return None if self.message is None else max(self.seen - self.message.since, 0.0)

    @property
    def where(self) -> str:
        return self.queue or self.consumer.queue if self.message is None else self.message.function

    def count(self, name: str) -> str:
        return cells.count(getattr(self.consumer, name)) if self.message is None else ""

    def quiet(self, name: str) -> str:
        return "" if getattr(self.consumer, name) else "dim"


def _failed(part: _WorkerPart) -> str:
    return "bad" if part.consumer.failed else "dim"


class WorkerView(View):
    """Rows of two sorts: a consumer, and each message that it runs."""

    opens = "message"
    columns = (
        Column("what", "CONSUMER, MESSAGE", style=lambda part: part.style, keep="end", share=3),
        Column("run", "RUN", 7, "count", "consumer.running", lambda part: part.run, lambda part: part.quiet("running")),
        Column("for", "FOR", 6, "age", "ran", style=lambda part: part.style),
        Column("done", "DONE", 8, "count", "consumer.done", lambda part: part.count("done")),
        Column("failed", "FAILED", 7, "count", "consumer.failed", lambda part: part.count("failed"), _failed),
        Column("where", "QUEUE, FUNCTION", style="dim", at_least=70, keep="end", share=2),
    )
    keys = (
        Key("p", "pause", "pause the consumer in all processes; a paused one goes on", "", True, "Pause", "consumer"),
        Key("K", "cancel", "cancel a message that runs", "enter", True, "Cancel", "message"),
    )

    def __init__(self, worker: Presence) -> None:
        self._worker = worker
        self.crumb = line(f"{worker.host}:{worker.pid}", 80)

    async def read(self, reading: Viewer, snapshot: Snapshot) -> Table:
        """See :class:`View`."""
        worker = next((each for each in snapshot.workers if each.key == self._worker.key), None)
        if worker is None:
            return Table(
                empty=("This worker has gone. Its messages come back when its death is seen, or their leases end.",)
            )
        self._worker = worker
        names = {key: id for key, id in reading.site.ids.items() if id in snapshot.queues}
        rows: list[Row] = []
        for consumer in worker.consumers:
            queue = names.get((consumer.driver, consumer.queue), "")
            known = next((each for each in snapshot.queues[queue].consumers if each.id == consumer.id), None) \
                if queue else None  # fmt: skip
            part = _WorkerPart(consumer, queue, worker.seen, known)
            rows.append(Row(consumer.id, part, f"{consumer.id} {queue or consumer.queue}"))
            for message in consumer.messages:
                part = _WorkerPart(consumer, queue, worker.seen, known, message)
                rows.append(Row(f"{consumer.id} {message.id}", part, f"{message.id} {message.function}"))
        note = worker.trouble or (f"{worker.left_out} more have no room in its sign" if worker.left_out else "")
        return Table(rows, ("It has no consumer.",), note)

    def mark(self, row: Row, signs: Signs) -> Cell:
        """See :class:`View`."""
        part: _WorkerPart = row.value
        return (signs.paused, "warn") if part.is_paused and part.message is None else (" ", "")

    def copied(self, row: Row | None) -> str:
        """See :class:`View`."""
        if row is None:
            return ""
        part: _WorkerPart = row.value
        return part.consumer.id if part.message is None else part.message.id

    def enter(self, row: Row) -> View | None:
        """See :class:`View`."""
        part: _WorkerPart = row.value
        return MessageView(part.queue, part.message.id, 0) if part.message is not None and part.queue else None

    def explain(self, row: Row | None) -> View | None:
        """See :class:`View`."""
        return None if row is None else self.enter(row)

    def aside(self, key: str) -> View | None:
        """See :class:`View`."""
        return EventsView(self._worker) if key == "o" else None

    def asides(self) -> Sequence[tuple[str, str, str]]:
        """See :class:`View`."""
        return (("o", "events", "the latest events of the messages of this worker"),)

    def order(self, key: Key, row: Row | None) -> Order | None:
        """See :class:`View`."""
        if row is None:
            return None
        part: _WorkerPart = row.value
        if key.key == "K":
            is_known = part.message is not None and part.queue
            return Order("cancel", "queue", part.queue, part.message.id) if is_known and part.message else None
        if part.message is not None or part.known is None:
            return None
        return Order("resume" if part.is_paused else "pause", "consumer", part.consumer.id)


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
        Column("at", "TIME", 12, text=lambda shown: cells.moment(shown.at), style="dim"),
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
            rows += [_event_row(consumer, number, each) for consumer, events in found.items()
                     for number, each in enumerate(events)]  # fmt: skip
        rows.sort(key=lambda row: row.value.at, reverse=True)
        if not any(reading.site.live.state_of(id) for id in snapshot.queues):
            return Table(empty=("Its events cannot be asked for: no queue of this project has a store.",))
        silent = f"It has not answered for {PATIENCE:g} s: its event loop may be blocked; its log has the events."
        return Table(rows, (silent if left else "Nothing has happened yet.",))

    async def _asked(self, consumers: set[str], live: Assembly) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        worker = WorkerAddress(self._worker.host, self._worker.pid)
        found: dict[str, Sequence[Mapping[str, Any]]] = {}
        for state in live.states_of_queues():
            own = {id for id in consumers if id not in live.consumers or live.consumers[id].state is state}
            if own:
                found |= await ask(await state.store(), worker, own, NEWEST)
        return found

    def copied(self, row: Row | None) -> str:
        """See :class:`View`."""
        return "" if row is None else str(row.value.message)


def _event_row(consumer: str, number: int, event: Mapping[str, Any]) -> Row:
    at, kind, message = event["at"], event["kind"], event["message"] or ""
    shown = _Event(at, kind, message, event["attempt"], consumer, _value(event))
    find = f"{kind} {message} {shown.value} {consumer}"
    return Row(f"{at} {consumer} {number}", shown, find, kind in ("error", "timeout"))


def _value(event: Mapping[str, Any]) -> str:
    value = event["value"]
    if value is None:
        return ""
    return f"{value * 1000:.1f} ms" if event["kind"] == "ended" else line(value)
