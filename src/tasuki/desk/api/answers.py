"""What the API answers. Times are Unix seconds by the clock of the stores; null means that a value is not known."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from tasuki.app.explain.rule import Cause
from tasuki.contracts.state.jobs import Progress
from tasuki.state.audit.ring import AuditRecord
from tasuki.state.pauses import Pause, Scale
from tasuki.state.presence import PresentConsumer, RunningMessage


class Answer(msgspec.Struct, frozen=True):
    """An answer of the API."""


class Problem(Answer, frozen=True):
    """Why there is no other answer (RFC 9457)."""

    title: str
    status: int
    detail: str
    code: str
    """Stable, for programs."""
    type: str = "about:blank"
    problems: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    """Of an edited message: ``field``, ``text``, and the ``line`` of its body."""


class Totals(Answer, frozen=True):
    """The sums over all queues. Dead letters count as dead alone."""

    ready: int
    running: int
    places: int
    delayed: int
    dead: int
    workers: int
    in_rate: float | None
    """Messages a second in the last minute."""
    out_rate: float | None
    failed_rate: float | None


class Notice(Answer, frozen=True):
    """One thing that needs attention."""

    code: str
    text: str
    values: dict[str, Any]


class Overview(Answer, frozen=True):
    """Whether messages move."""

    now: float
    totals: Totals
    queues: int
    notices: list[Notice]
    """The worst first, 100 at most."""
    problems: list[str]
    """What could not be read."""


class Consumer(Answer, frozen=True):
    """One consumer over all its processes."""

    id: str
    processes: int
    concurrency: int
    running: int
    done: int
    failed: int
    paused: Pause | None
    scale: Scale | None


class QueueItem(Answer, frozen=True):
    """One queue."""

    id: str
    driver: str
    ready: int | None
    delayed: int | None
    in_flight: int | None
    running: int
    dead: int | None
    """Messages of its dead-letter queue."""
    oldest_age: float | None
    is_estimate: bool
    in_rate: float | None
    out_rate: float | None
    failed_rate: float | None
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

    at: float
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
    """The last hour of a queue, the oldest minute first; no items: nothing happened."""

    items: list[Minute]


class Running(Answer, frozen=True):
    """A message whose handler runs now."""

    message: RunningMessage
    consumer: str
    worker: str
    """``host:pid``."""


class MessageItem(Answer, frozen=True):
    """One message of a list."""

    id: str
    queue: str
    state: Literal["waiting", "delayed", "retrying", "running", "dead"]
    place: int | None
    published: float | None
    attempts: str
    priority: str
    key: str
    type: str
    error: str
    reason: str
    died: float | None
    body: str
    """Its beginning, on one line; values of telling names are masked."""


class Messages(Answer, frozen=True):
    """Some messages of a queue, in its order."""

    items: list[MessageItem]
    next: str | None
    is_bounded: bool
    """Whether only the first messages were looked through."""


class Body(Answer, frozen=True):
    """A body; values of telling names are masked, and control characters are escaped."""

    kind: str
    """json, text or bytes."""
    size: int
    text: str
    is_cut: bool
    value: msgspec.Raw | None
    """The same as JSON, with all digits of its numbers; null: it is none, or too long."""


class Message(Answer, frozen=True):
    """One message, in any state."""

    id: str
    queue: str
    state: str
    status: str
    """Of its job, where the queue keeps one."""
    place: int | None
    item: MessageItem | None
    body: Body | None
    headers: dict[str, str]
    error: str
    traceback: str
    progress: Progress | None
    running: list[Running]
    causes: list[Cause]
    """Why it is where it is; see ``explain``."""


class Explained(Answer, frozen=True):
    """Why a message does not run now: the first cause that holds comes first."""

    id: str
    queue: str
    found: bool | None
    causes: list[Cause]


class Group(Answer, frozen=True):
    """Dead letters that have something in common; the texts are from the newest one."""

    dead: str
    """The id of their dead-letter queue."""
    key: str
    count: int
    first: float | None
    last: float | None
    trend: list[int]
    """How many died in each twelfth of the last hour, the latest last."""
    queue: str
    reason: str
    type: str
    place: str
    sample: str
    ids: list[str]


class Groups(Answer, frozen=True):
    """Dead letters in groups, the largest first."""

    count: int
    groups: list[Group]
    is_all: bool
    """False: a queue has more letters, of which the newest 10,000 were read."""
    unclear: int
    """Letters that ``where`` could not be asked about."""
    unseen: dict[str, str]
    """Queues whose letters cannot be shown, and why."""


class Letter(Answer, frozen=True):
    """One dead letter."""

    id: str
    dead: str
    queue: str
    reason: str
    type: str
    place: str
    cause: str
    error: str
    at: float | None
    attempts: int | None
    body: str


class Letters(Answer, frozen=True):
    """Some letters of a dead-letter queue, the newest death first."""

    items: list[Letter]
    next: str | None
    count: int
    is_all: bool
    unclear: int


class Worker(Answer, frozen=True):
    """One worker process."""

    id: str
    """``host:pid``."""
    host: str
    pid: int
    version: str
    started: float
    seen: float
    running: int
    done: int
    failed: int
    consumers: list[PresentConsumer]
    left_out: int


class Workers(Answer, frozen=True):
    """Some workers."""

    items: list[Worker]
    next: str | None
    count: int
    now: float


class Event(Answer, frozen=True):
    """What happened to a message."""

    at: float
    kind: str
    message: str | None
    attempt: int | None
    value: str | float | None


class Events(Answer, frozen=True):
    """The newest events of each consumer of a worker, the newest last."""

    worker: str
    consumers: dict[str, list[Event]]


class Schedule(Answer, frozen=True):
    """One schedule."""

    id: str
    queue: str
    timing: str
    next: float | None
    last: float | None
    is_enabled: bool
    is_known: bool
    is_late: bool
    paused: Pause | None


class Schedules(Answer, frozen=True):
    """Some schedules."""

    items: list[Schedule]
    next: str | None
    count: int
    unseen: list[str]
    """Schedules whose store cannot be read from here."""


class Hit(Answer, frozen=True):
    """A message that was found."""

    queue: str
    message: MessageItem


class Found(Answer, frozen=True):
    """The found messages, and how far the search went."""

    hits: list[Hit]
    searched: int
    """Messages that were looked through."""
    is_over: bool
    """Whether time, messages or hits ended the search."""
    cut: list[str]
    """Queues with more messages than were looked through."""
    unseen: dict[str, str]
    """Queue, and why it was not looked into."""


class Line(Answer, frozen=True):
    """One queue with all that leads to it and from it."""

    queue: str
    ready: int | None
    in_rate: float | None
    out_rate: float | None
    dead_rate: float
    schedules: list[str]
    consumers: dict[str, list[str]]
    """Consumer, and the functions that it calls."""
    dead_letters: str


class Topology(Answer, frozen=True):
    """The way of the messages, the busiest queues first."""

    items: list[Line]
    next: str | None
    count: int


class Acts(Answer, frozen=True):
    """Some acts, the newest first."""

    items: list[AuditRecord]
    next: str | None
    count: int


class Check(Answer, frozen=True):
    """One finding about this process."""

    name: str
    status: str
    since: float
    text: str


class Health(Answer, frozen=True):
    """Whether messages move in this process, or in all processes of ``run --processes``."""

    status: str
    live: bool
    ready: bool
    time: float
    checks: list[Check]


class Done(Answer, frozen=True):
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


class BatchGroup(Answer, frozen=True):
    """What letters are grouped by, and the key of their group."""

    by: str
    key: str


class Batch(Answer, frozen=True):
    """An act on many dead letters, and how far it is."""

    id: str
    act: str
    queue: str
    to: str
    where: str
    group: BatchGroup | None
    ids: int
    """How many letters were chosen by their ids; 0: they were not."""
    rate: float
    canary: int | None
    limit: int | None
    actor: str
    state: str
    """running, paused, cancelled, stopped (by its canary), done, undoing, undone, failed."""
    begun: float
    ended: float | None
    total: int | None
    there: int | None
    done: int
    returned: int
    """Letters that failed again."""
    left: int | None
    seen: int
    stayed: int
    gone: int
    unclear: int
    unsure: int
    undone: int
    started: int
    can_undo: bool
    problem: str


class Batches(Answer, frozen=True):
    """The last batches, the newest first."""

    items: list[Batch]


class DryRun(Answer, frozen=True):
    """How the handler ended, and what it would have done. Nothing was settled, published or written."""

    message: str
    queue: str
    outcome: str
    """ack, retry, dead_letter, snooze, release, timeout, died, problem."""
    seconds: float | None
    consumer: str
    function: str
    error: str
    reason: str
    type: str
    place: str
    traceback: str
    delay: float
    effects: list[dict[str, Any]]
    """Recorded instead of done, in order."""
    logs: list[dict[str, Any]]
    output: str
    errors: str
    warnings: list[str]
