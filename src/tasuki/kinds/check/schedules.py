"""Checks of schedules: the options of their queues, and that their messages can be published and handled."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from tasuki.contracts.codec import Codec
from tasuki.errors import CodecError, HandlerError, InvalidBodyError, PublishError
from tasuki.fields.types import Config, DriverKind, Kind
from tasuki.handlers.arguments import TaskArguments
from tasuki.handlers.body import make_decoder
from tasuki.handlers.load import prepare
from tasuki.kinds.check.consumers import Finding
from tasuki.kinds.check.functions import Provided, problems_of_providers
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.lifecycle import DriverConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.kinds.kind import all_capabilities, capabilities_of
from tasuki.message import MESSAGE_TYPE
from tasuki.queues.messages.body_type import BodyType
from tasuki.queues.messages.codec import Codecs, unchanged
from tasuki.queues.messages.headers import check_headers
from tasuki.registry.entry import KeyPath, Registry, did_you_mean
from tasuki.schedules.schedule import SCHEDULE, SCHEDULED_FOR
from tasuki.units import format_duration

_LONGEST_ID = 230
"""Characters of a schedule's id, so that the ids of its messages are not too long."""

_SHORTER = f"write at most {_LONGEST_ID} with the namespace"


def problems_of_schedules(configs: Mapping[str, Config], kinds: Mapping[str, Kind]) -> Iterator[Finding]:
    """Every problem between a schedule and its queue."""
    tasks: dict[str, set[str]] = {}
    for config in configs.values():
        if isinstance(config, ConsumerConfig):
            tasks.setdefault(config.queue, set()).update(config.funcs)
    for id, schedule in configs.items():
        if isinstance(schedule, ScheduleConfig):
            if len(id) > _LONGEST_ID:
                yield id, ("name",), f"its id has {len(id)} characters, and its messages are named by it", _SHORTER
            yield from _of_driver(configs, kinds, id, schedule)
            yield from _of_task(tasks.get(schedule.queue, set()), id, schedule)


def _of_driver(
    configs: Mapping[str, Config], kinds: Mapping[str, Kind], id: str, schedule: ScheduleConfig
) -> Iterator[Finding]:
    queue = configs.get(schedule.queue)
    driver = configs.get(queue.driver) if isinstance(queue, QueueConfig) else None
    if not isinstance(queue, QueueConfig) or not isinstance(driver, DriverConfig):
        return
    kind = kinds[queue.driver]
    capabilities = capabilities_of(kind) if isinstance(kind, DriverKind) else None
    if not isinstance(kind, DriverKind) or capabilities is None:
        return
    if schedule.overlap == "skip" and "running" not in capabilities.unique:
        able = [name for name, has in all_capabilities().items() if "running" in has.unique]
        problem = f"overlap: skip needs a driver that keeps one message per key until it is done; {queue.driver!r} "
        yield id, ("overlap",), f"{problem}({kind.short_name}) cannot", f"these can: {', '.join(able)}"
    if queue.unique is not None and queue.unique.on_conflict == "extend" and schedule.overlap != "skip":
        problem = (
            f"queue {schedule.queue!r} delays its unique messages again (on_conflict: extend), and ticks have no delay"
        )
        yield id, ("queue",), problem, "publish to a queue without that rule, or write overlap: skip"
    longest = capabilities.max_delay
    if longest is not None and schedule.jitter > longest:
        problem = f"jitter is {format_duration(schedule.jitter)}, and {queue.driver!r} ({kind.short_name}) "
        most = f"delays messages for {format_duration(longest)} at most"
        yield id, ("jitter",), problem + most, f"write {format_duration(longest)} or less"
    if not capabilities.has("store") and not queue.state and not driver.state:
        problem = (
            f"queue {schedule.queue!r} has no state in which to note the last tick: {kind.short_name} has no store"
        )
        yield id, ("queue",), problem, f"give {schedule.queue!r} or {queue.driver!r} a store: state: <id of a store.…>"


def _of_task(tasks: set[str], id: str, schedule: ScheduleConfig) -> Iterator[Finding]:
    if schedule.task is None or schedule.task in tasks:
        return
    known = f"its tasks are {', '.join(sorted(tasks))}" if tasks else "its consumer has no tasks"
    yield (
        id,
        ("task",),
        f"queue {schedule.queue!r} has no task {schedule.task!r}",
        did_you_mean(schedule.task, tasks) or known,
    )


_Read = tuple[str, Callable[[bytes], Any], str]
"""Who takes a body, how it reads one, and what to write instead."""


def problems_of_scheduled(registry: Registry, configs: Mapping[str, Config]) -> Iterator[Finding]:
    """Every problem of a message that a schedule would publish at each tick."""
    schedules = {id: config for id, config in configs.items() if isinstance(config, ScheduleConfig)}
    if not schedules:
        return
    provided, codecs = Provided(), Codecs()
    deque(problems_of_providers(registry, configs, provided), maxlen=0)
    readers: dict[tuple[str, str | None], _Read | None] = {}
    for id, schedule in schedules.items():
        queue = configs.get(schedule.queue)
        codec = codecs.get(queue.codec) if isinstance(queue, QueueConfig) else None
        if not isinstance(queue, QueueConfig) or codec is None:
            continue
        key = schedule.queue, schedule.task
        if key not in readers:
            readers[key] = _reader(registry, configs, key, codec, provided) if provided.is_complete else None
        for path, problem, hint in _of_message(schedule, queue, codec, readers[key]):
            yield id, path, problem, hint


def _of_message(
    schedule: ScheduleConfig, queue: QueueConfig, codec: Codec, reader: _Read | None
) -> Iterator[tuple[KeyPath, str, str]]:
    try:
        check_headers(schedule.headers)
        own = {SCHEDULE, SCHEDULED_FOR, *([MESSAGE_TYPE] if schedule.task is not None else ())}
        for name in sorted(own & schedule.headers.keys()):
            yield ("headers", name), f"header {name!r} is set by the schedule itself", "use another name"
    except PublishError as error:
        yield ("headers",), str(error), "use another name"
    body = (schedule.body or {}) if schedule.task is not None else schedule.body
    try:
        encoded = unchanged(codec)(body) if schedule.task is None else codec.encode(body)
    except CodecError as error:
        yield ("body",), f"queue {schedule.queue!r} ({codec.name}): {error}", "write plain data"
        return
    if len(encoded) > queue.max_message_size:
        problem = f"a body of {len(encoded)} bytes is larger than max_message_size of {schedule.queue!r}"
        yield ("body",), f"{problem} ({queue.max_message_size} bytes)", "publish the name of its place instead"
    elif reader is not None:
        who, read, hint = reader
        try:
            read(encoded)
        except (InvalidBodyError, CodecError) as error:
            yield ("body",), f"{who}: {str(error).removeprefix('the body does not fit: ')}", hint


def _reader(
    registry: Registry, configs: Mapping[str, Config], key: tuple[str, str | None], codec: Codec, provided: Provided
) -> _Read | None:
    """How the messages of a queue, or of one of its tasks, are read; None: what code declares does not tell."""
    id, task = key
    entry = registry.get(id)
    if task is None and entry is not None and isinstance(entry.target, BodyType):
        body = entry.target
        who = f"queue {id!r} takes {body} (declared at {body.place}), and the body of this schedule is not one"
        return who, make_decoder(codec, body.type_), "give it body: …"
    tasks = {
        name: each.func
        for config in configs.values()
        if isinstance(config, ConsumerConfig) and config.queue == id
        for name, each in config.funcs.items()
    }
    if task is None or (function := registry.get(tasks.get(task, ""))) is None or not callable(function.target):
        return None
    return _read_task(task, function.target, codec, provided.types)


def _read_task(task: str, target: Any, codec: Codec, types: Collection[Any]) -> _Read | None:
    try:
        arguments = TaskArguments(prepare(target, "function"), types)
    except HandlerError:  # reported at the function
        return None
    names = ", ".join(arguments.names)
    hint = f"its arguments are {names}: give them with args={{…}}, in YAML body: {{…}}"
    hint = hint if names else "it takes no arguments: remove them"
    return f"task {task!r} cannot take the arguments of this schedule", arguments.decoder(codec), hint
