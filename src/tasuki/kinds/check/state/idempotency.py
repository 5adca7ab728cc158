"""Idempotency: checks that a store remembers the keys of a consumer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasuki.fields.kinds import DriverKind, Kind
from tasuki.fields.types import Config
from tasuki.kinds.capabilities import all_capabilities, capabilities_of
from tasuki.kinds.check.tasks import Finding
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.driver import DriverConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.registry.entry import KeyPath


def problems_of_idempotency(configs: Mapping[str, Config], kinds: Mapping[str, Kind]) -> Iterator[Finding]:
    """Every consumer with a key whose queue has no state."""
    for id, consumer in configs.items():
        if isinstance(consumer, ConsumerConfig) and (path := _asked(consumer)) is not None:
            queue = configs.get(consumer.queue)
            driver = configs.get(queue.driver) if isinstance(queue, QueueConfig) else None
            kind = kinds[queue.driver] if isinstance(queue, QueueConfig) and isinstance(driver, DriverConfig) else None
            if not isinstance(kind, DriverKind) or not isinstance(queue, QueueConfig):
                continue
            capabilities = capabilities_of(kind)
            has_state = queue.state is not None or getattr(driver, "state", None) is not None
            if capabilities is None or capabilities.has("store") or has_state:
                continue
            able = ", ".join(name for name, has in all_capabilities().items() if has.has("store"))
            problem = f"idempotency needs a state, and queue {consumer.queue!r} has none: {queue.driver!r} "
            hint = f"write 'state: <id of a store>' at the queue or its driver; these drivers have one: {able}"
            yield id, path, f"{problem}({kind.short_name}) has no store", hint


def _asked(consumer: ConsumerConfig) -> KeyPath | None:
    """Where a consumer, or one of its tasks, says it."""
    if consumer.idempotency is not None:
        return ("idempotency",)
    return next((("funcs", name, "idempotency") for name, task in consumer.funcs.items() if task.idempotency), None)
