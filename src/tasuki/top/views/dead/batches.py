"""The last batches: acts on many dead letters, and how far they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasuki.dead.rules.batch import Batch
from tasuki.desk.acts.acts import Order
from tasuki.desk.reading.bodies import line
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.top.frame import amounts
from tasuki.top.frame.columns import Cell, Column
from tasuki.top.frame.styles import Signs
from tasuki.top.views.messages import MessagesView
from tasuki.top.views.view import Key, Row, Table, View

if TYPE_CHECKING:
    from tasuki.top.reading import Reading

_STYLES = {
    "running": "ok", "undoing": "ok", "paused": "warn", "stopped": "bad", "failed": "bad", "cancelled": "dim",
    "done": "", "undone": "dim",
}  # fmt: skip
_CANCELLED = ("running", "paused", "stopped", "failed")


@dataclass(frozen=True, slots=True)
class _Shown:
    batch: Batch
    now: float

    @property
    def letters(self) -> str:
        """Which letters are meant."""
        batch = self.batch
        if batch.ids:
            return f"{batch.ids:,} chosen"
        if batch.group is not None:
            return f"{batch.group[0]} {batch.words or batch.group[1]}"
        return batch.where or "all"


_SORTS: Mapping[str, Callable[[_Shown], Any]] = {
    "begun": lambda shown: shown.now - shown.batch.begun,
    "act": lambda shown: shown.batch.act,
    "queue": lambda shown: shown.batch.queue,
    "state": lambda shown: shown.batch.state,
    "done": lambda shown: shown.batch.done,
    "left": lambda shown: shown.batch.left or 0,
    "again": lambda shown: shown.batch.returned,
    "rate": lambda shown: shown.batch.rate,
    "letters": lambda shown: shown.letters,
    "actor": lambda shown: shown.batch.actor,
}


class BatchesView(View):
    """One row a batch, the newest first; ended ones are kept for a day."""

    title = "Batches"
    opens = "dead letters"
    columns = (
        Column("begun", "BEGUN", 6, is_right=True),
        Column("act", "ACT", 6),
        Column("queue", "QUEUE", keep="end"),
        Column("state", "STATE", 9),
        Column("done", "DONE", 7, is_right=True),
        Column("left", "LEFT", 7, is_right=True),
        Column("again", "AGAIN", 6, is_right=True),
        Column("rate", "RATE", 5, is_right=True, at_least=90),
        Column("actor", "BY", 16, at_least=100),
        Column("letters", "LETTERS", at_least=120),
        Column("problem", "", at_least=140, share=2),
    )
    keys = (
        Key("p", "pause", "pause the batch; a paused or stopped one goes on", asks=""),
        Key("u", "undo", "bring the letters back that still wait where the batch has put them"),
        Key("K", "cancel", "cancel the batch; what it has moved stays where it is"),
    )

    def __init__(self) -> None:
        self._batches: Mapping[str, Batch] = {}

    async def read(self, reading: Reading, snapshot: Snapshot) -> Table:
        """See :class:`View`."""
        rows = []
        batches = await reading.board.latest()
        self._batches = {batch.id: batch for batch in batches}
        for batch in batches:
            shown = _Shown(batch, snapshot.now)
            find = f"{batch.id} {batch.act} {batch.queue} {batch.state} {batch.actor} {shown.letters}"
            rows.append(Row(batch.id, shown, find, batch.state in ("stopped", "failed")))
        none = "No batch in the last day. r and D on groups of dead letters begin one."
        problem = reading.board.problem
        return Table(rows, (f"The batches cannot be read: {problem}" if problem else none,))

    def cells(self, row: Row, signs: Signs) -> Sequence[Cell]:
        """See :class:`View`."""
        shown: _Shown = row.value
        batch = shown.batch
        done = batch.undone if batch.is_back else batch.done
        return [
            (amounts.age(max(shown.now - batch.begun, 0.0)), "dim"),
            (batch.act, "bold"),
            (line(batch.queue), ""),
            (batch.state, _STYLES[batch.state]),
            (amounts.count(done), ""),
            (amounts.count(batch.left), ""),
            (amounts.count(batch.returned) if batch.returned else "", "bad"),
            (amounts.count(batch.rate) if batch.rate else "max", "dim"),
            (line(batch.actor), "dim"),
            (line(shown.letters), "dim"),
            (line(batch.problem), "bad"),
        ]

    def sorted_by(self, column: str, row: Row) -> Any:
        """See :class:`View`."""
        return _SORTS[column](row.value) if column in _SORTS else row.value.batch.problem

    def enter(self, row: Row) -> View | None:
        """See :class:`View`."""
        return MessagesView(row.value.batch.queue)

    def order(self, key: Key, row: Row | None) -> Order | None:
        """See :class:`View`."""
        if row is None or (verb := _verb(key, row.value.batch)) is None:
            return None
        return Order("batch", "queue", row.value.batch.queue, options={"batch": row.key, "verb": verb})

    def question(self, key: Key, orders: Sequence[Order]) -> str:
        """See :class:`View`."""
        batch = self._batches.get(orders[0].options["batch"])
        where = orders[0].id
        if key.key == "u":
            done = "" if batch is None else f": {amounts.things(batch.done, 'letter')} at most come back"
            return f"Undo the batch on {where}{done}?"
        left = (
            "" if batch is None or batch.left is None else f": {amounts.things(batch.left, 'letter')} stay as they are"
        )
        return f"Cancel the batch on {where}{left}?"


def _verb(key: Key, batch: Batch) -> str | None:
    """What a key does to a batch in its state; None: nothing."""
    if key.key == "u":
        return "undo" if batch.can_undo else None
    if key.key == "K":
        return "cancel" if batch.state in _CANCELLED and not batch.is_back else None
    if batch.state == "running":
        return "pause"
    return "resume" if batch.state in ("paused", "stopped", "failed") and not batch.is_back else None
