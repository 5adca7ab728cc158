"""All queues: how full they are, who works on them, what needs attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasuki.desk.acts.acts import Order
from tasuki.desk.reading.attention import needs_attention
from tasuki.desk.reading.snapshot import QueueRow, Snapshot
from tasuki.top.frame import amounts
from tasuki.top.frame.columns import Cell, Column
from tasuki.top.frame.styles import Signs
from tasuki.top.views.messages import MessagesView
from tasuki.top.views.questions import of_many
from tasuki.top.views.view import Key, Row, Table, View

if TYPE_CHECKING:
    from tasuki.top.reading import Reading

_EMPTY = (
    "No queue is declared yet. In Python:",
    "",
    "    app = App()",
    '    mails = app.queue("mails")',
    "    @mails.consumer()",
    "    async def send(mail: dict) -> None: ...",
    "",
    "Then start a worker: tasuki run",
)
_SORTS: Mapping[str, Callable[[QueueRow], Any]] = {
    "queue": lambda row: row.id,
    "ready": lambda row: row.ready,
    "run": lambda row: row.busy,
    "delay": lambda row: row.delayed,
    "dead": lambda row: row.dead or 0,
    "oldest": lambda row: row.oldest,
    "out": lambda row: row.out_rate or 0.0,
    "fail": lambda row: row.failed_rate or 0.0,
    "workers": lambda row: row.workers or 0,
    "driver": lambda row: row.driver,
    "trend": lambda row: row.ready,
}


@dataclass(frozen=True, slots=True)
class _Queue:
    row: QueueRow
    trend: Sequence[int]


class QueuesView(View):
    """The first view."""

    title = "Queues"
    opens = "messages"
    columns = (
        Column("queue", "QUEUE", keep="end"),
        Column("ready", "READY", 7, is_right=True),
        Column("run", "RUN", 7, is_right=True),
        Column("delay", "DELAY", 7, is_right=True),
        Column("dead", "DEAD", 7, is_right=True),
        Column("oldest", "OLDEST", 6, is_right=True),
        Column("out", "OUT/s", 6, is_right=True, at_least=70),
        Column("fail", "FAIL", 5, is_right=True, at_least=75),
        Column("workers", "WORKERS", 7, is_right=True, at_least=100),
        Column("trend", "READY, TREND", 16, at_least=120),
        Column("driver", "DRIVER", 16, at_least=140, keep="end"),
    )
    keys = (
        Key("p", "pause", "pause the queue; a paused one goes on", asks="", is_for_many=True),
        Key("P", "purge", "remove the messages that wait in the queue", asks="name"),
    )

    async def read(self, reading: Reading, snapshot: Snapshot) -> Table:
        """See :class:`View`."""
        rows = [
            Row(
                row.id,
                _Queue(row, reading.trends.of(row.id)),
                row.id,
                is_problem=needs_attention(row, snapshot.now) and not row.is_dead_letters,
            )
            for row in snapshot.queues.values()
        ]
        rows.sort(key=lambda row: (row.value.row.is_dead_letters, not row.is_problem, row.key))
        return Table(rows, _EMPTY)

    def mark(self, row: Row, signs: Signs) -> Cell:
        """See :class:`View`."""
        queue: QueueRow = row.value.row
        if queue.pause is not None:
            return signs.paused, "warn"
        return super().mark(row, signs) if queue.depth is not None or queue.problem else (signs.absent, "dim")

    def cells(self, row: Row, signs: Signs) -> Sequence[Cell]:
        """See :class:`View`."""
        queue: QueueRow = row.value.row
        if queue.depth is None:
            what = "not made yet" if queue.is_missing else "cannot be read"
            style = "dim" if queue.is_missing else "bad"
            blank = [("", "")] * (len(self.columns) - 2)
            return [(f"{queue.id} ({what})", style), *blank, (queue.driver, "dim")]
        quiet = "dim" if queue.pause is not None or queue.is_dead_letters else ""
        is_estimate = queue.depth.is_estimate
        running = f"{queue.busy}/{queue.places}" if queue.consumers and queue.workers else ""
        return [
            (queue.id, quiet or ("bold" if row.is_problem else "")),
            _number(queue.ready, is_estimate=is_estimate),
            (running, "dim" if not queue.busy else ""),
            _number(queue.delayed, is_estimate=is_estimate),
            _dead(queue),
            (amounts.age(queue.oldest) if queue.oldest else "", "bad" if row.is_problem else ""),
            (amounts.rate(queue.out_rate) if queue.consumers else "", "" if queue.out_rate else "dim"),
            (amounts.rate(queue.failed_rate) if queue.consumers else "", "bad" if queue.failed_rate else "dim"),
            (amounts.count(queue.workers) if queue.consumers else "", "" if queue.workers else "dim"),
            (amounts.spark(row.value.trend, 16, signs.bars), "bars"),
            (queue.driver, "dim"),
        ]

    def sorted_by(self, column: str, row: Row) -> Any:
        """See :class:`View`."""
        return _SORTS[column](row.value.row)

    def enter(self, row: Row) -> View | None:
        """See :class:`View`."""
        return MessagesView(row.value.row.id)

    def order(self, key: Key, row: Row | None) -> Order | None:
        """See :class:`View`."""
        if row is None or row.value.row.depth is None:
            return None
        if key.key == "p":
            return Order("pause" if row.value.row.pause is None else "resume", "queue", row.key)
        queue: QueueRow = row.value.row
        return Order("purge", "queue", row.key) if queue.ready + queue.delayed else None

    def question(self, key: Key, orders: Sequence[Order]) -> str:
        """See :class:`View`."""
        return of_many("Pause or resume", orders, "queue")


def _number(value: int, *, is_estimate: bool) -> Cell:
    return amounts.count(value, is_estimate=is_estimate) if value else "0", "" if value else "dim"


def _dead(queue: QueueRow) -> Cell:
    if queue.dead is None or queue.is_dead_letters:
        return "", ""
    return amounts.count(queue.dead), "warn" if queue.dead else "dim"
