"""All queues: how full they are, who works on them, what needs attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasuki.desk.acts.acts import Order
from tasuki.desk.reading.attention import in_trouble
from tasuki.desk.reading.snapshot import QueueRow, Snapshot
from tasuki.top.frame import amounts
from tasuki.top.frame.columns import Cell, Column
from tasuki.top.frame.styles import Signs
from tasuki.top.views.messages import MessagesView
from tasuki.top.views.questions import of_many
from tasuki.top.views.view import Key, Row, Table, View

if TYPE_CHECKING:
    from tasuki.desk.viewer import Viewer

_FEW = 6
"""Cells of a number that is seldom large."""
_POINTS = 20
"""Of the last hour: three minutes each."""
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
    "delay": lambda row: row.delayed or 0,
    "dead": lambda row: row.dead or 0,
    "oldest": lambda row: row.oldest,
    "out": lambda row: row.out_rate or 0.0,
    "fail": lambda row: row.failed_rate or 0.0,
    "in": lambda row: row.in_rate or 0.0,
    "p95": lambda row: row.run_p95 or 0.0,
    "workers": lambda row: row.workers or 0,
    "hour": lambda row: 0 if row.past is None else row.past.sums["done"],
    "driver": lambda row: row.driver,
}


class QueuesView(View):
    """The first view."""

    title = "Queues"
    opens = "messages"
    columns = (
        Column("queue", "QUEUE", keep="end"),
        Column("ready", "READY", 7, is_right=True),
        Column("run", "RUN", 6, is_right=True),
        Column("delay", "DELAY", _FEW, is_right=True),
        Column("dead", "DEAD", _FEW, is_right=True),
        Column("oldest", "OLDEST", 6, is_right=True),
        Column("in", "IN/s", 6, is_right=True, at_least=100),
        Column("out", "OUT/s", 6, is_right=True, at_least=70),
        Column("fail", "FAIL", 5, is_right=True, at_least=70),
        Column("p95", "P95", 5, is_right=True, at_least=80),
        Column("workers", "WORKERS", 7, is_right=True, at_least=110),
        Column("hour", "LAST HOUR", _POINTS, at_least=120),
        Column("driver", "DRIVER", 16, at_least=150, keep="end"),
    )
    keys = (
        Key("p", "pause", "pause the queue; a paused one goes on", asks="", is_for_many=True),
        Key("P", "purge", "remove the messages that wait in the queue", asks="name"),
    )

    async def read(self, reading: Viewer, snapshot: Snapshot) -> Table:
        """See :class:`View`."""
        trouble = in_trouble(snapshot)
        rows = [
            Row(row.id, row, row.id, is_problem=row.id in trouble and not row.is_dead_letters)
            for row in snapshot.queues.values()
        ]
        rows.sort(key=lambda row: (row.value.is_dead_letters, not row.is_problem, row.key))
        return Table(rows, _EMPTY)

    def mark(self, row: Row, signs: Signs) -> Cell:
        """See :class:`View`."""
        queue: QueueRow = row.value
        if queue.pause is not None:
            return signs.paused, "warn"
        return super().mark(row, signs) if queue.depth is not None or queue.problem else (signs.absent, "dim")

    def cells(self, row: Row, signs: Signs) -> Sequence[Cell]:
        """See :class:`View`."""
        queue: QueueRow = row.value
        if queue.depth is None:
            if queue.is_missing:
                return [(queue.id, "dim"), ("  not made yet", "dim")]
            return [(queue.id, "bold"), (f"  cannot be read: {queue.problem}", "bad")]
        quiet = "dim" if queue.pause is not None or queue.is_dead_letters else ""
        is_estimate = queue.depth.is_estimate
        running = f"{queue.busy}/{queue.places}" if queue.consumers and queue.workers else ""
        running = running if queue.knows_workers or not queue.consumers else signs.none
        return [
            (queue.id, quiet or ("bold" if row.is_problem else "")),
            _number(queue.ready, is_estimate=is_estimate),
            (running, "dim" if not queue.busy else ""),
            _number(queue.delayed, is_estimate=is_estimate, cells=_FEW),
            _dead(queue),
            (amounts.age(queue.oldest) if queue.oldest else "", "bad" if row.is_problem else ""),
            (amounts.rate(queue.in_rate) if queue.in_rate is not None else "", "" if queue.in_rate else "dim"),
            (amounts.rate(queue.out_rate) if queue.consumers else "", "" if queue.out_rate else "dim"),
            (amounts.rate(queue.failed_rate) if queue.consumers else "", "bad" if queue.failed_rate else "dim"),
            (amounts.age(queue.run_p95) if queue.run_p95 is not None else "", ""),
            (amounts.count(queue.workers), "" if queue.workers else "dim"),
            (_hour(queue, signs), "bars"),
            (queue.driver, "dim"),
        ]

    def sorted_by(self, column: str, row: Row) -> Any:
        """See :class:`View`."""
        return _SORTS[column](row.value)

    def enter(self, row: Row) -> View | None:
        """See :class:`View`."""
        return MessagesView(row.value.id)

    def order(self, key: Key, row: Row | None) -> Order | None:
        """See :class:`View`."""
        if row is None or row.value.depth is None:
            return None
        if key.key == "p":
            return Order("pause" if row.value.pause is None else "resume", "queue", row.key)
        queue: QueueRow = row.value
        return Order("purge", "queue", row.key) if queue.waiting else None

    def question(self, key: Key, orders: Sequence[Order]) -> str:
        """See :class:`View`."""
        return of_many("Pause or resume", orders, "queue")


def _number(value: int | None, *, is_estimate: bool, cells: int = 7) -> Cell:
    if value is None:
        return amounts.count(None), "dim"
    return amounts.count(value, cells=cells, is_estimate=is_estimate) if value else "0", "" if value else "dim"


def _hour(queue: QueueRow, signs: Signs) -> str:
    """Messages done in the last hour, as bars."""
    if queue.past is None:
        return ""
    done = queue.past.lines["done"]
    step = max(len(done) // _POINTS, 1)
    return amounts.spark([sum(done[at : at + step]) for at in range(0, len(done), step)], _POINTS, signs.bars)


def _dead(queue: QueueRow) -> Cell:
    if queue.dead is None or queue.is_dead_letters:
        return "", ""
    return amounts.count(queue.dead, cells=_FEW), "warn" if queue.dead else "dim"
