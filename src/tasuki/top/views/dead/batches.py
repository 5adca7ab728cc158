"""The last batches: acts on many dead letters, and how far they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasuki.dead.batch import Batch
from tasuki.desk.acts.acts import Order
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.top.frame import amounts
from tasuki.top.frame.columns import Column
from tasuki.top.views.messages import MessagesView
from tasuki.top.views.view import Key, Row, Table, View

if TYPE_CHECKING:
    from tasuki.desk.viewer import Viewer

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
    def begun(self) -> float:
        return max(self.now - self.batch.begun, 0.0)

    @property
    def done(self) -> int:
        return self.batch.undone if self.batch.is_back else self.batch.done

    @property
    def letters(self) -> str:
        """Which letters are meant."""
        batch = self.batch
        if batch.ids:
            return f"{batch.ids:,} chosen"
        if batch.group is not None:
            return f"{batch.group[0]} {batch.words or batch.group[1]}"
        return batch.where or "all"


class BatchesView(View):
    """One row a batch, the newest first; ended ones are kept for a day."""

    crumb = "Batches"
    opens = "dead letters"
    columns = (
        Column("begun", "BEGUN", 6, "age", style="dim"),
        Column("act", "ACT", 6, of="batch.act", style="bold"),
        Column("queue", "QUEUE", of="batch.queue", keep="end"),
        Column("state", "STATE", 9, of="batch.state", style=lambda shown: _STYLES[shown.batch.state]),
        Column("done", "DONE", 7, "count"),
        Column("left", "LEFT", 7, "count", of="batch.left"),
        Column("again", "AGAIN", 6, "some", of="batch.returned", style="bad"),
        Column("rate", "RATE", 5, "count", "batch.rate", lambda shown: _rate(shown.batch.rate), "dim", at_least=90),
        Column("actor", "BY", 16, of="batch.actor", style="dim", at_least=100),
        Column("letters", "LETTERS", style="dim", at_least=120),
        Column("problem", "", of="batch.problem", style="bad", at_least=140, share=2),
    )
    keys = (
        Key("p", "pause", "pause the batch; a paused or stopped one goes on", asks=""),
        Key("u", "undo", "bring the letters back that still wait where the batch has put them"),
        Key("K", "cancel", "cancel the batch; what it has moved stays where it is"),
    )

    def __init__(self) -> None:
        self._batches: Mapping[str, Batch] = {}

    async def read(self, reading: Viewer, snapshot: Snapshot) -> Table:
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


def _rate(rate: float) -> str:
    return amounts.count(rate) if rate else "max"


def _verb(key: Key, batch: Batch) -> str | None:
    """What a key does to a batch in its state; None: nothing."""
    if key.key == "u":
        return "undo" if batch.can_undo else None
    if key.key == "K":
        return "cancel" if batch.state in _CANCELLED and not batch.is_back else None
    if batch.state == "running":
        return "pause"
    return "resume" if batch.state in ("paused", "stopped", "failed") and not batch.is_back else None
