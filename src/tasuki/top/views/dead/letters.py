"""The dead letters of one group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasuki.desk.acts.acts import Order
from tasuki.desk.dead.items import Item
from tasuki.desk.dead.rows import count_of, of_group
from tasuki.desk.reading.bodies import line
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.top.frame import amounts
from tasuki.top.frame.columns import Cell, Column
from tasuki.top.frame.styles import Signs
from tasuki.top.views.ids import short_id
from tasuki.top.views.message import MessageView
from tasuki.top.views.questions import of_letters, of_one, of_selected, of_trial
from tasuki.top.views.view import EDIT, TRY, Key, Row, Table, View

if TYPE_CHECKING:
    from tasuki.desk.viewer import Viewer
    from tasuki.queues.queue import Queue


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
    def died_ago(self) -> float:
        at = self.item.letter.at
        return float("inf") if at is None else max(self.now - at, 0.0)


_SORTS: Mapping[str, Callable[[_Letter], Any]] = {
    "died": lambda letter: letter.died_ago,
    "tries": lambda letter: letter.item.letter.attempts or 0,
    "again": lambda letter: letter.item.letter.redriven,
    "id": lambda letter: letter.item.letter.id,
    "whole": lambda letter: letter.item.letter.id,
    "from": lambda letter: letter.item.letter.queue,
    "error": lambda letter: letter.item.letter.error,
    "body": lambda letter: letter.body,
}


class LettersView(View):
    """One row a letter, the newest death first."""

    opens = "message"
    period = 5.0
    columns = (
        Column("died", "DIED", 6, is_right=True),
        Column("tries", "FAILED", 6, is_right=True),
        Column("again", "RETRIED", 7, is_right=True, at_least=100),
        Column("id", "ID", 9, at_most=139),
        Column("whole", "ID", 36, at_least=140),
        Column("from", "FROM", at_least=110, keep="end"),
        Column("error", "ERROR", share=2),
        Column("body", "BODY", at_least=90, share=2),
    )
    keys = (
        Key("r", "retry", "send the letter back to the queue where it failed", is_for_many=True),
        EDIT,
        TRY,
        Key("D", "delete", "delete the letter", is_for_many=True),
    )

    def __init__(self, dead: str, by: str, key: str, what: str) -> None:
        self._dead, self._by, self._key, self._what = dead, by, key, what
        self._kept = True

    @property
    def crumb(self) -> str:
        """See :class:`View`."""
        return self._what

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
        note = amounts.things(count, "letter") + ("" if window.is_all else bound)
        return Table(rows, ("These letters have gone: they were sent back or deleted.",), note)

    def cells(self, row: Row, signs: Signs) -> Sequence[Cell]:
        """See :class:`View`."""
        shown: _Letter = row.value
        letter = shown.item.letter
        return [
            ("" if letter.at is None else amounts.age(shown.died_ago), ""),
            ("" if letter.attempts is None else f"{letter.attempts:,}", "dim"),
            (f"{shown.item.letter.redriven:,}" if shown.item.letter.redriven else "", "warn"),
            (short_id(letter.id), "dim"),
            (line(shown.item.name, 80), "dim"),
            (line(letter.queue), "dim"),
            (line(letter.error or letter.reason), "warn"),
            (shown.body, ""),
        ]

    def sorted_by(self, column: str, row: Row) -> Any:
        """See :class:`View`."""
        return _SORTS[column](row.value)

    def enter(self, row: Row) -> View | None:
        """See :class:`View`."""
        return MessageView(self._dead, row.key, row.value.item.number)

    def explain(self, row: Row | None) -> View | None:
        """See :class:`View`."""
        return None if row is None else MessageView(self._dead, row.key, row.value.item.number, is_about_why=True)

    def order(self, key: Key, row: Row | None) -> Order | None:
        """See :class:`View`."""
        if row is None:
            return None
        if key.does != "act":
            return of_one(key, self._dead, row.key, row.value.item.number, is_dead=True)
        return next(iter(self.orders(key, [row])), None)

    def orders(self, key: Key, rows: Sequence[Row | None]) -> list[Order]:
        """See :class:`View`."""
        if key.does != "act":
            return super().orders(key, rows)
        return of_selected(key, self._dead, [(row.key, row.value.item.number) for row in rows if row is not None])

    def question(self, key: Key, orders: Sequence[Order]) -> str:
        """See :class:`View`."""
        if key.does == "try":
            return of_trial(orders[0])
        (order,) = orders
        count = 1 if order.bulk is None else len(order.bulk.ids)
        return of_letters(key, count, [self._dead], kept=self._kept)
