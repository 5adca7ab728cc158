"""Definition: the parts of a consumer; each run of it starts from the present ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

from tasuki.clock import Clock
from tasuki.consumers.batch import Batching
from tasuki.consumers.fetching.keeper import Keeper
from tasuki.consumers.handling.idempotency import Idempotency
from tasuki.consumers.handling.shared import Share
from tasuki.consumers.handling.suspects import PROCESS_GATE, SuspectGate
from tasuki.consumers.reach.host import Host
from tasuki.consumers.settling.verdict import RetryPolicy
from tasuki.consumers.surroundings import ConsumeMiddleware
from tasuki.contracts.handler import Handler
from tasuki.contracts.observer import Observer
from tasuki.observe.events import EventRing
from tasuki.observe.metrics import ConsumerMetrics
from tasuki.queues.queue import Queue

if TYPE_CHECKING:
    from typing import Any

    from tasuki.consumers.reports.reporting import DeliveryReport
    from tasuki.security.guard import Guard
    from tasuki.state.shared import SharedState
    from tasuki.state.worker_heartbeat import Attendance
    from tasuki.tracing.tracing import ConsumerTracing


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """How a consumer works; times in seconds."""

    concurrency: int = 1
    prefetch: int = 10
    follows: bool = False
    """The window begins with ``prefetch``, and follows the speed of the handler."""
    auto_ack: bool = False
    handler_timeout: float | None = None
    batch: Batching | None = None
    """How messages are joined into batches; None: each is handled by itself."""
    idempotency: Mapping[str | None, Idempotency] = field(default_factory=dict)
    """By which key work is done once, by the name of the task; None: messages of no task, or of another one."""


@dataclass(eq=False)
class Definition:
    """One queue, one handler, and all that belongs to handling the messages."""

    id: str
    _: KW_ONLY
    queue: Queue
    handler: Handler
    host: Host
    """The project in force."""
    keeper: Keeper
    policy: RetryPolicy
    options: ConsumerOptions
    dead_letters: Queue | None
    clock: Clock
    middleware: Sequence[Callable[[], ConsumeMiddleware]] = ()
    share: Share | None = None
    """Its part of shared workers; None: its workers are its own."""
    guard: Guard | None = None
    """Its rights, which the functions that it calls share; None: all. Set again when the policies change."""
    observers: Sequence[Observer] = ()
    reports: Sequence[DeliveryReport] = ()
    state: SharedState | None = None
    """The state of its queue; None: it has none."""
    attendance: Attendance[Any] | None = None
    """Tells other processes of this one and its consumers."""
    tracing: ConsumerTracing | None = None
    """Makes its spans; None: there are none."""
    gate: SuspectGate = PROCESS_GATE
    """Admits one suspect at a time."""
    metrics: ConsumerMetrics = field(init=False)
    events: EventRing = field(init=False)
    """The latest events, over all its lives."""

    def __post_init__(self) -> None:
        self.metrics = ConsumerMetrics(consumer=self.id, queue=self.queue.id, driver=self.queue.driver.name)
        self.events = EventRing(self.clock.monotonic)
