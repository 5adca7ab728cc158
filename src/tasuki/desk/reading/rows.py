"""Rows: one queue of a snapshot, put together from counts, workers, pauses and the project; no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from tasuki.app.state.pausing import Target
from tasuki.desk.reading.counts import Counts
from tasuki.desk.reading.observed.past import QueuePast
from tasuki.desk.reading.snapshot import ConsumerRow, QueueRow, RunningRow
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.observe.history import MINUTE
from tasuki.queues.policy import limit_facts, limit_text
from tasuki.queues.queue import Queue
from tasuki.state.worker_record import PERIOD, Presence, PresentConsumer


@dataclass(frozen=True, slots=True)
class Facts:
    """What all rows of a snapshot need, found once."""

    dead_letters: Mapping[str, str]
    """Queue → its dead-letter queue."""
    declared: Mapping[str, Sequence[str]]
    """Queue → its consumers, as the project declares them."""
    starting: Set[str]
    """The queues of which a consumer starts with a worker."""
    present: Mapping[tuple[str, str], Sequence[tuple[Presence, PresentConsumer]]]
    """Driver and queue at the broker → who works there."""
    with_store: Set[str]
    """The queues whose workers a store reports."""
    hides: bool
    """Whether a worker has consumers that it does not list."""

    @classmethod
    def of(cls, project: Project, workers: Sequence[Presence], with_store: Set[str]) -> Facts:
        """The facts of a project, its workers, and the queues with a store."""
        queues = project.of(QueueConfig)
        dead = {id: config.dead_letter.queue for id, config in queues.items() if config.dead_letter is not None}
        declared: dict[str, list[str]] = {}
        consumers = project.of(ConsumerConfig)
        for id, config in consumers.items():
            declared.setdefault(config.queue, []).append(id)
        starting = {config.queue for config in consumers.values() if config.lifecycle.auto_start}
        present: dict[tuple[str, str], list[tuple[Presence, PresentConsumer]]] = {}
        for worker in workers:
            for consumer in worker.consumers:
                present.setdefault((consumer.driver, consumer.queue), []).append((worker, consumer))
        return cls(dead, declared, starting, present, with_store, any(worker.unlisted.consumers for worker in workers))

    def may_hide(self, id: str, listed: Sequence[tuple[Presence, PresentConsumer]]) -> bool:
        """Whether a worker may have consumers of this queue that it does not list."""
        return self.hides and not {consumer.id for _, consumer in listed}.issuperset(self.declared.get(id, ()))

    def with_dead(self, rows: dict[str, QueueRow]) -> dict[str, QueueRow]:
        """The rows, each with the number of messages in its dead-letter queue."""
        targets = set(self.dead_letters.values())
        found = {}
        for id, row in rows.items():
            if id not in targets and id not in self.dead_letters:
                found[id] = row
                continue
            dead = rows.get(self.dead_letters.get(id, ""))
            is_known = dead is not None and dead.depth is not None
            number = dead.waiting if dead is not None and is_known else None
            found[id] = replace(row, dead=number, is_dead_letters=id in targets)
        return found


def _tags(queue: Queue) -> list[str]:
    """What stands behind the name of a queue: its rules for which message runs when."""
    limit = limit_facts(queue.spec, queue.policy)
    return [
        *([f"limit {limit_text(limit['limit'])}"] if "limit" in limit else []),
        *(["fair"] if "fair" in limit else []),
        *(["ordered"] if queue.spec.ordering == "key" else []),
    ]


def row_of(
    id: str,
    queue: Queue,
    facts: Facts,
    seen: Counts | None,
    rates: Rates,
    problem: str,
    past: QueuePast | None = None,
    *,
    knows_past: bool = False,
    ends: float | None = None,
    is_doubtful: bool = False,
) -> QueueRow:
    """The row of a queue; ``seen``: what its app has counted, None: nothing, for this ``problem``.

    ``knows_past``: whether its last hour was read, up to the time ``ends``; ``is_doubtful``: whether living workers may
    not have given a sign yet.
    """
    name, driver = queue.spec.name, queue.driver.name
    is_private, has_store = not queue.driver.capabilities.multi_process, id in facts.with_store
    present = facts.present.get((driver, name), ())
    may_hide = facts.may_hide(id, present)
    done, failed = rates.of(driver, name) if present and not may_hide else (None, None)
    return QueueRow(
        id=id,
        driver=driver,
        depth=None if seen is None else seen.depths.get(id),
        problem=problem or ("" if seen is None else seen.problems.get(id, "")),
        is_missing=seen is not None and id in seen.missing,
        paused=None if seen is None else seen.orders.pauses.get(Target("queue", id)),
        consumers=_consumers(facts.declared.get(id, ()), present, seen),
        handlers=_running(present),
        now_out=done,
        now_failed=failed,
        dead_letters=facts.dead_letters.get(id, ""),
        tags=_tags(queue),
        knows_workers=seen is not None
        and id in seen.asked
        and (is_private or has_store)
        and not may_hide
        and not (is_doubtful and not present),
        wants_workers=id in facts.starting,
        past=past,
        knows_past=knows_past and (ends is None or not _began_since(present, ends - MINUTE)),
    )


def _began_since(present: Sequence[tuple[Presence, PresentConsumer]], at: float) -> bool:
    """Whether all its workers began after this time, so that no whole minute of theirs is written yet."""
    return bool(present) and all(worker.started > at for worker, _ in present)


def _consumers(
    declared: Sequence[str], present: Sequence[tuple[Presence, PresentConsumer]], seen: Counts | None
) -> list[ConsumerRow]:
    rows = []
    for id in dict.fromkeys([*declared, *(consumer.id for _, consumer in present)]):
        own = [consumer for _, consumer in present if consumer.id == id]
        rows.append(
            ConsumerRow(
                id=id,
                processes=len(own),
                concurrency=sum(consumer.concurrency for consumer in own),
                running=sum(consumer.running for consumer in own),
                done=sum(consumer.done for consumer in own),
                failed=sum(consumer.failed for consumer in own),
                paused=None if seen is None else seen.orders.pauses.get(Target("consumer", id)),
                scale=None if seen is None else seen.orders.scales.get(id),
            )
        )
    return rows


def _running(present: Sequence[tuple[Presence, PresentConsumer]]) -> list[RunningRow]:
    rows = [
        RunningRow(message, consumer.id, worker.host, worker.pid, worker.key, worker.seen)
        for worker, consumer in present
        for message in consumer.messages
    ]
    return sorted(rows, key=lambda row: row.message.since)


_Key = tuple[str, str, str]
"""Worker, driver, queue at the broker."""
_Counts = dict[_Key, tuple[float, int, int]]
"""By the time of the worker's sign: messages done, and failures."""


class Rates:
    """A worker renews its counters with each sign: its gain is over the time between two signs, not two snapshots."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, _Counts]] = []

    def note(self, workers: Sequence[Presence], at: float) -> None:
        """Keep the counters of a snapshot taken at this time (monotonic)."""
        counts: _Counts = {}
        for worker in workers:
            for consumer in worker.consumers:
                key = (worker.key, consumer.driver, consumer.queue)
                _, done, failed = counts.get(key, (0.0, 0, 0))
                counts[key] = (worker.seen, done + consumer.done, failed + consumer.failed)
        self._samples = [(when, each) for when, each in self._samples if at - when < 4 * PERIOD]
        self._samples.append((at, counts))

    def of(self, driver: str, queue: str) -> tuple[float | None, float | None]:
        """Messages done, and failures, a second, of a queue at its broker; None: not known yet."""
        (first, before), (last, now) = self._samples[0], self._samples[-1]
        if last - first < PERIOD:
            return None, None
        done = failed = 0.0
        for key, (seen, is_done, has_failed) in now.items():
            if key[1:] != (driver, queue) or key not in before:
                continue
            since, was_done, had_failed = before[key]
            if seen > since:
                done += max(is_done - was_done, 0) / (seen - since)
                failed += max(has_failed - had_failed, 0) / (seen - since)
            elif last - first < 2 * PERIOD:  # its next sign may come yet; after that time nothing has changed
                return None, None
        return done, failed
