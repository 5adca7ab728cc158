"""Dead letters in groups of one cause, over all dead-letter queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasuki.desk.acts.acts import Order
from tasuki.desk.acts.bulk import Bulk
from tasuki.desk.dead.rows import GroupRow, unread_of
from tasuki.desk.dead.windows import NEWEST, Window
from tasuki.desk.reading.bodies import line
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.queues.dead.groups import KEYS
from tasuki.top.frame import amounts
from tasuki.top.frame.columns import Column
from tasuki.top.views.dead.letters import LettersView
from tasuki.top.views.view import Key, Row, Table, View, of_letters

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
    def error(self) -> str:
        """What it says, behind the key of a group of another kind."""
        if self.row.is_rest:
            return "all other groups"
        is_own = self.by in ("cause", "type")
        return self.what if is_own else f"{line(self.row.group.key) or amounts.count(None)}: {self.what}"

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
