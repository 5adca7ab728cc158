"""The schedules: when they publish next, and when they did last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasuki.app.schedules.statuses import ScheduleStatus
from tasuki.desk.acts.acts import Order
from tasuki.desk.reading.records import schedules_of
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.top.frame import cells
from tasuki.top.frame.cells import Signs
from tasuki.top.frame.columns import Cell, Column
from tasuki.top.views.messages import MessagesView
from tasuki.top.views.view import Key, Row, Table, View

if TYPE_CHECKING:
    from tasuki.desk.viewer import Viewer

_EMPTY = ("No schedule is declared. In Python:", "", '    @app.every("30s", queue="ticks")',
          "    async def tick() -> None: ...")  # fmt: skip


@dataclass(frozen=True, slots=True)
class _ShownSchedule:
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
    def timing(self) -> str:
        return "" if self.status is None else self.status.timing

    @property
    def queue(self) -> str:
        return "" if self.status is None else self.status.queue

    @property
    def state(self) -> str:
        found = self.status
        if found is None:
            return "unknown"
        if not found.is_enabled:
            return "off"
        if found.pause is not None:
            return "paused"
        return "late" if found.is_late else "on" if found.is_known else "not seen"

    @property
    def style(self) -> str:
        return {"paused": "warn", "late": "bad", "on": "ok"}.get(self.state, "dim")


class SchedulesView(View):
    """One row a schedule."""

    crumb = "Schedules"
    opens = "its queue"
    period = 5.0
    columns = (
        Column("id", "SCHEDULE", style=lambda shown: "dim" if shown.style == "dim" else "", keep="end", share=3),
        Column("next_in", "NEXT", 9, "age", text=lambda shown: _in(shown.next_in)),
        Column("last_ago", "LAST", 8, "age", style="dim"),
        Column("state", "STATE", 8, style=lambda shown: shown.style),
        Column("timing", "WHEN", 24, at_least=70),
        Column("queue", "QUEUE", style="dim", at_least=100, keep="end", share=2),
    )
    keys = (
        Key("p", "pause", "pause the schedule; a paused one goes on", "", True, "Pause", "schedule"),
        Key("n", "run now", "publish its message now", "enter", True, "Publish now the message of", "schedule"),
    )

    async def read(self, reading: Viewer, snapshot: Snapshot) -> Table:
        """See :class:`View`."""
        found, _ = await schedules_of(reading.site)
        rows = [
            Row(
                id,
                shown := _ShownSchedule(id, found.get(id), snapshot.now),
                f"{id} {config.queue}",
                shown.state == "late",
            )
            for id, config in sorted(reading.site.project.of(ScheduleConfig).items())
        ]
        return Table(rows, _EMPTY)

    def mark(self, row: Row, signs: Signs) -> Cell:
        """See :class:`View`."""
        return (signs.paused, "warn") if row.value.state == "paused" else super().mark(row, signs)

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


def _in(seconds: float | None) -> str:
    return "" if seconds is None else f"in {cells.age(seconds)}"
