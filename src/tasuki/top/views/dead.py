"""Dead letters in groups of one cause over all queues, the letters of a group, and the last batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasuki.dead.batch import Batch
from tasuki.desk.acts.acts import Order
from tasuki.desk.acts.bulk import Bulk
from tasuki.desk.dead.rows import GroupRow, count_of, of_group, unread_of
from tasuki.desk.dead.windows import NEWEST, Item, Window
from tasuki.desk.reading.bodies import line
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.queues.dead.groups import KEYS
from tasuki.top.frame import cells
from tasuki.top.frame.cells import short_id
from tasuki.top.frame.columns import Column
from tasuki.top.views.message import MessageView
from tasuki.top.views.messages import MessagesView
from tasuki.top.views.view import EDIT, TRY, Key, Row, Table, View, of_letters, of_selected, order_on, question_on

if TYPE_CHECKING:
    from tasuki.desk.viewer import Viewer
    from tasuki.queues.queue import Queue


_NONE = "No dead letters. Messages that fail too often, or are rejected, would be here."
_NO_QUEUE = ("No queue has a dead-letter queue. In Python:", "",
             '    app.queue("mails", dead_letter={"queue": "mails.dead", "max_attempts": 5})')  # fmt: skip


@dataclass(frozen=True, slots=True)
class _DeadGroupRow:
    row: GroupRow
    now: float
    by: str
    """What it was grouped by: a key may have asked for another grouping since."""
    is_all: bool
    """Whether all letters of its queue were read."""
    kept: bool
    """Whether its letters can be brought back when they were deleted."""

    @property
    def what(self) -> str:
        """The commonest first line of the errors, or why there is none."""
        group = self.row.group
        return line(group.sample or group.reason or "(no error)")

    @property
    def error(self) -> str:
        """What it says, behind the key of a group of another kind."""
        if self.row.is_rest:
            return "all other groups"
        is_own = self.by in ("cause", "type")
        return self.what if is_own else f"{line(self.row.group.key) or cells.count(None)}: {self.what}"

    @property
    def last(self) -> float | None:
        return _ago(self.row.group.last, self.now)

    @property
    def first(self) -> float | None:
        return _ago(self.row.group.first, self.now)


def _ago(at: float | None, now: float) -> float | None:
    return None if at is None else max(now - at, 0.0)


class DeadView(View):
    """One row a group and dead-letter queue."""

    crumb = "Dead"
    opens = "letters"
    period = 5.0
    columns = (
        Column("count", "COUNT", 6, "count", "row.group.count", style="bold"),
        Column("trend", "LAST HOUR", 12, "bars", "row.trend", style="fall", at_least=100),
        Column("last", "LAST", 6, "age"),
        Column("first", "FIRST", 6, "age", style="dim", at_least=110),
        Column("error", "ERROR", style="warn", share=3),
        Column("place", "PLACE", of="row.group.place", style="dim", at_least=70, keep="end"),
        Column("queue", "QUEUE", of="row.dead", style="dim", at_least=90, keep="end"),
    )
    keys = (
        Key("r", "retry", "send the letters of a group back to the queues where they failed", is_for_many=True),
        Key("D", "delete", "delete the letters of a group", is_for_many=True),
    )

    def __init__(self) -> None:
        self._by = "cause"
        self._groups: Mapping[tuple[str, str, str | None], _DeadGroupRow] = {}

    async def read(self, reading: Viewer, snapshot: Snapshot) -> Table:
        """See :class:`View`."""
        ids = [row.id for row in snapshot.queues.values() if row.is_dead_letters]
        if not ids:
            return Table(empty=_NO_QUEUE)
        seen = [id for id in ids if reading.may("peek", id)]
        if not seen:
            return Table(empty=("You may not see dead letters: no policy allows queue.admin.peek.",))
        by = self._by
        windows, unseen = await reading.library.windows(seen, "", by)
        groups = await reading.library.rows(windows, by, snapshot.now)
        whole = {window.queue for window in windows if window.is_all}
        kept = {window.queue for window in windows if reading.keeps(window.queue)}
        found = [_DeadGroupRow(row, snapshot.now, by, row.dead in whole, row.dead in kept) for row in groups]
        self._groups = {(each.row.dead, by, each.row.group.key): each for each in found}
        rows = [Row(f"{each.row.dead} {each.row.group.key}", each, _find(each.row)) for each in found]
        empty = [*([] if unseen else [_NONE]), *(f"{id}: {why}" for id, why in unseen.items())]
        return Table(rows, empty, self._note(windows, unread_of(snapshot, unseen), len(rows)))

    def _note(self, windows: Sequence[Window], unread: int, groups: int) -> str:
        read = sum(window.count for window in windows)
        bound = "" if all(window.is_all for window in windows) else f" of the newest {NEWEST:,} a queue"
        hidden = f"; {cells.things(unread, 'letter')} more that cannot be shown" if unread else ""
        return f"{cells.things(read, 'letter')}, {groups:,} by {self._by}{bound}{hidden}"

    def press(self, key: str) -> str | None:
        """See :class:`View`."""
        if key != "b":
            return None
        names = list(KEYS)
        self._by = names[(names.index(self._by) + 1) % len(names)]
        return f"Grouped by {self._by}."

    def switches(self) -> Sequence[tuple[str, str, str]]:
        """See :class:`View`."""
        return (("b", "group by", f"group by the next of: {', '.join(KEYS)}"),)

    def enter(self, row: Row) -> View | None:
        """See :class:`View`."""
        group = row.value.row
        return LettersView(group.dead, row.value.by, group.group.key, row.value.what)

    def order(self, key: Key, row: Row | None) -> Order | None:
        """See :class:`View`."""
        if row is None or row.value.row.is_rest:
            return None
        group: GroupRow = row.value.row
        act = "redrive" if key.key == "r" else "remove"
        return Order(act, "queue", group.dead, bulk=Bulk(act, group.dead, row.value.by, group.group.key))

    def _ordered(self, orders: Sequence[Order]) -> list[_DeadGroupRow]:
        """The groups that orders are about, as they are now."""
        bulks = [order.bulk for order in orders if order.bulk is not None]
        found = (self._groups.get((bulk.queue, bulk.by, bulk.group)) for bulk in bulks)
        return [group for group in found if group is not None]

    def count(self, orders: Sequence[Order]) -> int:
        """See :class:`View`."""
        return sum(group.row.group.count for group in self._ordered(orders))

    def question(self, key: Key, orders: Sequence[Order]) -> str:
        """See :class:`View`."""
        groups = self._ordered(orders)
        queues = sorted({order.id for order in orders})
        is_all, kept = all(group.is_all for group in groups), all(group.kept for group in groups)
        return of_letters(key, self.count(orders), queues, is_all=is_all, kept=kept)


def _find(row: GroupRow) -> str:
    group = row.group
    return f"{row.dead} {group.queue} {group.sample} {group.type} {group.place} {group.reason} {group.key}"


@dataclass(frozen=True, slots=True)
class _Letter:
    item: Item
    source: Queue
    now: float

    @property
    def body(self) -> str:
        """Made when it is shown: there may be ten thousand letters."""
        return self.item.body(self.source)

    @property
    def died(self) -> float | None:
        at = self.item.letter.at
        return None if at is None else max(self.now - at, 0.0)

    @property
    def error(self) -> str:
        return self.item.letter.error or self.item.letter.reason


class LettersView(View):
    """One row a letter, the newest death first."""

    opens = "message"
    period = 5.0
    columns = (
        Column("died", "DIED", 6, "age"),
        Column("tries", "FAILED", 6, "some", "item.letter.attempts", style="dim"),
        Column("again", "RETRIED", 7, "some", "item.letter.redriven", style="warn", at_least=100),
        Column(
            "id",
            "ID",
            9,
            of="item.letter.id",
            text=lambda shown: short_id(shown.item.letter.id),
            style="dim",
            at_most=139,
        ),
        Column("whole", "ID", 36, of="item.name", style="dim", at_least=140),
        Column("from", "FROM", of="item.letter.queue", style="dim", at_least=110, keep="end"),
        Column("error", "ERROR", style="warn", share=2),
        Column("body", "BODY", at_least=90, share=2),
    )
    keys = (
        Key("r", "retry", "send the letter back to the queue where it failed", is_for_many=True),
        EDIT,
        TRY,
        Key("D", "delete", "delete the letter", is_for_many=True),
    )

    def __init__(self, dead: str, by: str, key: str, what: str) -> None:
        self._dead, self._by, self._key, self.crumb = dead, by, key, what
        self._kept = True

    async def read(self, reading: Viewer, snapshot: Snapshot) -> Table:
        """See :class:`View`."""
        window = await reading.library.window(self._dead, "", self._by, self._key)
        source, self._kept = reading.site.live.queues[self._dead], reading.keeps(self._dead)
        rows = []
        for item in of_group(window, self._by, self._key):
            letter = item.letter
            find = f"{letter.id} {letter.error} {letter.queue} {item.key} {letter.task}"
            rows.append(Row(item.name, _Letter(item, source, snapshot.now), find))
        count = count_of(window, self._by, self._key)
        bound = f", the newest {window.listed:,} shown" if window.cause else f" of the newest {window.read:,}"
        note = cells.things(count, "letter") + ("" if window.is_all else bound)
        return Table(rows, ("These letters have gone: they were sent back or deleted.",), note)

    def enter(self, row: Row) -> View | None:
        """See :class:`View`."""
        return MessageView(self._dead, row.key, row.value.item.number)

    def explain(self, row: Row | None) -> View | None:
        """See :class:`View`."""
        return None if row is None else MessageView(self._dead, row.key, row.value.item.number, is_about_why=True)

    def order(self, key: Key, row: Row | None) -> Order | None:
        """See :class:`View`."""
        return None if row is None else order_on(key, self._dead, row.key, row.value.item.number, "dead")

    def orders(self, key: Key, rows: Sequence[Row | None]) -> list[Order]:
        """See :class:`View`."""
        if key.does != "act":
            return super().orders(key, rows)
        return of_selected(key, self._dead, [(row.key, row.value.item.number) for row in rows if row is not None])

    def question(self, key: Key, orders: Sequence[Order]) -> str:
        """See :class:`View`."""
        return question_on(key, orders, kept=self._kept)


_STYLES = {
    "running": "ok", "undoing": "ok", "paused": "warn", "stopped": "bad", "failed": "bad", "cancelled": "dim",
    "done": "", "undone": "dim",
}  # fmt: skip

_CANCELLED = ("running", "paused", "stopped", "failed")


@dataclass(frozen=True, slots=True)
class _ShownBatch:
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
            shown = _ShownBatch(batch, snapshot.now)
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
            done = "" if batch is None else f": {cells.things(batch.done, 'letter')} at most come back"
            return f"Undo the batch on {where}{done}?"
        left = "" if batch is None or batch.left is None else f": {cells.things(batch.left, 'letter')} stay as they are"
        return f"Cancel the batch on {where}{left}?"


def _rate(rate: float) -> str:
    return cells.count(rate) if rate else "max"


def _verb(key: Key, batch: Batch) -> str | None:
    """What a key does to a batch in its state; None: nothing."""
    if key.key == "u":
        return "undo" if batch.can_undo else None
    if key.key == "K":
        return "cancel" if batch.state in _CANCELLED and not batch.is_back else None
    if batch.state == "running":
        return "pause"
    return "resume" if batch.state in ("paused", "stopped", "failed") and not batch.is_back else None
