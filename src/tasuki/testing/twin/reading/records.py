"""What a test reads: messages that were published, that wait, and that were given up; and what a drain has done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from tasuki.message import HeaderValue

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sent(Generic[T]):
    """A published message; ``delay`` in seconds."""

    id: str
    body: T
    headers: Mapping[str, HeaderValue]
    delay: float = 0.0
    key: str | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Waiting(Generic[T]):
    """A message that is in a queue now; ``due_in``: virtual seconds until it can be received, 0 if it can be now."""

    id: str
    body: T
    headers: Mapping[str, HeaderValue]
    due_in: float
    attempt: int
    """Which attempt its next delivery is."""
    error: str = ""
    """Why its last attempt failed."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message in a dead-letter queue."""

    id: str
    body: object
    headers: Mapping[str, HeaderValue]
    queue: str
    """Id of the queue that it came from."""
    reason: str
    """``max_attempts``, ``not_retryable``, ``worker_died``, ``rejected``, ``expired``, ``undecodable``, ``invalid``,
    ``unknown_task``, ``unsigned``."""
    error: str
    attempts: int
    cause: BaseException | None
    """What its handler raised last, signals such as Reject included; None: nothing."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error that a handler raised; ``queue`` and ``message`` are ids."""

    error: Exception
    queue: str
    message: str


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain has done: deliveries by how they ended.

    ``failed`` counts those that come again (nack) and those that were dead-lettered, ``dead`` the latter alone.
    """

    done: int
    failed: int
    dead: int
