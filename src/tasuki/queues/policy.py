"""QueuePolicy: the rules of a queue that the framework enforces on every driver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from tasuki.backoff import Backoff
from tasuki.contracts.driver import Limit
from tasuki.queues.messages.compression import Compression
from tasuki.queues.messages.lanes import LaneRule
from tasuki.queues.messages.signature import Signing
from tasuki.queues.retry_rules import RetryRules
from tasuki.queues.unique.uniqueness import UniqueRule


@dataclass(frozen=True, slots=True)
class ResultPolicy:
    """For how long a result is kept, in seconds, and how large it may be, in bytes."""

    ttl: float
    max_size: int


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """The rules of a queue that the framework enforces; sizes in bytes, durations in seconds."""

    max_message_size: int = 1024 * 1024
    """Largest body, as it is encoded and before it is compressed; asked of received bodies too."""
    max_letter_size: int = 0
    """The largest of the same of the queues whose dead letters it gets."""
    message_ttl: float | None = None
    overflow: Literal["block", "reject"] = "block"
    dead_letter: str | None = None
    """Id of the dead-letter queue."""
    max_attempts: int = 5
    drop_expired: bool = False
    retry: Backoff = field(default_factory=Backoff)
    retry_rules: RetryRules = field(default_factory=RetryRules)
    priority_advice: Callable[[], str] = field(default=lambda: "", compare=False)
    """The remedy in the error about a priority in a queue that was declared without priorities."""
    compression: Compression | None = None
    """None: bodies travel as they are encoded."""
    cancels_strictly: bool = False
    """Each message's record of cancellation is read before it starts."""
    result: ResultPolicy | None = None
    """None: what handlers return is not kept."""
    signing: Signing | None = None
    """None: messages are neither signed nor verified."""
    unique: UniqueRule | None = None
    """None: messages are unique only where their publish says so."""
    tasks: tuple[str, ...] = ()
    """Names of the tasks that its consumers have, if all of them have nothing but tasks."""
    lanes: LaneRule | None = None
    """How a message finds its lane; None: the queue has no lanes."""
    worker_limit: Limit | None = None
    """The part of its limit that its driver does not keep: workers keep it, in the store of its state."""
