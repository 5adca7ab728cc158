"""Tasks: functions of consumers by name, and the rules that hold between them and the rest of the project."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasuki.fields.types import Config
from tasuki.ids import resolve_id
from tasuki.kinds.entries.consumer import ConsumerConfig, TaskConfig
from tasuki.kinds.entries.function import PythonFunctionConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.queues.messages.body_type import BodyType
from tasuki.registry.entry import KeyPath
from tasuki.registry.registry import Registry

Finding = tuple[str, KeyPath, str, str]
"""Entry, place in it, problem and remedy."""


def problems_of_tasks(registry: Registry, configs: Mapping[str, Config]) -> Iterator[Finding]:
    """Every problem of a consumer with tasks."""
    consumers = {id: config for id, config in configs.items() if isinstance(config, ConsumerConfig)}
    for id, consumer in consumers.items():
        queue = configs.get(consumer.queue)
        has_letters = not isinstance(queue, QueueConfig) or queue.dead_letter is not None
        if consumer.retry is not None and consumer.retry.max_attempts is not None and not has_letters:
            problem = f"queue {consumer.queue!r} has no dead_letter, so its messages are never given up"
            yield id, ("retry", "max_attempts"), problem, "give the queue a dead_letter"
        if not consumer.funcs:
            continue
        yield from _of_queue(registry, configs, id, consumer)
        yield from _of_others(consumers, id, consumer)
        for name, task in consumer.funcs.items():
            yield from _of_functions(configs, id, name, task)


def _of_queue(
    registry: Registry, configs: Mapping[str, Config], id: str, consumer: ConsumerConfig
) -> Iterator[Finding]:
    queue = configs.get(consumer.queue)
    body = entry.target if (entry := registry.get(consumer.queue)) is not None else None
    if isinstance(body, BodyType):
        problem = f"queue {consumer.queue!r} takes {body} (declared at {body.place}), and its tasks take arguments"
        yield id, ("funcs",), problem, "remove the type of the queue, or give the tasks a queue of their own"
    if not isinstance(queue, QueueConfig) or queue.dead_letter is not None:
        return
    for name, task in consumer.funcs.items():
        fields = {
            "retry.max_attempts": task.retry is not None and task.retry.max_attempts is not None,
            "on_give_up": task.on_give_up is not None,
        }
        for field in (field for field, is_given in fields.items() if is_given):
            problem = (
                f"task {name!r} has {field}, but queue {consumer.queue!r} has no dead_letter: it is never given up"
            )
            yield id, ("funcs", name, *field.split(".")), problem, "give the queue a dead_letter"


def _of_others(consumers: Mapping[str, ConsumerConfig], id: str, consumer: ConsumerConfig) -> Iterator[Finding]:
    """Other consumers of the same queue without the same tasks: they would receive messages that they cannot handle."""
    for other_id, other in consumers.items():
        if other.queue == consumer.queue and other.funcs.keys() != consumer.funcs.keys():
            problem = f"it takes messages of queue {other.queue!r} too, whose tasks belong to {id!r}"
            yield other_id, ("queue",), problem, "let one consumer have them all, or use another queue"


def _of_functions(configs: Mapping[str, Config], id: str, name: str, task: TaskConfig) -> Iterator[Finding]:
    config = configs.get(task.on_give_up) if task.on_give_up is not None else None
    path = ("funcs", name, "on_give_up")
    if isinstance(config, PythonFunctionConfig) and config.isolation == "process":
        yield id, path, "on_give_up gets the error itself, so its function cannot have isolation: process", "remove it"


def roles(configs: Mapping[str, Config]) -> Mapping[str, tuple[str, str]]:
    """Python function → its first use: ``task``, ``on_give_up``, ``batch`` or ``func``, and the consumer."""
    found: dict[str, tuple[str, str]] = {}
    for id, function, role in _uses(configs):
        found.setdefault(function, (role, id))
    return found


def roles_in_broken(registry: Registry, configs: Mapping[str, Config]) -> Mapping[str, tuple[str, str]]:
    """The same for the tasks of consumers that have no config, as one of their fields is wrong."""
    found: dict[str, tuple[str, str]] = {}
    for entry in registry.entries.values():
        funcs = entry.data.get("funcs") if entry.kind == "queue.consumer" and entry.id not in configs else None
        for task in funcs.values() if isinstance(funcs, Mapping) else ():
            fields = task if isinstance(task, Mapping) else {"func": task}
            for field, role in (("func", "task"), ("on_give_up", "on_give_up")):
                if isinstance(function := fields.get(field), str):
                    found.setdefault(resolve_id(function, entry.namespace), (role, entry.id))
    return found


def called_in_two_ways(configs: Mapping[str, Config]) -> Iterator[Finding]:
    """Python functions that get a body here and arguments there."""
    first = roles(configs)
    for id, function, role in _uses(configs):
        known, by = first[function]
        if known != role and isinstance(configs.get(function), PythonFunctionConfig):
            problem = f"function {function!r} is a {role} here, and a {known} of {by!r}: they are called differently"
            yield id, (), problem, "declare the function twice, once for each"


def _uses(configs: Mapping[str, Config]) -> Iterator[tuple[str, str, str]]:
    """Consumer, function and role."""
    for id, config in configs.items():
        if isinstance(config, ConsumerConfig):
            if config.func:
                yield id, config.func, "batch" if config.batch is not None else "func"
            for task in config.funcs.values():
                yield id, task.func, "task"
                if task.on_give_up:
                    yield id, task.on_give_up, "on_give_up"
