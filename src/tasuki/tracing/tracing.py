"""Tracing: the traces of one app, and the parts of them that its queues and consumers need."""

from __future__ import annotations

from typing import Any

from tasuki.errors import UnsupportedError
from tasuki.tracing.consumer import ConsumerTracing
from tasuki.tracing.deciding import TraceOptions
from tasuki.tracing.names import target_of
from tasuki.tracing.queue import QueueTracing
from tasuki.tracing.spans import Spans


class Tracing:
    """Makes the tracing of queues and consumers.

    ``provider``: of tracers; None: the global one. ``version``: of Tasuki.

    Raises:
        UnsupportedError: the provider makes no tracers.
    """

    def __init__(self, options: TraceOptions, provider: Any = None, version: str = "") -> None:
        if provider is not None and not hasattr(provider, "get_tracer"):
            raise UnsupportedError(f"traces: a tracer provider has get_tracer, and {type(provider).__name__} has not")
        self.options = options
        self.spans = Spans(provider, version=version, with_baggage=options.baggage)

    def of_queue(self, queue: str, driver: str, server: tuple[str, int | None] | None) -> QueueTracing:
        """Of one queue on a kind of driver; ``server``: host and port of its broker."""
        return QueueTracing(self.spans, self.options, target_of(queue, driver, server))

    def of_consumer(
        self, consumer: str, queue: str, driver: str, server: tuple[str, int | None] | None
    ) -> ConsumerTracing:
        """Of one consumer, on a queue of a kind of driver."""
        return ConsumerTracing(self.spans, self.options, target_of(queue, driver, server), consumer)
