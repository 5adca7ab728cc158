"""Scheduled messages: checks that each can be published, and that its handler takes it, as far as the code shows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from tasuki.contracts.codec import Codec
from tasuki.errors import CodecError, HandlerError, InvalidBodyError, PublishError
from tasuki.fields.types import Config
from tasuki.handlers.arguments import TaskArguments
from tasuki.handlers.body import make_decoder
from tasuki.handlers.load import prepare
from tasuki.kinds.check.python.providers import Provided, problems_of_providers
from tasuki.kinds.check.tasks import Finding
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.message import MESSAGE_TYPE
from tasuki.queues.messages.body_type import BodyType
from tasuki.queues.messages.codec import Codecs, unchanged
from tasuki.queues.messages.headers import check_headers
from tasuki.registry.entry import KeyPath
from tasuki.registry.registry import Registry
from tasuki.schedules.schedule import SCHEDULE, SCHEDULED_FOR

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
    return _of_task(task, function.target, codec, provided.types)


def _of_task(task: str, target: Any, codec: Codec, types: Collection[Any]) -> _Read | None:
    try:
        arguments = TaskArguments(prepare(target, "function"), types)
    except HandlerError:  # reported at the function
        return None
    names = ", ".join(arguments.names)
    hint = f"its arguments are {names}: give them with args={{…}}, in YAML body: {{…}}"
    hint = hint if names else "it takes no arguments: remove them"
    return f"task {task!r} cannot take the arguments of this schedule", arguments.decoder(codec), hint
