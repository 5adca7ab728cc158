"""What the API answers about workers and schedules. Times are Unix seconds of the stores; null: not known."""

from __future__ import annotations

from tasuki.desk.api.answers.common import Answer
from tasuki.state.pauses import Pause
from tasuki.state.presence import PresentConsumer


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
