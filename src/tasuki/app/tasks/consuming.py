"""Consumers and their handlers, made from entries; imported only by a process that has consumers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from tasuki.clock import Clock
from tasuki.consumers.batch import Batching
from tasuki.consumers.consumer import Consumer
from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.fetching.keeper import Keeper
from tasuki.consumers.handling.idempotency import Idempotency
from tasuki.consumers.handling.shared import Share
from tasuki.consumers.handling.tasks import ConsumerTask, TaskHandlers
from tasuki.consumers.settling.verdict import RetryPolicy
from tasuki.contracts.handler import Handler
from tasuki.contracts.values import SHORTEST_DELAY
from tasuki.kinds.check.conflicts import has_limit
from tasuki.kinds.check.consumers import Shared, concurrency_of, follows_handler, prefetch_of
from tasuki.kinds.entries.consumer import ConsumerConfig, TaskConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.queues.policy import limits_of
from tasuki.queues.queue import Queue

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly


def policy_of(config: ConsumerConfig, queue: Queue, clock: Clock) -> RetryPolicy:
    """When a consumer tries again and when it gives up."""
    retry, longest = config.retry, queue.driver.capabilities.max_delay
    has_rate = any(limit.rate is not None for limit in limits_of(queue.spec, queue.policy))
    return RetryPolicy(
        backoff=retry.backoff() if retry else queue.policy.retry,
        max_attempts=(retry and retry.max_attempts) or queue.policy.max_attempts,
        has_dead_letter=queue.policy.dead_letter is not None,
        drops_expired=queue.policy.drop_expired,
        rules=retry.rules() if retry else queue.policy.retry_rules,
        max_delay=inf if longest is None else longest,
        shortest_snooze=SHORTEST_DELAY if has_rate else 0.0,
        clock=clock,
    )


def idempotency_of(config: ConsumerConfig) -> dict[str | None, Idempotency]:
    """By which keys a consumer works once: for each task with its own rule, and, by None, for all else."""
    rules: dict[str | None, Idempotency] = {} if config.idempotency is None else {None: config.idempotency.rule()}
    rules.update({name: task.idempotency.rule() for name, task in config.funcs.items() if task.idempotency})
    return rules


def handler_for(
    id: str,
    config: ConsumerConfig,
    queue: Queue,
    handlers: Mapping[str, Handler],
    before: Handler | None,
    clock: Clock,
) -> Handler:
    """The handler of a consumer; ``before``, the one of the last version, if it has the same functions."""
    default = handlers[config.func] if config.func else None
    if not config.funcs:
        assert default is not None  # the model has seen to that
        return default
    policy = policy_of(config, queue, clock)
    tasks = {name: _task(task, config, policy, handlers) for name, task in config.funcs.items()}
    if isinstance(before, TaskHandlers) and (before.tasks, before.default) == (tasks, default):
        return before
    return TaskHandlers(id, tasks, default)


def _task(
    task: TaskConfig, config: ConsumerConfig, policy: RetryPolicy, handlers: Mapping[str, Handler]
) -> ConsumerTask:
    if task.retry is not None:
        most = task.retry.max_attempts or policy.max_attempts
        policy = replace(policy, backoff=task.retry.backoff(), rules=task.retry.rules(), max_attempts=most)
    return ConsumerTask(
        handlers[task.func],
        policy,
        task.handler_timeout or config.handler_timeout,
        handlers[task.on_give_up] if task.on_give_up else None,
    )


def build_consumer(
    assembly: Assembly, id: str, config: ConsumerConfig, keeper: Keeper, shared: Shared, share: Share | None
) -> Consumer:
    """The consumer of an entry; its queue, its dead-letter queue and its handler are there already."""
    queue = assembly.queues[config.queue]
    dead_letter = queue.policy.dead_letter
    declared = assembly.project.of(QueueConfig)[queue.id]
    is_limited = has_limit(declared)
    return Consumer(
        id,
        queue=queue,
        handler=assembly.handler_of(id),
        host=assembly,
        keeper=keeper,
        policy=policy_of(config, queue, assembly.clock),
        options=ConsumerOptions(
            concurrency=concurrency_of(config, shared),
            prefetch=prefetch_of(config, shared, is_limited=is_limited),
            follows=follows_handler(config, declared, is_limited=is_limited),
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
