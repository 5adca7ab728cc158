"""All queues: how full they are, who works on them, what needs attention."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from tasuki.desk.acts.acts import Order
from tasuki.desk.reading.attention import in_trouble
from tasuki.desk.reading.snapshot import COLUMNS, QueueColumn, QueueRow, Snapshot
from tasuki.top.frame import cells
from tasuki.top.frame.cells import Signs
from tasuki.top.frame.columns import Cell, Column
from tasuki.top.views.messages import MessagesView
from tasuki.top.views.view import Key, Row, Table, View

if TYPE_CHECKING:
    from tasuki.desk.viewer import Viewer

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


_WARNS = {"dead": "warn", "failed_rate": "bad"}
"""Columns of which any value but 0 is bad."""


def _column(of: QueueColumn) -> Column:
    """A column of all faces, as this one shows it."""
    text, style = partial(_text, of), partial(_style, of)
    form = of.form if of.form != "text" else "count"
    return Column(of.name, of.title, of.cells, form, text=text, style=style, at_least=of.at_least)


def _text(of: QueueColumn, queue: QueueRow) -> str:
    value = getattr(queue, of.name)
    if of.name == "running" and value is not None:
        return f"{value}/{queue.places}" if queue.consumers and queue.workers else ""
    if (of.name in ("out_rate", "failed_rate", "running") and not queue.consumers) or (
        of.name == "dead" and value is None
    ):
        return ""
    if of.form == "age":
        return cells.age(value) if value else ""
    if of.form == "rate":
        return "" if value is None and of.name == "in_rate" else cells.rate(value)
    is_estimate = queue.is_estimate and of.name in ("ready", "delayed") and bool(value)
    return cells.count(value, cells=of.cells, is_estimate=is_estimate)


def _style(of: QueueColumn, queue: QueueRow) -> str:
    value = getattr(queue, of.name)
    return "" if of.form == "age" else _WARNS.get(of.name, "") if value else "dim"


class QueuesView(View):
    """The first view."""

    crumb = "Queues"
    opens = "messages"
    columns = (
        Column("id", "QUEUE", keep="end"),
        *(_column(each) for each in COLUMNS[1:] if each.title),
        Column("done_of_hour", "LAST HOUR", 20, "bars", style="bars", at_least=120),
        Column("driver", "DRIVER", 16, style="dim", at_least=150, keep="end"),
    )
    keys = (
        Key("p", "pause", "pause the queue; a paused one goes on", "", True, "Pause or resume", "queue"),
        Key("P", "purge", "remove the messages that wait in the queue", "name"),
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
        if queue.paused is not None:
            return signs.paused, "warn"
        return super().mark(row, signs) if queue.depth is not None or queue.problem else (signs.absent, "dim")

    def cells(self, row: Row, signs: Signs) -> Sequence[Cell]:
        """See :class:`View`."""
        queue: QueueRow = row.value
        if queue.depth is None:
            if queue.is_missing:
                return [(queue.id, "dim"), ("  not made yet", "dim")]
            return [(queue.id, "bold"), (f"  cannot be read: {queue.problem}", "bad")]
        quiet = "dim" if queue.paused is not None or queue.is_dead_letters else ""
        marks = {"id": quiet or "bold", "oldest_age": "bad"} if row.is_problem else {"id": quiet}
        cells = super().cells(row, signs)
        return [
            (text, marks.get(column.name, style)) for column, (text, style) in zip(self.columns, cells, strict=True)
        ]

    def enter(self, row: Row) -> View | None:
        """See :class:`View`."""
        return MessagesView(row.value.id)

    def order(self, key: Key, row: Row | None) -> Order | None:
        """See :class:`View`."""
        if row is None or row.value.depth is None:
            return None
        if key.key == "p":
            return Order("pause" if row.value.paused is None else "resume", "queue", row.key)
        queue: QueueRow = row.value
        return Order("purge", "queue", row.key) if queue.waiting else None
