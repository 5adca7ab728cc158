"""The worker processes on all machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasuki.desk.acts.acts import Order
from tasuki.desk.reading.bodies import line
from tasuki.desk.reading.observed.gone import queue_in
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.state.presence import Presence
from tasuki.top.frame import amounts
from tasuki.top.frame.columns import Cell, Column
from tasuki.top.frame.styles import Signs
from tasuki.top.views.questions import of_many
from tasuki.top.views.view import Key, Row, Table, View
from tasuki.top.views.workers.worker import WorkerView

if TYPE_CHECKING:
    from tasuki.desk.viewer import Viewer

_NONE = ("No worker is alive. Start one: tasuki run",)
_UNKNOWN = (
    "The workers are not known: no queue of this project has a store for their signs.",
    "Give its driver or the queue a store (state: …).",
)


@dataclass(frozen=True, slots=True)
class _Seen:
    worker: Presence
    now: float
    killed_at: str = ""
    """A queue of a killed worker; empty: it lives."""

    @property
    def silent(self) -> float:
        return max(self.now - self.worker.seen, 0.0)

    @property
    def condition(self) -> str:
        return "killed" if self.killed_at else self.worker.condition(self.now)


_SORTS: Mapping[str, Callable[[_Seen], Any]] = {
    "worker": lambda seen: (seen.worker.host, seen.worker.pid),
    "up": lambda seen: seen.now - seen.worker.started,
    "run": lambda seen: seen.worker.running,
    "done": lambda seen: seen.worker.done,
    "failed": lambda seen: seen.worker.failed,
    "seen": lambda seen: seen.silent,
    "health": lambda seen: seen.condition,
    "version": lambda seen: seen.worker.version,
    "consumers": lambda seen: len(seen.worker.consumers),
}


_HEALTH: Mapping[str, tuple[str, str]] = {
    "ok": ("ok", "ok"),
    "warning": ("warning", "warn"),
    "not_ready": ("not ready", "warn"),
    "not_live": ("not live", "bad"),
    "silent": ("silent", "bad"),
    "killed": ("killed", "bad"),
    "unknown": ("", "dim"),
}
"""Condition of a worker → its word and style."""


def _row(seen: _Seen) -> Row:
    worker = seen.worker
    find = f"{worker.name} {' '.join(each.id for each in worker.consumers)}"
    return Row(worker.key, seen, find, seen.condition in ("silent", "not_live", "killed"))


class WorkersView(View):
    """One row a process."""

    title = "Workers"
    opens = "what it runs"
    columns = (
        Column("worker", "WORKER", keep="end"),
        Column("up", "UP", 6, is_right=True),
        Column("run", "RUN", 7, is_right=True),
        Column("done", "DONE", 8, is_right=True),
        Column("failed", "FAILED", 7, is_right=True),
        Column("seen", "SEEN", 5, is_right=True),
        Column("health", "HEALTH", 9),
        Column("version", "VERSION", 9, at_least=100),
        Column("consumers", "CONSUMERS", at_least=70, share=2),
    )

    keys = (Key("a", "acknowledge", "a killed worker is known to be gone; its row ends", is_for_many=True),)

    async def read(self, reading: Viewer, snapshot: Snapshot) -> Table:
        """See :class:`View`."""
        queues = reading.site.live.queues
        names = {(queue.driver.name, queue.spec.name): id for id, queue in queues.items()}
        killed = [_Seen(worker, snapshot.now, queue_in(worker, names)) for worker in snapshot.killed]
        rows = [_row(seen) for seen in [*killed, *(_Seen(worker, snapshot.now) for worker in snapshot.workers)]]
        return Table(rows, _NONE if snapshot.knows_workers or not snapshot.queues else _UNKNOWN)

    def cells(self, row: Row, signs: Signs) -> Sequence[Cell]:
        """See :class:`View`."""
        seen: _Seen = row.value
        worker = seen.worker
        names = ", ".join(consumer.id for consumer in worker.consumers)
        if worker.left_out:
            names += f" and {worker.left_out} more"
        return [
            (line(f"{worker.host}:{worker.pid}"), "bold" if row.is_problem else ""),
            (amounts.age(max(seen.now - worker.started, 0.0)), ""),
            (f"{worker.running}/{worker.concurrency}", "" if worker.running else "dim"),
            (amounts.count(worker.done), ""),
            (amounts.count(worker.failed), "bad" if worker.failed else "dim"),
            (amounts.age(seen.silent) if seen.silent >= 1 else "now", "bad" if worker.is_late(seen.now) else "dim"),
            _HEALTH.get(seen.condition, ("", "dim")),
            (line(worker.version, 30), "dim"),
            (line(names), "dim"),
        ]

    def sorted_by(self, column: str, row: Row) -> Any:
        """See :class:`View`."""
        return _SORTS[column](row.value)

    def copied(self, row: Row | None) -> str:
        """See :class:`View`."""
        return "" if row is None else f"{row.value.worker.host}:{row.value.worker.pid}"

    def enter(self, row: Row) -> View | None:
        """See :class:`View`."""
        return WorkerView(row.value.worker)

    def order(self, key: Key, row: Row | None) -> Order | None:
        """See :class:`View`."""
        if row is None or not row.value.killed_at:
            return None
        return Order("acknowledge", "queue", row.value.killed_at, row.value.worker.name)

    def question(self, key: Key, orders: Sequence[Order]) -> str:
        """See :class:`View`."""
        return of_many("Acknowledge", orders, "killed worker")
