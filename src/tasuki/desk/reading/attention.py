"""What needs attention: rules over a snapshot; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tasuki.desk.reading.snapshot import QueueRow, Snapshot

OLD = 300.0
"""Seconds after which the oldest ready message has waited too long."""
LONG_PAUSE = 86400.0


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing: ``key`` of its text, the values in it, and the page that shows it."""

    key: str
    values: dict[str, Any]
    path: tuple[str, ...]


def notices_of(snapshot: Snapshot) -> list[Notice]:
    """All of them, the worst first."""
    found = [Notice("attention.problem", {"text": text}, ("queues",)) for text in snapshot.problems]
    for row in snapshot.queues.values():
        found += _of_queue(row, snapshot.now)
    for worker in snapshot.workers:
        if worker.is_late(snapshot.now):
            values = {"worker": f"{worker.host}:{worker.pid}", "age": snapshot.now - worker.seen}
            found.append(Notice("attention.silent", values, ("workers",)))
    return found


@lru_cache(maxsize=2)
def in_trouble(snapshot: Snapshot) -> frozenset[str]:
    """The ids of the queues that are named in the notices."""
    rows = snapshot.queues.values()
    return frozenset(row.id for row in rows if row.problem or _of_queue(row, snapshot.now))


def _of_queue(row: QueueRow, now: float) -> list[Notice]:
    if row.is_dead_letters:
        return _dead(row)
    path = ("queues", row.id)
    if row.pause is not None:
        is_long = now - row.pause.at > LONG_PAUSE
        return [Notice("attention.long_pause", {"queue": row.id, "age": now - row.pause.at}, path)] if is_long else []
    if row.consumers and row.ready and row.workers == 0:
        return [Notice("attention.no_worker", {"queue": row.id, "n": row.ready}, path)]
    if row.now_failed and not row.now_out:
        return [Notice("attention.failing", {"queue": row.id, "rate": row.now_failed}, path)]
    if row.oldest > OLD:
        return [Notice("attention.old", {"queue": row.id, "age": row.oldest, "limit": OLD}, path)]
    return []


def _dead(row: QueueRow) -> list[Notice]:
    number = row.waiting
    return [Notice("attention.dead", {"queue": row.id, "n": number}, ("dead", row.id))] if number else []
