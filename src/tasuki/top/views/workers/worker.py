"""One worker process: its consumers, and below each what it runs now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasuki.desk.acts.acts import Order
from tasuki.desk.reading.bodies import line
from tasuki.desk.reading.snapshot import ConsumerRow, Snapshot
from tasuki.state.worker_record import Presence, PresentConsumer, RunningMessage
from tasuki.top.frame import amounts
from tasuki.top.frame.columns import Cell, Column
from tasuki.top.frame.styles import Signs
from tasuki.top.views.message import MessageView
from tasuki.top.views.view import Key, Row, Table, View
from tasuki.top.views.workers.events import EventsView

if TYPE_CHECKING:
    from tasuki.desk.viewer import Viewer


@dataclass(frozen=True, slots=True)
class _Part:
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
        return amounts.count(getattr(self.consumer, name)) if self.message is None else ""

    def quiet(self, name: str) -> str:
        return "" if getattr(self.consumer, name) else "dim"


def _failed(part: _Part) -> str:
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
            part = _Part(consumer, queue, worker.seen, known)
            rows.append(Row(consumer.id, part, f"{consumer.id} {queue or consumer.queue}"))
            for message in consumer.messages:
                part = _Part(consumer, queue, worker.seen, known, message)
                rows.append(Row(f"{consumer.id} {message.id}", part, f"{message.id} {message.function}"))
        note = worker.trouble or (f"{worker.left_out} more have no room in its sign" if worker.left_out else "")
        return Table(rows, ("It has no consumer.",), note)

    def mark(self, row: Row, signs: Signs) -> Cell:
        """See :class:`View`."""
        part: _Part = row.value
        return (signs.paused, "warn") if part.is_paused and part.message is None else (" ", "")

    def copied(self, row: Row | None) -> str:
        """See :class:`View`."""
        if row is None:
            return ""
        part: _Part = row.value
        return part.consumer.id if part.message is None else part.message.id

    def enter(self, row: Row) -> View | None:
        """See :class:`View`."""
        part: _Part = row.value
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
        part: _Part = row.value
        if key.key == "K":
            is_known = part.message is not None and part.queue
            return Order("cancel", "queue", part.queue, part.message.id) if is_known and part.message else None
        if part.message is not None or part.known is None:
            return None
        return Order("resume" if part.is_paused else "pause", "consumer", part.consumer.id)
