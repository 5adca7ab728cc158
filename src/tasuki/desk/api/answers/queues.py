"""What the API answers about queues, their last hour and consumers. Times are of the stores; null: not known."""

from __future__ import annotations

from typing import Any

from tasuki.desk.api.answers.common import Answer
from tasuki.moments import Moment
from tasuki.state.pauses import Pause, Scale
from tasuki.state.presence import RunningMessage


class Totals(Answer, frozen=True):
    """The sums over all queues. Dead letters count as dead alone."""

    ready: int | None
    """Null: no queue could be counted."""
    running: int | None
    """Null: no worker tells, as with ``workers``."""
    places: int
    delayed: int | None
    dead: int | None
    workers: int | None
    in_rate: float | None
    """Messages a second, like ``out_rate`` and ``failed_rate``: in the full minute that ended at ``minute_ends``."""
    out_rate: float | None
    failed_rate: float | None
    now_out: float | None
    """Of some seconds before ``now``, as ``now_failed``."""
    now_failed: float | None
    minute_ends: Moment | None
    uncounted: int = 0
    """Queues that could not be counted: the sums lack theirs."""
    delayed_unknown: int = 0
    """Queues of which the delayed messages are unknown: ``delayed`` lacks theirs."""
    rates_unknown: int = 0
    """Queues of which the last full minute is unknown: the rates lack theirs, and are null instead of 0."""


class Notice(Answer, frozen=True):
    """One thing that needs attention."""

    code: str
    text: str
    values: dict[str, Any]


class Overview(Answer, frozen=True):
    """Whether messages move."""

    now: Moment
    totals: Totals
    queues: int
    notices: list[Notice]
    """The worst first, 100 at most."""
    problems: list[str]
    """What could not be read."""
    age: float
    """Seconds since all this was read, from 15 on, while the brokers do not answer; else 0."""


class Consumer(Answer, frozen=True):
    """One consumer over all its processes; null: they are not known."""

    id: str
    processes: int | None
    concurrency: int | None
    running: int | None
    done: int | None
    failed: int | None
    paused: Pause | None
    scale: Scale | None


class QueueItem(Answer, frozen=True):
    """One queue."""

    id: str
    driver: str
    ready: int | None
    delayed: int | None
    """Null: unknown, as with ``in_flight``."""
    in_flight: int | None
    running: int | None
    """Handlers that ran at the last signs of the workers; null: the workers are not known."""
    dead: int | None
    """Messages of its dead-letter queue."""
    oldest_age: float | None
    is_estimate: bool
    in_rate: float | None
    """Messages a second in the last full minute, as in the totals."""
    out_rate: float | None
    failed_rate: float | None
    now_out: float | None
    now_failed: float | None
    wait_p95: float | None
    """Seconds within which 95 % of the messages of the last five minutes started."""
    run_p95: float | None
    workers: int | None
    paused: Pause | None
    dead_letters: str
    """The id of its dead-letter queue; empty: it has none."""
    is_dead_letters: bool
    is_missing: bool
    """Whether its broker does not have it yet."""
    tags: list[str]
    problem: str


class Queues(Answer, frozen=True):
    """Some queues."""

    items: list[QueueItem]
    next: str | None
    """The cursor of what follows; null: nothing does."""
    count: int


class Queue(Answer, frozen=True):
    """One queue with all that is known of it."""

    queue: QueueItem
    consumers: list[Consumer]
    running: list[Running]
    schedules: list[str]
    capabilities: dict[str, Any]
    """What its driver can do."""
    settings: dict[str, str]


class Minute(Answer, frozen=True):
    """One minute of a queue, over all processes; times in seconds, null where there was none."""

    at: Moment
    """When it began."""
    published: int
    done: int
    failed: int
    dead: int
    """Messages that became dead letters."""
    ready: int | None
    """Ready messages at its end."""
    wait_p50: float | None
    """Within which half of the messages started after they were due."""
    wait_p95: float | None
    wait_p99: float | None
    run_p50: float | None
    """Within which half of the handlers ended."""
    run_p95: float | None
    run_p99: float | None


class History(Answer, frozen=True):
    """The last hour of a queue, the oldest minute first; no items: nothing happened, if it is known."""

    items: list[Minute]
    is_known: bool
    """False: not all processes that have the queue are known to have written their minutes."""
    ends: Moment | None
    """The end of the last minute; null: unknown."""


class Running(Answer, frozen=True):
    """A message whose handler runs now."""

    message: RunningMessage
    consumer: str
    worker: str
    """``host:pid``."""


class Line(Answer, frozen=True):
    """One queue with all that leads to it and from it."""

    queue: str
    ready: int | None
    in_rate: float | None
    out_rate: float | None
    dead_rate: float | None
    schedules: list[str]
    consumers: dict[str, list[str]]
    """Consumer, and the functions that it calls."""
    dead_letters: str


class Topology(Answer, frozen=True):
    """The way of the messages, the busiest queues first."""

    items: list[Line]
    next: str | None
    count: int
