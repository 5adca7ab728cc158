"""Rows: count the queues of an app, and make each row of a snapshot from counts, workers, pauses and the project."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tasuki.app.measuring.whole import is_whole
from tasuki.app.state.pausing import Orders, Target, orders_of
from tasuki.app.state.workers import crew_of, depth_by, told_in
from tasuki.contracts.driver import Depth
from tasuki.desk.reading.recent import QueuePast
from tasuki.desk.reading.snapshot import ConsumerRow, QueueRow, RunningRow
from tasuki.desk.site import Site, problem_of
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, QueueNotFoundError, TasukiError
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.observe.history import MINUTE
from tasuki.queues.policy import limit_facts, limit_text
from tasuki.queues.queue import Queue
from tasuki.state.shared import SharedState
from tasuki.state.worker_record import PERIOD, Presence, PresentConsumer
from tasuki.units import format_duration, format_size

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly


T = TypeVar("T")


_AT_ONCE = 16
"""Queues of one driver that are counted at the same time."""


_PATIENCE = 5.0
"""Seconds for one count."""


_ALL, _OF_STORE = 6.0, 3.0
"""Seconds for all counts, and for what a store tells: the site gives up after ten, and then nothing were known."""


@dataclass(slots=True)
class Counts:
    """What one app sees."""

    depths: dict[str, Depth] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    problems: dict[str, str] = field(default_factory=dict)
    """Queue → why it cannot be counted."""
    orders: Orders = field(default_factory=lambda: Orders({}, {}))
    workers: list[Presence] = field(default_factory=list)
    lost: list[Presence] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    """The queues whose stores have told their workers; and those without a store."""
    silent: set[str] = field(default_factory=set)
    """The drivers that cannot be reached now."""
    now: float | None = None
    """The clock of the stores."""
    trouble: list[str] = field(default_factory=list)
    """What else could not be read."""


async def count(live: Assembly, ids: Sequence[str]) -> Counts:
    """Count these queues, and read who works on them and their pauses; errors are part of the result."""
    counts = Counts()
    by_driver: dict[str, list[str]] = {}
    by_state: dict[SharedState | None, set[str]] = {}
    for id in ids:
        if (queue := live.queues.get(id)) is None:  # the project was loaded again meanwhile
            counts.missing.add(id)
            continue
        by_driver.setdefault(queue.driver.name, []).append(id)
        by_state.setdefault(live.state_of(id), set()).add(id)
    # Each driver by itself: one that does not answer keeps nothing from the others.
    await asyncio.gather(*(_count_on(live, driver, mine, counts) for driver, mine in by_driver.items()))
    await asyncio.gather(*(_ask_store(live, state, mine, counts) for state, mine in by_state.items()))
    return counts


async def _ask_store(live: Assembly, state: SharedState | None, ids: set[str], counts: Counts) -> None:
    """Read who works on the queues of one state, and their pauses."""
    if state is None:
        counts.asked |= ids
        return
    known = ids & counts.depths.keys()
    if not known and state.driver.name in counts.silent:
        return  # its queues say why
    if not known and state.opened is None:  # a store is made by opening it: there is none, and nothing in it
        counts.asked |= ids
        return
    try:
        async with asyncio.timeout(_OF_STORE):
            orders = await orders_of(live, known)
            crew = await crew_of(state)
            partial = [id for id in known if not is_whole(counts.depths[id])]
            told = await told_in(live, state, crew.alive) if partial else None
    except TimeoutError:
        counts.trouble.append(f"the store of driver {state.driver.name} has not answered for {_OF_STORE:g} s")
    except TasukiError as error:
        counts.trouble.append(problem_of(error))
    else:
        counts.orders.pauses.update(orders.pauses)
        counts.orders.scales.update(orders.scales)
        counts.workers += crew.alive
        counts.lost += crew.lost
        for id in partial:
            counts.depths[id] = depth_by(live, live.queues[id], counts.depths[id], told)
        counts.asked |= ids
        counts.now = crew.now if counts.now is None else max(counts.now, crew.now)


def name_causes(counts: Counts, drivers: Mapping[str, BaseException]) -> None:
    """Where a driver is not open, say why it could not be opened; ``drivers``: the error of each, by its id."""

    def cause_of(text: str) -> str:
        named = (error for id, error in drivers.items() if f"driver {id!r} is not open" in text)
        return next((problem_of(error) for error in named), text)

    counts.problems = {id: cause_of(text) for id, text in counts.problems.items()}
    counts.trouble = [cause_of(text) for text in counts.trouble]


async def _count_on(live: Assembly, driver: str, ids: Sequence[str], counts: Counts) -> None:
    left, end = iter(ids), asyncio.get_running_loop().time() + _ALL
    await asyncio.gather(*(_count_some(live, driver, left, counts, end) for _ in range(min(_AT_ONCE, len(ids)))))


async def _count_some(live: Assembly, driver: str, left: Iterable[str], counts: Counts, end: float) -> None:
    problem, now = "", asyncio.get_running_loop().time
    for id in left:
        if driver in counts.silent:  # to ask for each of its queues would take longer than anyone waits
            counts.problems[id] = problem or f"driver {driver} does not answer"
            continue
        try:
            async with asyncio.timeout_at(min(now() + _PATIENCE, end)):
                if now() >= end:  # an answer that needs no waiting would come all the same, and a thousand take long
                    raise TimeoutError
                counts.depths[id] = await depth_of(live.queues[id])
        except QueueNotFoundError:
            counts.missing.add(id)
        except (TasukiError, TimeoutError) as error:
            problem = problem_of(error) if isinstance(error, TasukiError) else f"no answer within {_PATIENCE:g} s"
            counts.problems[id] = problem
            is_late = isinstance(error, TimeoutError) and now() < end  # else there were too many to be counted
            if is_late or isinstance(error, BrokerUnavailableError | BrokerTimeoutError):
                counts.silent.add(driver)


async def depth_of(queue: Queue) -> Depth:
    """The counts of a queue. Raises DriverError."""
    return await asked(queue, partial(queue.driver.depth, queue.spec.name))


async def asked(queue: Queue, ask: Callable[[], Awaitable[T]]) -> T:
    """The answer of a queue's driver, also of a queue that a worker has made since the driver was opened.

    Raises:
        QueueNotFoundError: its broker does not have it. DriverError: why else there is no answer.
    """
    try:
        return await ask()
    except QueueNotFoundError:
        if queue.driver.problem is not None:
            raise queue.driver.problem from None
        await queue.driver.inspect(queue.spec)
        return await ask()
    except BrokerUnavailableError as error:
        raise (queue.driver.problem or error) from error


@dataclass(frozen=True, slots=True)
class RowFacts:
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
    def of(cls, project: Project, workers: Sequence[Presence], with_store: Set[str]) -> RowFacts:
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
    facts: RowFacts,
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


def settings_of(site: Site, queue: Queue, id: str) -> list[tuple[str, str]]:
    """What holds for a queue: keys of the catalogue, and values."""
    config = site.project.of(QueueConfig)[id]
    kind = site.project.driver_of(id).name
    spec = queue.spec
    pairs: Sequence[tuple[str, Any]] = (
        ("driver", f"{queue.driver.name} ({kind})"),
        ("name", spec.name),
        ("durability", queue.driver.durability_of(spec.name)),
        ("lease", format_duration(config.lease)),
        ("codec", config.codec),
        ("ordering", config.ordering),
        ("max_length", config.max_length),
        ("message_ttl", None if config.message_ttl is None else format_duration(config.message_ttl)),
        ("max_message_size", format_size(config.max_message_size)),
        ("retry", f"{format_duration(config.retry.initial_delay)} … {format_duration(config.retry.max_delay)}"),
    )
    return [(f"settings.{key}", str(value)) for key, value in pairs if value is not None]
