"""Checks of consumers: tasks, batches, shared workers, exceptions of retry rules, and stores for idempotency."""

from __future__ import annotations

import builtins
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec

from tasuki.consumers.fetching.window import MAX_PREFETCH
from tasuki.fields.types import Config, DriverKind, Kind
from tasuki.ids import resolve_id
from tasuki.kinds.entries.consumer import ConsumerConfig, TaskConfig, WorkerConfig
from tasuki.kinds.entries.function import PythonFunctionConfig
from tasuki.kinds.entries.lifecycle import DriverConfig, RetryConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.kind import all_capabilities, capabilities_of
from tasuki.queues.messages.body_type import BodyType
from tasuki.registry.entry import KeyPath, Registry, did_you_mean

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
        yield id, ("funcs",), problem, "remove the type of the queue, or give the tasks their own queue"
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


Shared = Mapping[str, tuple[str, WorkerConfig]]
"""Queue → its shared workers, as entry id and fields; without the queues whose consumers have their own workers."""


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


def concurrency_by_function(consumers: Iterable[ConsumerConfig], shared: Shared) -> Counter[str]:
    """Function → messages that all its consumers together may handle at the same time."""
    found = Counter[str]()
    for consumer in consumers:
        found.update(dict.fromkeys(consumer.functions, concurrency_of(consumer, shared)))
    return found


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
    if "prefetch" in consumer.model_fields_set:
        return consumer.prefetch
    return max(consumer.prefetch, concurrency_of(consumer, shared))


def follows_handler(consumer: ConsumerConfig, queue: QueueConfig, *, is_limited: bool = False) -> bool:
    """Whether the window of a consumer begins with its ``prefetch``, and then follows the speed of its handler.

    In a fair ``queue`` it does not: a message of a quiet lane would wait behind all that the consumer holds.
    """
    is_stated = "prefetch" in consumer.model_fields_set or consumer.batch is not None or is_limited
    return not is_stated and queue.fair is None


def windows_too_small(configs: Mapping[str, Config]) -> Iterator[Finding]:
    """A ``prefetch`` that leaves workers without messages: for the warnings."""
    shared = shared_workers(configs)
    for id, config in configs.items():
        if isinstance(config, ConsumerConfig) and config.queue not in shared:
            most, held = concurrency_of(config, shared), config.prefetch
            if "prefetch" in config.model_fields_set and held < most:
                problem = f"prefetch {held} is less than concurrency {most} and is raised to it"
                yield (
                    id,
                    ("prefetch",),
                    problem,
                    f"write prefetch: {most} or more, or leave it out: it follows the handler",
                )


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


def problems_of_batches(configs: Mapping[str, Config]) -> Iterator[Finding]:
    """Every function that a consumer with ``batch`` cannot call as it is isolated."""
    for id, config in configs.items():
        if not isinstance(config, ConsumerConfig) or config.batch is None or config.func is None:
            continue
        function = configs.get(config.func)
        if isinstance(function, PythonFunctionConfig) and function.isolation == "process":
            problem = f"function {config.func!r} has isolation: process, and takes messages one by one"
            yield id, ("batch",), problem, "remove isolation from the function, or batch here"


KINDS = (
    "NotFound", "AlreadyExists", "Invalid", "PermissionDenied", "Unavailable", "Internal", "Canceled", "Conflict",
    "Timeout", "RateLimited",
)  # fmt: skip

_NEAR = 0.8


def unknown_exceptions(configs: Mapping[str, Config]) -> Iterator[Finding]:
    """Each name that is nearly one of a known exception, or names a module that has no such exception.

    Any other name may be one that is imported later.
    """
    for id, config in configs.items():
        for path, retry in _retries(config):
            for field in ("never", "on"):
                for name in getattr(retry, field):
                    if hint := _unknown(name):
                        problem = f"retry.{field} names {name!r}, which is no exception and no kind of error"
                        yield id, (*path, field), problem, hint


def _retries(config: Config) -> Iterator[tuple[KeyPath, RetryConfig]]:
    if isinstance(config, QueueConfig | ConsumerConfig) and config.retry is not None:
        yield ("retry",), config.retry
    if isinstance(config, ConsumerConfig):
        for name, task in config.funcs.items():
            if task.retry is not None:
                yield ("funcs", name, "retry"), task.retry


def _unknown(name: str) -> str:
    """The remedy for a name that no exception has; empty: it may have one."""
    module, _, last = name.rpartition(".")
    if module:
        loaded = sys.modules.get(module)
        if loaded is not None:
            members = [key for key, value in vars(loaded).items() if _is_exception(value)]
            return "" if _is_exception(getattr(loaded, last, None)) else did_you_mean(last, members) or _hint(module)
        return (
            "" if _has_package(module.partition(".")[0]) or module.partition(".")[0] in sys.modules else _hint(module)
        )
    known = {key for key, value in vars(builtins).items() if _is_exception(value)} | set(KINDS) | _loaded()
    return "" if name in known else did_you_mean(name, sorted(known), cutoff=_NEAR)


def _hint(module: str) -> str:
    return f"name an exception class of module {module!r}, or the class alone"


def _has_package(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _is_exception(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def _loaded() -> set[str]:
    """The names of all exception classes of this process."""
    todo, seen = [BaseException], {BaseException}
    while todo:
        new = set(type.__subclasses__(todo.pop())) - seen
        seen |= new
        todo += new
    return {each.__name__ for each in seen}


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
