"""The schedules: when they publish next, and when they did last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasuki.app.schedules.status import ScheduleStatus
from tasuki.app.schedules.statuses import statuses_seen
from tasuki.desk.acts.acts import Order
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.top.frame import amounts
from tasuki.top.frame.columns import Cell, Column
from tasuki.top.frame.styles import Signs
from tasuki.top.views.messages import MessagesView
from tasuki.top.views.questions import of_many
from tasuki.top.views.view import Key, Row, Table, View

if TYPE_CHECKING:
    from tasuki.desk.viewer import Viewer

_EMPTY = ("No schedule is declared. In Python:", "", '    @app.every("30s", queue="ticks")',
          "    async def tick() -> None: ...")  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Shown:
    id: str
    status: ScheduleStatus | None
    """None: its store cannot be read from here."""
    now: float

    @property
    def next_in(self) -> float | None:
        found = self.status
        return None if found is None or found.next is None or found.pause is not None \
            else max(found.next.timestamp() - self.now, 0.0)  # fmt: skip

    @property
    def last_ago(self) -> float | None:
        found = self.status
        return None if found is None or found.last is None else max(self.now - found.last.timestamp(), 0.0)

    @property
    def state(self) -> Cell:
        found = self.status
        if found is None:
            return "unknown", "dim"
        if not found.is_enabled:
            return "off", "dim"
        if found.pause is not None:
            return "paused", "warn"
        if found.is_late:
            return "late", "bad"
        return ("on", "ok") if found.is_known else ("not seen", "dim")


class SchedulesView(View):
    """One row a schedule."""

    title = "Schedules"
    opens = "its queue"
    period = 5.0
    columns = (
        Column("schedule", "SCHEDULE", keep="end", share=3),
        Column("next", "NEXT", 9, is_right=True),
        Column("last", "LAST", 8, is_right=True),
        Column("state", "STATE", 8),
        Column("timing", "WHEN", 24, at_least=70),
        Column("queue", "QUEUE", at_least=100, keep="end", share=2),
    )
    keys = (
        Key("p", "pause", "pause the schedule; a paused one goes on", asks="", is_for_many=True),
        Key("n", "run now", "publish its message now", is_for_many=True),
    )

    async def read(self, reading: Viewer, snapshot: Snapshot) -> Table:
        """See :class:`View`."""
        found: dict[str, ScheduleStatus] = {}
        for app, ids in reading.site.parts():
            seen = await reading.site.on(app, statuses_seen)
            found |= {status.id: status for status in seen.statuses if status.queue in ids}
        rows = [
            Row(id, shown := _Shown(id, found.get(id), snapshot.now), f"{id} {config.queue}", shown.state[1] == "bad")
            for id, config in sorted(reading.site.project.of(ScheduleConfig).items())
        ]
        return Table(rows, _EMPTY)

    def mark(self, row: Row, signs: Signs) -> Cell:
        """See :class:`View`."""
        return (signs.paused, "warn") if row.value.state[0] == "paused" else super().mark(row, signs)

    def cells(self, row: Row, signs: Signs) -> Sequence[Cell]:
        """See :class:`View`."""
        shown: _Shown = row.value
        status = shown.status
        next_in = "" if shown.next_in is None else f"in {amounts.age(shown.next_in)}"
        return [
            (shown.id, "dim" if shown.state[1] == "dim" else ""),
            (next_in, ""),
            ("" if shown.last_ago is None else amounts.age(shown.last_ago), "dim"),
            shown.state,
            ("" if status is None else status.timing, ""),
            ("" if status is None else status.queue, "dim"),
        ]

    def sorted_by(self, column: str, row: Row) -> Any:
        """See :class:`View`."""
        shown: _Shown = row.value
        if column == "next":
            return float("inf") if shown.next_in is None else shown.next_in
        if column == "last":
            return float("inf") if shown.last_ago is None else shown.last_ago
        status = shown.status
        texts = {"schedule": shown.id, "state": shown.state[0]}
        if status is not None:
            texts |= {"timing": status.timing, "queue": status.queue}
        return texts.get(column, "")

    def enter(self, row: Row) -> View | None:
        """See :class:`View`."""
        return None if row.value.status is None else MessagesView(row.value.status.queue)

    def order(self, key: Key, row: Row | None) -> Order | None:
        """See :class:`View`."""
        if row is None or (status := row.value.status) is None:
            return None
        if key.key == "n":
            return Order("run", "schedule", row.key)
        return Order("pause" if status.pause is None else "resume", "schedule", row.key)

    def question(self, key: Key, orders: Sequence[Order]) -> str:
        """See :class:`View`."""
        return of_many("Publish now the message of" if key.key == "n" else "Pause", orders, "schedule")
