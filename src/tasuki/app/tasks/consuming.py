"""The consumers of an assembly, made from their entries; imported only by a process that has consumers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasuki.app.tasks.called import idempotency_of, policy_of
from tasuki.consumers.batch import Batching
from tasuki.consumers.consumer import Consumer
from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.fetching.keeper import Keeper
from tasuki.consumers.handling.shared import Share
from tasuki.kinds.check.conflicts import has_limit
from tasuki.kinds.check.consumers import Shared, concurrency_of, prefetch_of
from tasuki.kinds.entries.consumer import ConsumerConfig

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly


def build_consumer(
    assembly: Assembly, id: str, config: ConsumerConfig, keeper: Keeper, shared: Shared, share: Share | None
) -> Consumer:
    """The consumer of an entry; its queue, its dead-letter queue and its handler are there already."""
    queue = assembly.queues[config.queue]
    dead_letter = queue.policy.dead_letter
    return Consumer(
        id,
        queue=queue,
        handler=assembly.handler_of(id),
        host=assembly,
        keeper=keeper,
        policy=policy_of(config, queue, assembly.clock),
        options=ConsumerOptions(
            concurrency=concurrency_of(config, shared),
            prefetch=prefetch_of(config, shared, is_limited=has_limit(assembly.project.configs[queue.id])),
            auto_ack=config.auto_ack,
            handler_timeout=config.handler_timeout,
            batch=Batching(config.batch.size, config.batch.wait) if config.batch else None,
            idempotency=idempotency_of(config),
        ),
        dead_letters=assembly.queues[dead_letter] if dead_letter else None,
        clock=assembly.clock,
        middleware=assembly.middleware_of(config),
        share=share,
        state=assembly.state_of(config.queue),
    )
