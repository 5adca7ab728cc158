"""A snapshot: the counts, workers and pauses of an installation at one moment; values without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from tasuki.contracts.driver import Depth
from tasuki.desk.api.answers import Totals
from tasuki.desk.reading.recent import QueuePast
from tasuki.observe.history import added
from tasuki.state.pauses import Pause, Scale
from tasuki.state.worker_record import Presence, RunningMessage

STALE = 15.0
"""Seconds from which on a snapshot is not shown as the present any more."""


@dataclass(frozen=True, slots=True)
class ConsumerRow:
    """One consumer entry over all workers."""

    id: str
    processes: int
    concurrency: int
    """The sum over the processes."""
    running: int
    done: int
    failed: int
    paused: Pause | None = None
    scale: Scale | None = None


@dataclass(frozen=True, slots=True)
class RunningRow:
    """A message whose handler runs now."""

    message: RunningMessage
    consumer: str
    host: str
    pid: int
    worker: str
    """The key of its worker."""
    seen: float = 0.0
    """Unix time of that worker's last sign."""

    @property
    def ran(self) -> float:
        """Seconds that it had run at that sign: whether it has run since is not known."""
        return max(self.seen - self.message.since, 0.0)


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One queue; ``depth`` is None where it cannot be read, and ``problem`` says why."""

    id: str
    driver: str
    depth: Depth | None
    problem: str = ""
    is_missing: bool = False
    """Whether its broker does not have it yet."""
    paused: Pause | None = None
    consumers: Sequence[ConsumerRow] = ()
    handlers: Sequence[RunningRow] = ()
    """What runs now, the longest first."""
    now_out: float | None = None
    """Messages done a second, in some seconds before the snapshot; None: not known yet."""
    now_failed: float | None = None
    """Failures a second, in the same seconds."""
    is_dead_letters: bool = False
    """Whether other queues have it for their dead letters."""
    dead_letters: str = ""
    """The id of its dead-letter queue; empty: it has none."""
    dead: int | None = None
    """Messages in its dead-letter queue, of all queues that share it."""
    tags: Sequence[str] = ()
    knows_workers: bool = True
    """Whether its workers are known: not without a store, nor while one may hide a consumer of it."""
    wants_workers: bool = False
    """Whether consumers are declared that start with a worker."""
    past: QueuePast | None = None
    """Its last hour; None: nothing happened, or it is not known."""
    knows_past: bool = False
    """Whether its last minute is known, as all processes have written it."""

    @property
    def in_rate(self) -> float | None:
        """Messages published a second in the last full minute; None: not known."""
        return self._rate(0.0 if self.past is None else self.past.in_rate)

    @property
    def out_rate(self) -> float | None:
        """Messages done a second in the same minute; None: not known."""
        return self._rate(0.0 if self.past is None else self.past.out_rate)

    @property
    def failed_rate(self) -> float | None:
        """Failures a second in the same minute; None: not known."""
        return self._rate(0.0 if self.past is None else self.past.failed_rate)

    def _rate(self, known: float) -> float | None:
        return known if self.knows_past else None

    @property
    def wait_p95(self) -> float | None:
        """Within which 95 % of the messages of the last five minutes started; None: not known."""
        return None if self.past is None else self.past.wait.p95

    @property
    def run_p95(self) -> float | None:
        """Within which 95 % of their handlers ended; None: not known."""
        return None if self.past is None else self.past.run.p95

    @property
    def done_of_hour(self) -> Sequence[int]:
        """Messages done in each three minutes of the last hour; empty: not known."""
        done = () if self.past is None else self.past.lines["done"]
        return [sum(done[at : at + 3]) for at in range(0, len(done), 3)]

    @property
    def workers(self) -> int | None:
        """Processes that consume from it; None: not known."""
        if not self.knows_workers:
            return None
        return max((consumer.processes for consumer in self.consumers), default=0)

    @property
    def places(self) -> int:
        """Messages that its workers may handle at the same time."""
        return sum(consumer.concurrency for consumer in self.consumers)

    @property
    def busy(self) -> int:
        """Handlers that run, as far as they are known."""
        return sum(consumer.running for consumer in self.consumers)

    @property
    def running(self) -> int | None:
        """Handlers that run; None: the workers are not known."""
        return self.busy if self.knows_workers else None

    @property
    def ready(self) -> int | None:
        """Ready messages; None: not known."""
        return None if self.depth is None else self.depth.ready

    @property
    def delayed(self) -> int | None:
        """Delayed messages; None: not known."""
        return None if self.depth is None else self.depth.delayed

    @property
    def in_flight(self) -> int | None:
        """Messages that consumers hold; None: not known."""
        return None if self.depth is None else self.depth.in_flight

    @property
    def waiting(self) -> int:
        """Ready and delayed messages, as far as they are known."""
        return 0 if self.depth is None else self.depth.waiting

    @property
    def oldest_age(self) -> float | None:
        """Age of the oldest ready message; None: not known, or there is none."""
        return None if self.depth is None else self.depth.oldest_age

    @property
    def is_estimate(self) -> bool:
        """Whether the broker only estimates its counts."""
        return self.depth is not None and self.depth.is_estimate


@dataclass(frozen=True, slots=True)
class QueueColumn:
    """One column of the lists of queues; a field of the API and a property of ``QueueRow`` have its name."""

    name: str
    en: str
    ja: str
    form: Literal["text", "count", "rate", "age"] = "count"
    title: str = ""
    """In ``top``; empty: it is not shown there."""
    cells: int = 6
    """Its width in ``top``; 0: what the others leave."""
    at_least: int = 0
    """The width of a terminal from which on it is shown."""

    def value(self, row: QueueRow) -> Any:
        """By what it sorts; an unknown value is the least."""
        return getattr(row, self.name) or ("" if self.form == "text" else 0)


COLUMNS: Sequence[QueueColumn] = (
    QueueColumn("id", "Queue", "キュー", "text", "QUEUE", 0),
    QueueColumn("ready", "Ready", "待機", title="READY", cells=7),
    QueueColumn("running", "Running", "実行中", title="RUN"),
    QueueColumn("delayed", "Delayed", "遅延", title="DELAY"),
    QueueColumn("dead", "Dead", "デッド", title="DEAD"),
    QueueColumn("oldest_age", "Oldest", "最古", "age", "OLDEST"),
    QueueColumn("in_rate", "In", "受付", "rate", "IN/s", at_least=100),
    QueueColumn("out_rate", "Out", "完了", "rate", "OUT/s", at_least=70),
    QueueColumn("failed_rate", "Failed", "失敗", "rate", "FAIL", 5, 70),
    QueueColumn("wait_p95", "Wait p95", "待ちp95", "age"),
    QueueColumn("run_p95", "Run p95", "実行p95", "age", "P95", 5, 80),
    QueueColumn("workers", "Workers", "ワーカー", title="WORKERS", cells=7, at_least=110),
)
"""What pages, ``top`` and the command line show of a queue, in order. The API answers with more."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All of it; what pages ask of it is computed once."""

    taken: float
    """On the monotonic clock of the desk."""
    now: float
    """Unix seconds by the clock of the stores, or of this machine."""
    queues: Mapping[str, QueueRow] = field(default_factory=dict)
    workers: Sequence[Presence] = ()
    """The living ones; of their running messages the ones that certainly run."""
    problems: Sequence[str] = ()
    """What could not be read."""
    lost: Sequence[Presence] = ()
    """The ones that have not stopped in order in the last 15 minutes, without signs since; as their last signs say."""
    minute_ends: float | None = None
    """Unix time of the end of the last minute that is known; None: none is."""
    age: float = 0.0
    """Seconds since it was taken, from ``STALE`` on."""

    @property
    def knows_workers(self) -> bool:
        """Whether the workers of any queue are known, or there are none that could be."""
        return any(row.knows_workers for row in self.queues.values()) or not self.queues

    @cached_property
    def hides(self) -> bool:
        """Whether a worker has consumers for which its entry has no room: sums over the queues lack theirs."""
        return any(worker.unlisted.consumers for worker in self.workers)

    @cached_property
    def uncounted(self) -> int:
        """How many queues could not be counted: the sums lack theirs."""
        return sum(row.depth is None and not row.is_missing for row in self.queues.values())

    @property
    def knows_counts(self) -> bool:
        """Whether any queue could be counted; if not, sums of 0 say nothing."""
        return self.uncounted < len(self.queues) or not self.queues

    @cached_property
    def totals(self) -> Totals:
        """The sums. Dead letters count as dead, not as ready."""
        rows, workers = self.queues.values(), self.workers
        live = [row for row in rows if not row.is_dead_letters]
        there = [row for row in live if not row.is_missing]
        delays = [row.delayed for row in live if row.delayed is not None]
        places = sum(row.places for row in rows) + sum(each.unlisted.concurrency - each.overlap for each in workers)
        running = sum(row.busy for row in rows) + sum(each.unlisted.running for each in workers)
        counts, crew = self.knows_counts, self.knows_workers
        return Totals(
            ready=sum(row.ready or 0 for row in live) if counts else None,
            running=running if crew else None,
            places=places,
            delayed=sum(delays) if counts and (delays or not live) else None,
            delayed_unknown=sum(row.depth is not None for row in live) - len(delays),
            dead=sum(row.waiting for row in rows if row.is_dead_letters) if counts else None,
            workers=len(workers) if crew else None,
            in_rate=_sum(row.in_rate for row in there),
            out_rate=_sum(row.out_rate for row in there),
            failed_rate=_sum(row.failed_rate for row in there),
            rates_unknown=sum(not row.knows_past for row in there),
            now_out=None if self.hides else _of_known(row.now_out for row in live),
            now_failed=None if self.hides else _of_known(row.now_failed for row in live),
            minute_ends=self.minute_ends,
            uncounted=self.uncounted,
        )

    @cached_property
    def lines(self) -> Mapping[str, Sequence[int]]:
        """Of each minute of the last hour ``published``, ``done`` and ``failed``, of all but dead letters."""
        known = [row.past for row in self.queues.values() if row.past is not None and not row.is_dead_letters]
        return {name: added(past.lines[name] for past in known) for name in ("published", "done", "failed")}

    @cached_property
    def since_start(self) -> tuple[int, int]:
        """Messages done, and failures, since the workers of now started."""
        return sum(worker.done for worker in self.workers), sum(worker.failed for worker in self.workers)

    @cached_property
    def knows_hour(self) -> bool:
        """Whether the last hour of all queues is known."""
        return all(row.knows_past or row.is_missing for row in self.queues.values())


def _of_known(rates: Iterable[float | None]) -> float | None:
    """The sum of the known ones; None: none is. Queues without workers have no such rate."""
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None


def _sum(rates: Iterable[float | None]) -> float | None:
    """The sum of the known ones; None: none is, or a sum of 0 lacks one and says nothing."""
    every = list(rates)
    return _of_known(every) or (None if None in every else _of_known(every))
