"""Answers of the API, which other faces show too. Times are of the stores, and dates (ISO 8601) in JSON.

A whole answer has the name of its list, or ends in ``Answer``; an element of a list ends in ``Item``. null: a value is
not known. See :mod:`tasuki.desk.api.letter_answers` for dead letters, and :mod:`tasuki.desk.reading.snapshot` for the
columns of queues.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import msgspec

from tasuki.app.explain.rule import Cause
from tasuki.contracts.state.jobs import JobStatus, Progress
from tasuki.moments import Moment
from tasuki.state.audit import AuditRecord
from tasuki.state.pauses import Pause, Scale
from tasuki.state.worker_record import PresentConsumer, RunningMessage, WorkerHealth


class ApiAnswer(msgspec.Struct, frozen=True):
    """An answer of the API."""

    @classmethod
    def of(cls, source: object, **known: object) -> Self:
        """An answer whose fields are attributes of ``source``, but for the ``known`` ones."""
        return cls(**{name: known[name] if name in known else getattr(source, name) for name in cls.__struct_fields__})


class ProblemDetails(ApiAnswer, frozen=True):
    """Why there is no other answer (RFC 9457)."""

    title: str
    status: int
    detail: str
    code: str
    """Stable, for programs."""
    type: str = "about:blank"
    problems: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    """Of an edited message: ``field``, ``text``, and the ``line`` of its body."""


class AuditAnswer(ApiAnswer, frozen=True):
    """Some acts, the newest first."""

    items: list[AuditRecord]
    next: str | None
    count: int


class HealthCheck(ApiAnswer, frozen=True):
    """One finding about this process."""

    name: str
    status: str
    since: Moment
    text: str


class HealthAnswer(ApiAnswer, frozen=True):
    """Whether messages move in this process, or in all processes of ``run --processes``."""

    status: str
    live: bool
    ready: bool
    time: Moment
    checks: list[HealthCheck]


class Done(ApiAnswer, frozen=True):
    """An act that has happened."""

    act: str
    target: str
    result: str
    """One word for programs: done, or what else there was."""
    text: str
    message: str | None = None
    """The id of a message that it was about, or that it made."""
    count: int | None = None
    """Messages that it was done to."""
    batch: str | None = None
    """The id of the batch that it began or changed."""
    warnings: list[str] = []
    """What the actor should know of it."""


class Totals(ApiAnswer, frozen=True):
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


class NoticeItem(ApiAnswer, frozen=True):
    """One thing that needs attention."""

    code: str
    text: str
    values: dict[str, Any]


class Overview(ApiAnswer, frozen=True):
    """Whether messages move."""

    now: Moment
    totals: Totals
    queues: int
    notices: list[NoticeItem]
    """The worst first, 100 at most."""
    problems: list[str]
    """What could not be read."""
    age: float
    """Seconds since all this was read, from 15 on, while the brokers do not answer; else 0."""


class ConsumerItem(ApiAnswer, frozen=True):
    """One consumer over all its processes; null: they are not known."""

    id: str
    processes: int | None
    concurrency: int | None
    running: int | None
    done: int | None
    failed: int | None
    paused: Pause | None
    scale: Scale | None


class QueueItem(ApiAnswer, frozen=True):
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


class Queues(ApiAnswer, frozen=True):
    """Some queues."""

    items: list[QueueItem]
    next: str | None
    """The cursor of what follows; null: nothing does."""
    count: int


class QueueAnswer(ApiAnswer, frozen=True):
    """One queue with all that is known of it."""

    queue: QueueItem
    consumers: list[ConsumerItem]
    running: list[RunningItem]
    schedules: list[str]
    capabilities: dict[str, Any]
    """What its driver can do."""
    settings: dict[str, str]


class MinuteItem(ApiAnswer, frozen=True):
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


class HistoryAnswer(ApiAnswer, frozen=True):
    """The last hour of a queue, the oldest minute first; no items: nothing happened, if it is known."""

    items: list[MinuteItem]
    is_known: bool
    """False: not all processes that have the queue are known to have written their minutes."""
    ends: Moment | None
    """The end of the last minute; null: unknown."""


class RunningItem(ApiAnswer, frozen=True):
    """A message whose handler runs now."""

    message: RunningMessage
    consumer: str
    worker: str
    """``host:pid``."""


class TopologyItem(ApiAnswer, frozen=True):
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


class TopologyAnswer(ApiAnswer, frozen=True):
    """The way of the messages, the busiest queues first."""

    items: list[TopologyItem]
    next: str | None
    count: int


class MessageItem(ApiAnswer, frozen=True):
    """One message of a list."""

    id: str
    queue: str
    state: Literal["waiting", "delayed", "retrying", "running", "dead"]
    place: int | None
    published: Moment | None
    attempts: str
    priority: str
    key: str
    type: str
    error: str
    reason: str
    died: Moment | None
    body: str
    """Its beginning, on one line; values of telling names are masked."""


class Messages(ApiAnswer, frozen=True):
    """Some messages of a queue, in its order."""

    items: list[MessageItem]
    next: str | None
    is_bounded: bool
    """Whether only the first messages were looked through."""


class ShownBody(ApiAnswer, frozen=True):
    """A body; values of telling names are masked, and control characters are escaped."""

    kind: str
    """json, text or bytes."""
    size: int
    """Bytes as they travel."""
    text: str
    is_cut: bool
    value: msgspec.Raw | None
    """The same as JSON, with all digits of its numbers; null: it is none, or too long."""


class MessageAnswer(ApiAnswer, frozen=True):
    """One message, in any state."""

    id: str
    queue: str
    state: str
    status: str
    """Of its job, where the queue keeps one."""
    place: int | None
    item: MessageItem | None
    body: ShownBody | None
    headers: dict[str, str]
    error: str
    traceback: str
    stack: str
    """Of a running one: where its handler is, as its worker tells; empty: it does not."""
    is_cancel_requested: bool
    """Whether it runs, and its cancellation was ordered."""
    cancel_requested: Moment | None
    """When; null: it was not, or the time is unknown."""
    progress: Progress | None
    running: list[RunningItem]
    causes: list[Cause]
    """Why it is where it is; see ``explain``."""


class Result(ApiAnswer, frozen=True):
    """What has become of a message, and what its handler returned."""

    id: str
    queue: str
    status: JobStatus
    """``done``, ``failed``, ``dead``, ``expired`` and ``cancelled`` are final."""
    at: Moment | None
    """When that was recorded."""
    attempt: int | None
    value: ShownBody | None
    """What the handler returned; null: it has not ended, or returned nothing that can be kept."""
    error: str
    """Why there is no result, or why the last attempt failed; empty: nothing failed."""
    kind: str
    """Of the error."""
    reason: str
    """Why it was given up, as its dead letter says; empty: it was not."""
    progress: Progress | None


class FindAnswer(ApiAnswer, frozen=True):
    """The found messages, and how far the search went."""

    items: list[MessageItem]
    """Running messages first."""
    searched: int
    """Messages that were looked through."""
    is_over: bool
    """Whether time, messages or hits ended the search."""
    cut: list[str]
    """Queues with more messages than were looked through."""
    unseen: dict[str, str]
    """Queue, and why it was not looked into."""


class Worker(ApiAnswer, frozen=True):
    """One worker process."""

    id: str
    """``host:pid``."""
    host: str
    pid: int
    version: str
    started: Moment
    seen: Moment
    running: int
    done: int
    failed: int
    consumers: list[PresentConsumer]
    """With the messages that certainly run; ``running`` is as of ``seen``."""
    left_out: int
    condition: str
    """``ok``, ``warning``, ``not_ready``, ``not_live``, ``silent`` (its sign is late) or ``unknown``."""
    health: WorkerHealth | None
    """Its status and its worst check, as its own probes give them; null: it is not observed."""


class Lost(ApiAnswer, frozen=True):
    """A worker that gives no sign and has not stopped: it was killed, is frozen, or is cut off from its store."""

    id: str
    """``host:pid``."""
    last: Moment
    """When its last sign came."""


class Workers(ApiAnswer, frozen=True):
    """Some workers."""

    items: list[Worker]
    next: str | None
    count: int
    now: Moment
    lost: list[Lost]
    """In the last 15 minutes, and not acknowledged."""


class EventItem(ApiAnswer, frozen=True):
    """What happened to a message."""

    at: Moment
    kind: str
    message: str | None
    attempt: int | None
    value: str | float | None


class Events(ApiAnswer, frozen=True):
    """The newest events of each consumer of a worker, the newest last."""

    worker: str
    consumers: dict[str, list[EventItem]]


class ScheduleItem(ApiAnswer, frozen=True):
    """One schedule."""

    id: str
    queue: str
    timing: str
    next: Moment | None
    last: Moment | None
    is_enabled: bool
    is_known: bool
    is_late: bool
    paused: Pause | None


class Schedules(ApiAnswer, frozen=True):
    """Some schedules."""

    items: list[ScheduleItem]
    next: str | None
    count: int
    unseen: list[str]
    """Schedules whose store cannot be read from here."""
