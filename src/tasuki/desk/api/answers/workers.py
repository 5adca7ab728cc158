"""What the API answers about workers and schedules. Times are of the stores; null: not known."""

from __future__ import annotations

from tasuki.desk.api.answers.common import Answer
from tasuki.moments import Moment
from tasuki.state.pauses import Pause
from tasuki.state.presence import PresentConsumer, WorkerHealth


class Worker(Answer, frozen=True):
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


class Lost(Answer, frozen=True):
    """A worker that gives no sign and has not stopped: it was killed, is frozen, or is cut off from its store."""

    id: str
    """``host:pid``."""
    last: Moment
    """When its last sign came."""


class Workers(Answer, frozen=True):
    """Some workers."""

    items: list[Worker]
    next: str | None
    count: int
    now: Moment
    lost: list[Lost]
    """In the last 15 minutes, and not acknowledged."""


class Event(Answer, frozen=True):
    """What happened to a message."""

    at: Moment
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
    next: Moment | None
    last: Moment | None
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
