"""The worker processes on all machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasuki.desk.reading.bodies import line
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.state.presence import Presence
from tasuki.top.frame import amounts
from tasuki.top.frame.columns import Cell, Column
from tasuki.top.frame.styles import Signs
from tasuki.top.views.view import Row, Table, View
from tasuki.top.views.workers.worker import WorkerView

if TYPE_CHECKING:
    from tasuki.top.reading import Reading

_NONE = ("No worker is alive. Start one: tasuki run",)
_UNKNOWN = (
    "The workers are not known: no queue of this project has a store for their signs.",
    "Give its driver or the queue a store (state: …).",
)


@dataclass(frozen=True, slots=True)
class _Seen:
    worker: Presence
    now: float

    @property
    def silent(self) -> float:
        return max(self.now - self.worker.seen, 0.0)

    @property
    def places(self) -> int:
        return self.worker.concurrency


_SORTS: Mapping[str, Callable[[_Seen], Any]] = {
    "worker": lambda seen: (seen.worker.host, seen.worker.pid),
    "up": lambda seen: seen.now - seen.worker.started,
    "run": lambda seen: seen.worker.running,
    "done": lambda seen: seen.worker.done,
    "failed": lambda seen: seen.worker.failed,
    "seen": lambda seen: seen.silent,
    "health": lambda seen: seen.worker.condition(seen.now),
    "version": lambda seen: seen.worker.version,
    "consumers": lambda seen: len(seen.worker.consumers),
}


_HEALTH: Mapping[str, tuple[str, str]] = {
    "ok": ("ok", "ok"),
    "warning": ("warning", "warn"),
    "not_ready": ("not ready", "warn"),
    "not_live": ("not live", "bad"),
    "silent": ("silent", "bad"),
    "unknown": ("", "dim"),
}
"""Condition of a worker → its word and style."""


def _health(worker: Presence, now: float) -> Cell:
    return _HEALTH.get(worker.condition(now), ("", "dim"))


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

    async def read(self, reading: Reading, snapshot: Snapshot) -> Table:
        """See :class:`View`."""
        rows = [
            Row(
                worker.key,
                _Seen(worker, snapshot.now),
                f"{worker.host}:{worker.pid} {' '.join(each.id for each in worker.consumers)}",
                worker.condition(snapshot.now) in ("silent", "not_live"),
            )
            for worker in snapshot.workers
        ]
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
            (f"{worker.running}/{seen.places}", "" if worker.running else "dim"),
            (amounts.count(worker.done), ""),
            (amounts.count(worker.failed), "bad" if worker.failed else "dim"),
            (amounts.age(seen.silent) if seen.silent >= 1 else "now", "bad" if worker.is_late(seen.now) else "dim"),
            _health(worker, seen.now),
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
