"""``queue.consumer``: one queue, one function, one pool of workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from tasuki.fields.kinds import Kind
from tasuki.fields.types import Config, Flag, Id, Positive, PositiveDuration
from tasuki.kinds.entries.lifecycle import CONSUMER_REFERENCES, ConsumerLifecycleConfig, RetryConfig


def _at_most(name: str, maximum: int) -> Callable[[int], int]:
    def check(value: int) -> int:
        if value > maximum:
            raise PydanticCustomError("exact", "{problem}", {"problem": f"{name} {value} exceeds maximum {maximum}"})
        return value

    return check


MOST_CONCURRENCY = 1000

Concurrency = Annotated[Positive, AfterValidator(_at_most("concurrency", MOST_CONCURRENCY))]
"""Messages handled at the same time."""


class ConsumerConfig(Config):
    """A consumer: receives messages from a queue and calls a function with each."""

    other_names: ClassVar = {
        "handler": "did you mean 'func'?",
        "function": "did you mean 'func'?",
        "workers": "did you mean 'concurrency'?",
        "timeout": "did you mean 'handler_timeout'?",
        "dead_letter": "the queue has it",
        "max_attempts": "the queue has it, as dead_letter.max_attempts",
    }

    queue: Id
    """The queue that it consumes."""
    func: Id
    """The function that handles the messages."""
    concurrency: Concurrency = 1
    """Messages handled at the same time; with shared workers the default is theirs, or a smaller prefetch if stated."""
    prefetch: Annotated[Positive, AfterValidator(_at_most("prefetch", 10000))] = 10
    """Most messages held at a time, waiting or being handled."""
    auto_ack: Flag = False
    """Settle before the function runs: a message is handled at most once, and lost if that fails."""
    handler_timeout: PositiveDuration | None = None
    """Longest time for one message."""
    retry: RetryConfig | None = None
    """How long to wait before a failed message is shown again, and after which failures; the queue's if not given."""
    middleware: list[Id] = Field(default_factory=list)
    """Middleware around the function, the first one outermost."""
    driver_options: dict[str, Any] = Field(default_factory=dict)
    """Options for the queue's driver, or by driver: driver_options.<driver>."""
    lifecycle: ConsumerLifecycleConfig = ConsumerLifecycleConfig()
    """When it starts and stops, and its identity."""


_REFERENCES = {"queue": ("queue.queue",), "func": ("function",), "middleware.*": ("middleware",), **CONSUMER_REFERENCES}
KINDS = (Kind("queue.consumer", ConsumerConfig, _REFERENCES),)
