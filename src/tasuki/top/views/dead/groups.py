"""Dead letters in groups of one cause, over all dead-letter queues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasuki.desk.acts.acts import Order
from tasuki.desk.acts.bulk import Bulk
from tasuki.desk.dead.rows import GroupRow, unread_of
from tasuki.desk.dead.windows import NEWEST, Window
from tasuki.desk.reading.bodies import line
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.queues.dead.groups import KEYS, OTHER
from tasuki.top.frame import amounts
from tasuki.top.frame.columns import Cell, Column
from tasuki.top.frame.styles import Signs
from tasuki.top.views.dead.letters import LettersView
from tasuki.top.views.questions import of_letters
from tasuki.top.views.view import Key, Row, Table, View

if TYPE_CHECKING:
    from tasuki.desk.viewer import Viewer

_NONE = "No dead letters. Messages that fail too often, or are rejected, would be here."
_NO_QUEUE = ("No queue has a dead-letter queue. In Python:", "",
             '    app.queue("mails", dead_letter={"queue": "mails.dead", "max_attempts": 5})')  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Group:
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
    def last_ago(self) -> float:
        last = self.row.group.last
        return float("inf") if last is None else max(self.now - last, 0.0)

    @property
    def first_ago(self) -> float:
        first = self.row.group.first
        return float("inf") if first is None else max(self.now - first, 0.0)


_SORTS: Mapping[str, Callable[[_Group], Any]] = {
    "count": lambda group: group.row.group.count,
    "trend": lambda group: group.row.trend[::-1],
    "last": lambda group: group.last_ago,
    "first": lambda group: group.first_ago,
    "what": lambda group: group.what,
    "place": lambda group: group.row.group.place,
    "queue": lambda group: group.row.dead,
}


class DeadView(View):
    """One row a group and dead-letter queue."""

    title = "Dead"
    opens = "letters"
    period = 5.0
    columns = (
        Column("count", "COUNT", 6, is_right=True),
        Column("trend", "LAST HOUR", 12, at_least=100),
        Column("last", "LAST", 6, is_right=True),
        Column("first", "FIRST", 6, is_right=True, at_least=110),
        Column("what", "ERROR", share=3),
        Column("place", "PLACE", at_least=70, keep="end"),
        Column("queue", "QUEUE", at_least=90, keep="end"),
    )

    keys = (
        Key("r", "retry", "send the letters of a group back to the queues where they failed", is_for_many=True),
        Key("D", "delete", "delete the letters of a group", is_for_many=True),
    )

    def __init__(self) -> None:
        self._by = "cause"
        self._groups: Mapping[tuple[str, str, str | None], _Group] = {}

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
        found = [_Group(row, snapshot.now, by, row.dead in whole, row.dead in kept) for row in groups]
        self._groups = {(each.row.dead, by, each.row.group.key): each for each in found}
        rows = [Row(f"{each.row.dead} {each.row.group.key}", each, _find(each.row)) for each in found]
        empty = [*([] if unseen else [_NONE]), *(f"{id}: {why}" for id, why in unseen.items())]
        return Table(rows, empty, self._note(windows, unread_of(snapshot, unseen), len(rows)))

    def _note(self, windows: Sequence[Window], unread: int, groups: int) -> str:
        read = sum(window.count for window in windows)
        bound = "" if all(window.is_all for window in windows) else f" of the newest {NEWEST:,} a queue"
        hidden = f"; {amounts.things(unread, 'letter')} more that cannot be shown" if unread else ""
        return f"{amounts.things(read, 'letter')}, {groups:,} by {self._by}{bound}{hidden}"

    def cells(self, row: Row, signs: Signs) -> Sequence[Cell]:
        """See :class:`View`."""
        shown: _Group = row.value
        group = shown.row.group
        what = shown.what if shown.by in ("cause", "type") else f"{line(group.key) or signs.none}: {shown.what}"
        return [
            (amounts.count(group.count), "bold"),
            (amounts.spark(shown.row.trend, 12, signs.bars), "fall"),
            ("" if group.last is None else amounts.age(shown.last_ago), ""),
            ("" if group.first is None else amounts.age(shown.first_ago), "dim"),
            ("all other groups" if group.key == OTHER else what, "warn"),
            (line(group.place), "dim"),
            (shown.row.dead, "dim"),
        ]

    def sorted_by(self, column: str, row: Row) -> Any:
        """See :class:`View`."""
        return _SORTS[column](row.value)

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

    def _ordered(self, orders: Sequence[Order]) -> list[_Group]:
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
