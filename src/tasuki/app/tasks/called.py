"""The handler of a consumer: its function, or its tasks with their rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf

from tasuki.clock import Clock
from tasuki.consumers.handling.idempotency import Idempotency
from tasuki.consumers.handling.tasks import Task, Tasks
from tasuki.consumers.settling.verdict import RetryPolicy
from tasuki.contracts.handler import Handler
from tasuki.contracts.values import SHORTEST_DELAY
from tasuki.kinds.entries.consumer import ConsumerConfig, TaskConfig
from tasuki.queues.policy import limits_of
from tasuki.queues.queue import Queue


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
    if isinstance(before, Tasks) and (before.tasks, before.default) == (tasks, default):
        return before
    return Tasks(id, tasks, default)


def _task(task: TaskConfig, config: ConsumerConfig, policy: RetryPolicy, handlers: Mapping[str, Handler]) -> Task:
    if task.retry is not None:
        most = task.retry.max_attempts or policy.max_attempts
        policy = replace(policy, backoff=task.retry.backoff(), rules=task.retry.rules(), max_attempts=most)
    return Task(
        handlers[task.func],
        policy,
        task.handler_timeout or config.handler_timeout,
        handlers[task.on_give_up] if task.on_give_up else None,
    )
