"""What needs attention: rules over a snapshot; no I/O.

Pages, API, ``top`` and MCP ask here, so that none of them is quiet about what another one shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tasuki.desk.reading.snapshot import QueueRow, Snapshot
from tasuki.observe.history import MINUTE, Process
from tasuki.state.worker_record import Presence, worker_id

_PATIENCE = 2 * MINUTE
"""Seconds after its last minute for which a worker without a sign may just write late."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A worker that is not there any more; ``last``: Unix time of its last sign, or last minute with messages."""

    host: str
    pid: int
    last: float
    is_stopped: bool
    """Whether it closed in order; else it was killed, is frozen, or is cut off from the store."""
    key: str = ""
    """Of its entry, which is there until it is acknowledged, or for 15 minutes; empty: there is none."""


def lost_of(silent: Iterable[Presence], workers: Iterable[Presence], processes: Iterable[Process]) -> list[Presence]:
    """The workers with an entry and no sign: killed, frozen or cut off from the store; the last one first.

    Without the ones that give signs in another store, or whose history says that they stopped: their entry stayed as
    the store was unavailable just then.
    """
    present = list(workers)
    ends = {(each.host, each.pid): each.last for each in processes if each.has_ended}
    found = [
        worker
        for worker in silent
        if not any(map(worker.is_process, present))
        and ends.get((worker.host, worker.pid), 0) < int(worker.seen // MINUTE)
    ]
    return sorted(found, key=lambda worker: (-worker.seen, worker.host, worker.pid))


def queue_in(worker: Presence, ids: Mapping[tuple[str, str], str]) -> str:
    """The first queue of the project that it consumes; empty: none. ``ids``: by driver and name at the broker."""
    return next((id for each in worker.consumers if (id := ids.get((each.driver, each.queue)))), "")


def gone_of(
    processes: Iterable[Process], workers: Iterable[Presence], now: float, lost: Sequence[Presence] = ()
) -> list[Gone]:
    """The workers that are known to have gone, the last one first."""
    present = {(worker.host, worker.pid) for worker in [*workers, *lost]}
    found = [
        Gone(each.host, each.pid, min((each.last + 1) * MINUTE, now), each.has_ended)
        for each in processes
        if each.consumes and (each.host, each.pid) not in present
    ]
    certain = [each for each in found if each.is_stopped or now - each.last > _PATIENCE - MINUTE]
    certain += [Gone(worker.host, worker.pid, worker.seen, False, worker.key) for worker in lost]
    return sorted(certain, key=lambda each: (-each.last, each.host, each.pid))


OLD = 300.0
"""Seconds after which the oldest ready message has waited too long."""

LONG_PAUSE = 86400.0


@dataclass(frozen=True, slots=True)
class AttentionNotice:
    """One thing: ``key`` of its text, the values in it, and the page that shows it."""

    key: str
    values: dict[str, Any]
    path: tuple[str, ...]


def notices_of(snapshot: Snapshot) -> list[AttentionNotice]:
    """All of them, the worst first."""
    found = of_workers(snapshot)
    for row in snapshot.queues.values():
        found += _of_queue(row, snapshot.now)
    return found


def of_workers(snapshot: Snapshot) -> list[AttentionNotice]:
    """The ones about what cannot be read, and about workers: they are of no queue, so no row can show them."""
    found = [AttentionNotice("attention.problem", {"text": text}, ("queues",)) for text in snapshot.problems]
    if snapshot.age:
        found.append(AttentionNotice("attention.stale", {"age": snapshot.age}, ("queues",)))
    found += _of_all_workers(snapshot)
    for worker in snapshot.workers:
        found += _of_worker(worker, snapshot.now)
    return found


def _of_all_workers(snapshot: Snapshot) -> list[AttentionNotice]:
    """That none gives a sign, and which are lost."""
    found = []
    wanting = [row for row in snapshot.queues.values() if row.wants_workers and row.knows_workers]
    if wanting and all(row.workers == 0 for row in wanting) and not snapshot.hides:
        found.append(AttentionNotice("attention.none_alive", {}, ("workers",)))
    if snapshot.lost:
        last = snapshot.lost[0]
        values = {"n": len(snapshot.lost), "worker": last.name, "age": snapshot.now - last.seen}
        found.append(AttentionNotice("attention.lost", values, ("workers",)))
    return found


def _of_worker(worker: Presence, now: float) -> list[AttentionNotice]:
    path = ("workers", worker_id(worker.key))
    if worker.is_late(now):
        return [AttentionNotice("attention.silent", {"worker": worker.name, "age": now - worker.seen}, path)]
    health = worker.health
    if health is None or health.status not in ("not_live", "not_ready"):
        return []
    if (health.status, health.check) == ("not_ready", "worker"):  # it starts or stops, and is no trouble
        return []
    return [AttentionNotice(f"attention.{health.status}", {"worker": worker.name, "why": worker.trouble}, path)]


_FAILURES = frozenset({"attention.problem", "attention.stale", "attention.none_alive", "attention.not_live"})


def is_failed(notices: Iterable[AttentionNotice]) -> bool:
    """Whether one of them says that messages do not move somewhere; the others are warnings."""
    return any(notice.key in _FAILURES for notice in notices)


@lru_cache(maxsize=2)
def in_trouble(snapshot: Snapshot) -> frozenset[str]:
    """The ids of the queues that are named in the notices."""
    rows = snapshot.queues.values()
    return frozenset(row.id for row in rows if row.problem or _of_queue(row, snapshot.now))


def _of_queue(row: QueueRow, now: float) -> list[AttentionNotice]:
    if row.is_dead_letters:
        return _dead(row)
    return [*_of_running(row), *_of_waiting(row, now)]


def _of_waiting(row: QueueRow, now: float) -> list[AttentionNotice]:
    path = ("queues", row.id)
    if row.paused is not None:
        is_long = now - row.paused.at > LONG_PAUSE
        return (
            [AttentionNotice("attention.long_pause", {"queue": row.id, "age": now - row.paused.at}, path)]
            if is_long
            else []
        )
    if row.consumers and row.workers == 0 and (waiting := row.waiting):
        return [AttentionNotice("attention.no_worker", {"queue": row.id, "n": waiting}, path)]
    if row.now_failed and not row.now_out:
        return [AttentionNotice("attention.failing", {"queue": row.id, "rate": row.now_failed}, path)]
    if (age := row.oldest_age or 0.0) > OLD:
        return [AttentionNotice("attention.old", {"queue": row.id, "age": age, "limit": OLD}, path)]
    return []


def _of_running(row: QueueRow) -> list[AttentionNotice]:
    """The handler that runs longest of the ones that have run for too long; the workers say which."""
    long = [each for each in row.handlers if each.message.bound]
    if not long:
        return []
    values = {
        "queue": row.id, "function": long[0].message.function, "n": len(long), "age": long[0].ran,
        "limit": long[0].message.bound,
    }  # fmt: skip
    return [AttentionNotice("attention.long_run", values, ("messages", row.id, long[0].message.id))]


def _dead(row: QueueRow) -> list[AttentionNotice]:
    number = row.waiting
    return [AttentionNotice("attention.dead", {"queue": row.id, "n": number}, ("dead", row.id))] if number else []
