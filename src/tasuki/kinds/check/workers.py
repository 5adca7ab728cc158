"""Shared workers: their queues, and the concurrency of each consumer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasuki.consumers.fetching.window import MAX_PREFETCH
from tasuki.fields.types import Config
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.worker import WorkerConfig
from tasuki.registry.entry import KeyPath

Shared = Mapping[str, tuple[str, WorkerConfig]]
"""Queue → its shared workers, as entry id and fields; without the queues whose consumers have their own workers."""

Finding = tuple[str, KeyPath, str, str]
"""Entry, place in it, problem and remedy."""


def shared_workers(configs: Mapping[str, Config]) -> Shared:
    """The shared workers of each queue; of two entries the first."""
    found: dict[str, tuple[str, WorkerConfig]] = {}
    for id, config in configs.items():
        if isinstance(config, WorkerConfig):
            for queue in config.queues:
                found.setdefault(queue, (id, config))
    return found


def concurrency_of(consumer: ConsumerConfig, shared: Shared) -> int:
    """Messages that a consumer may handle at the same time.

    A consumer with shared workers may use all of them, or as many as its ``concurrency`` or its ``prefetch`` allows.
    """
    if consumer.queue not in shared:
        return consumer.concurrency
    own = next((name for name in ("concurrency", "prefetch") if name in consumer.model_fields_set), None)
    most = shared[consumer.queue][1].concurrency
    return most if own is None else min(getattr(consumer, own), most)


def prefetch_of(consumer: ConsumerConfig, shared: Shared, *, is_limited: bool = False) -> int:
    """Messages that a consumer may hold; one that names no ``prefetch`` holds enough for its shared workers.

    With batches it holds a batch for each worker and gathers one more. ``is_limited``: its queue has a limit; a message
    that only waits here would take a place, and would start later than the rate has counted it, together with others.
    So it holds as many as it handles.
    """
    if is_limited and "prefetch" not in consumer.model_fields_set:
        size = 1 if consumer.batch is None else consumer.batch.size
        return min(size * concurrency_of(consumer, shared), MAX_PREFETCH)
    if consumer.batch is not None and "prefetch" not in consumer.model_fields_set:
        return min(consumer.batch.size * (concurrency_of(consumer, shared) + 1), MAX_PREFETCH)
    if consumer.queue not in shared or "prefetch" in consumer.model_fields_set:
        return consumer.prefetch
    return max(consumer.prefetch, concurrency_of(consumer, shared))


def served_twice(configs: Mapping[str, Config]) -> Iterator[Finding]:
    """Queues that two entries want to serve."""
    shared = shared_workers(configs)
    for id, config in configs.items():
        for number, queue in enumerate(config.queues if isinstance(config, WorkerConfig) else ()):
            if (first := shared[queue][0]) != id:
                problem = f"queue {queue!r} has shared workers already: {first!r}"
                yield id, ("queues", number), problem, "name it in one of them"


def without_effect(configs: Mapping[str, Config]) -> Iterator[Finding]:
    """Settings that shared workers leave without effect."""
    shared = shared_workers(configs)
    consumers = {id: config for id, config in configs.items() if isinstance(config, ConsumerConfig)}
    for queue in shared.keys() - {config.queue for config in consumers.values()}:
        id, workers = shared[queue]
        place = "queues", workers.queues.index(queue)
        yield id, place, f"queue {queue!r} has no consumer to share workers", "declare one, or remove the queue here"
    for id, consumer in consumers.items():
        most = concurrency_of(consumer, shared)
        if "concurrency" in consumer.model_fields_set and consumer.concurrency > most:
            workers_id = shared[consumer.queue][0]
            problem = f"concurrency {consumer.concurrency} is more than the {most} of its shared workers {workers_id!r}"
            yield id, ("concurrency",), problem, "lower it, or remove it to use all of them"
