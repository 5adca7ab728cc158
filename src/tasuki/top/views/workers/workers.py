"""The worker processes on all machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasuki.desk.acts.acts import Order
from tasuki.desk.reading.observed.gone import queue_in
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.state.worker_record import Presence
from tasuki.top.frame import amounts
from tasuki.top.frame.columns import Cell, Column
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
    lost_at: str = ""
    """A queue of a lost worker; empty: it gives signs."""

    @property
    def name(self) -> str:
        return f"{self.worker.host}:{self.worker.pid}"

    @property
    def up(self) -> float:
        return max(self.now - self.worker.started, 0.0)

    @property
    def consumers(self) -> str:
        more = f" and {self.worker.left_out} more" if self.worker.left_out else ""
        return ", ".join(consumer.id for consumer in self.worker.consumers) + more

    @property
    def is_problem(self) -> bool:
        return self.condition in ("silent", "not_live")

    @property
    def silent(self) -> float:
        return max(self.now - self.worker.seen, 0.0)

    @property
    def condition(self) -> str:
        return self.worker.condition(self.now)


_HEALTH: Mapping[str, tuple[str, str]] = {
    "ok": ("ok", "ok"),
    "warning": ("warning", "warn"),
    "not_ready": ("not ready", "warn"),
    "not_live": ("not live", "bad"),
    "silent": ("silent", "bad"),
    "unknown": ("", "dim"),
}
"""Condition of a worker → its word and style."""


def _run(seen: _Seen) -> str:
    return f"{seen.worker.running}/{seen.worker.concurrency}"


def _sign(seen: _Seen) -> str:
    return amounts.age(seen.silent) if seen.silent >= 1 else "now"


def _health(seen: _Seen) -> Cell:
    return _HEALTH.get(seen.condition, ("", "dim"))


def _row(seen: _Seen) -> Row:
    worker = seen.worker
    find = f"{worker.name} {' '.join(each.id for each in worker.consumers)}"
    return Row(worker.key, seen, find, seen.is_problem)


class WorkersView(View):
    """One row a process."""

    crumb = "Workers"
    opens = "what it runs"
    columns = (
        Column("name", "WORKER", style=lambda seen: "bold" if seen.is_problem else "", keep="end"),
        Column("up", "UP", 6, "age"),
        Column("run", "RUN", 7, "count", "worker.running", _run, lambda seen: "" if seen.worker.running else "dim"),
        Column("done", "DONE", 8, "count", "worker.done"),
        Column(
            "failed", "FAILED", 7, "count", "worker.failed", style=lambda seen: "bad" if seen.worker.failed else "dim"
        ),
        Column(
            "seen", "SEEN", 5, "age", "silent", _sign, lambda seen: "bad" if seen.worker.is_late(seen.now) else "dim"
        ),
        Column(
            "health",
            "HEALTH",
            9,
            of="condition",
            text=lambda seen: _health(seen)[0],
            style=lambda seen: _health(seen)[1],
        ),
        Column("version", "VERSION", 9, of="worker.version", style="dim", at_least=100),
        Column("consumers", "CONSUMERS", style="dim", at_least=70, share=2),
    )
    keys = (
        Key("a", "acknowledge", "the end of a silent worker is known; its row ends", "enter", True, "Acknowledge",
            "silent worker"),
    )  # fmt: skip

    async def read(self, reading: Viewer, snapshot: Snapshot) -> Table:
        """See :class:`View`."""
        names = reading.site.ids
        lost = [_Seen(worker, snapshot.now, queue_in(worker, names)) for worker in snapshot.lost]
        rows = [_row(seen) for seen in [*lost, *(_Seen(worker, snapshot.now) for worker in snapshot.workers)]]
        return Table(rows, _NONE if snapshot.knows_workers or not snapshot.queues else _UNKNOWN)

    def copied(self, row: Row | None) -> str:
        """See :class:`View`."""
        return "" if row is None else str(row.value.name)

    def enter(self, row: Row) -> View | None:
        """See :class:`View`."""
        return WorkerView(row.value.worker)

    def order(self, key: Key, row: Row | None) -> Order | None:
        """See :class:`View`."""
        if row is None or not row.value.lost_at:
            return None
        return Order("acknowledge", "queue", row.value.lost_at, row.value.worker.name)
