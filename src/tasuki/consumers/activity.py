"""Activity: what a consumer does at one moment; taken from any thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tasuki.consumers.definition import Definition
from tasuki.errors import BrokerTimeoutError

if TYPE_CHECKING:
    from tasuki.consumers.delivery import Delivery
    from tasuki.consumers.handling.pool import Worker
    from tasuki.consumers.run import Run
    from tasuki.consumers.settling.insisting import Trouble
    from tasuki.state.pauses import Pause


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """The defaults describe a consumer that does not run."""

    concurrency: int
    """How many messages it handles at the same time, while it is not paused."""
    window: int
    """How many messages it may hold."""
    is_consuming: bool = False
    """Whether it receives: started, and not stopping."""
    pause: Pause | None = None
    """Why it receives nothing; None: it is not paused."""
    problem: str = ""
    """Why it cannot receive; empty if it can."""
    cannot_receive: bool = False
    """Whether its last receive failed, so that it waits for the broker."""
    is_unanswered: bool = False
    """Whether its problem is only that the broker has not answered the last receive."""
    held: int = 0
    """Deliveries that are not settled yet."""
    unsettled: int = 0
    """Deliveries whose handlers have ended, and whose settlement the broker has not taken yet.

    Not counted: kept ones, whose dead letter or reply cannot be published yet.
    """
    running: int = 0
    """Handlers that run."""
    workers: Sequence[Worker] = ()
    """Its workers, idle ones too."""
    has_free_worker: bool = False
    """Whether one of them could take a message."""
    waiting: Sequence[Delivery] = ()
    """Deliveries, or batches of them, that have not started."""
    troubles: Sequence[Trouble] = ()
    """Of the handled messages that are kept, as something about them cannot be written yet."""
    is_filled_by_kept: bool = False
    """Whether these messages leave no place for others."""
    unreadable: str = ""
    """Why it cannot read which messages are cancelled, if it must before each start; empty: it can."""
    late_leases: float = 0.0
    """Seconds by which the renewal of one of its leases is late; 0: none is."""

    @property
    def deliveries(self) -> list[Delivery]:
        """Those whose handlers run."""
        return [worker.delivery for worker in self.workers if worker.delivery is not None]

    @property
    def free(self) -> int:
        """Messages that it could take: 0 while it is paused, all its workers are busy, or its buffer is full."""
        if self.pause is not None or not self.is_consuming or not self.has_free_worker:
            return 0
        return max(min(self.concurrency - self.running, self.window - self.held), 0)

    @property
    def buffered(self) -> int:
        """Messages that have not started."""
        return sum(len(each.deliveries) for each in self.waiting)

    def stage_of(self, id: str) -> Literal["running", "waiting"] | None:
        """Of a message that it has: whether its handler runs, or has not started; None: it has none of this id."""
        for stage, held in (("running", self.deliveries), ("waiting", self.waiting)):
            if any(one.received.id == id for each in held for one in each.deliveries):
                return stage  # type: ignore[return-value]
        return None


def activity_of(consumer: Definition, run: Run | None) -> Activity:
    """What a consumer does in its present life; None: it does not consume."""
    if run is None:
        options = consumer.options
        return Activity(concurrency=options.concurrency, window=max(options.prefetch, options.concurrency))
    failure = run.fetcher.failure
    return Activity(
        concurrency=run.pool.concurrency,
        window=run.window.prefetch,
        is_consuming=not run.stopping,
        pause=run.pause,
        problem=_problem(run),
        cannot_receive=run.fetcher.failures > 0,
        is_unanswered=isinstance(failure, BrokerTimeoutError),
        held=run.window.held,
        unsettled=run.unsettled,
        running=run.pool.running,
        workers=list(run.pool.workers),
        has_free_worker=run.pool.has_free_worker,
        waiting=run.waiting(),
        troubles=list(run.settler.insisting.troubles.copy().values()),
        is_filled_by_kept=run.window.is_filled_by_kept,
        unreadable="" if run.follower is None else run.follower.problem,
        late_leases=run.holding.late(consumer.clock.monotonic()),
    )


def _problem(run: Run) -> str:
    if run.stopping or run.pause is not None:
        return ""
    if (failure := run.fetcher.failure) is not None:
        return f"it cannot receive: {failure}"
    is_waiting = run.controlled is not None and not run.controlled.is_current.is_set()
    return "it has not read yet whether it is paused" if is_waiting else ""
