"""The dead letters of one group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasuki.desk.acts.acts import Order
from tasuki.desk.dead.items import Item
from tasuki.desk.dead.rows import count_of, of_group
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.top.frame import amounts
from tasuki.top.frame.amounts import short_id
from tasuki.top.frame.columns import Column
from tasuki.top.views.message import MessageView
from tasuki.top.views.view import EDIT, TRY, Key, Row, Table, View, of_selected, order_on, question_on

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
        note = amounts.things(count, "letter") + ("" if window.is_all else bound)
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
