"""The AsyncAPI document: its channels, its operations, and the document as a whole."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any

from tasuki.drivers.sqs.limits import broker_name
from tasuki.fields.types import Config, DriverKind
from tasuki.kinds.asyncapi.messages import ERROR, Names, header_schema, in_channel, message_objects, messages_of_channel
from tasuki.kinds.asyncapi.schemas import Bodies
from tasuki.kinds.asyncapi.servers import place_of
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.kinds.entries.security import AnyPolicyConfig
from tasuki.message import REPLY_TO
from tasuki.queues.messages.body_type import BodyType

AMQP_BINDING = "0.3.0"

SQS_BINDING = "0.2.0"

_MOST_VISIBLE = 43_200
"""Seconds of SQS's longest visibility timeout."""

_ALWAYS = ("retry", "lease", "max_message_size")

_SHOWN = (
    *_ALWAYS, "codec", "compress", "max_length", "overflow", "message_ttl", "on_expire", "durability", "ordering",
    "dedup_window", "unique", "limit", "fair", "result", "requires",
)  # fmt: skip
"""Fields that become extensions; the last ones only where they are not the default. ``signing`` has secrets."""


def channel_objects(project: Project, bodies: Bodies, names: Names) -> dict[str, Any]:
    """The channels by key: one for each queue, and for each driver with requests the one of its reply queues."""
    queues = project.of(QueueConfig)
    found = {names.channel(id): _of_queue(project, id, bodies, names) for id in queues}
    for driver in dict.fromkeys(queue.driver for queue in queues.values()):
        own = [body for body in bodies.all() if queues[body.queue].driver == driver and body.result is not Any]
        if own:
            found[names.replies(driver)] = {
                "title": f"Replies on {driver}",
                "description": "The reply queue of each process that sends requests; the header reply_to names it.",
                "address": None,
                "servers": names.servers_of(driver),
                "messages": messages_of_channel([*map(names.reply, own), names.message(ERROR)]),
            }
    return found


def extensions(config: Config, shown: Iterable[str], always: Iterable[str] = ()) -> dict[str, Any]:
    """Fields of an entry as ``x-tasuki-…``, in seconds and bytes; unless in ``always``, only if not the default."""
    names = list(shown)
    values = config.model_dump(mode="json", by_alias=True, include=set(names), exclude_none=True)
    defaults = {name: field.default for name, field in type(config).model_fields.items()}
    return {
        f"x-tasuki-{name.replace('_', '-')}": values[name]
        for name in names
        if name in values and (name in always or getattr(config, name) not in (defaults[name], [], {}, ()))
    }


def _of_queue(project: Project, id: str, bodies: Bodies, names: Names) -> dict[str, Any]:
    queue = project.configs[id]
    assert isinstance(queue, QueueConfig)
    messages = messages_of_channel([names.message(body.id) for body in bodies.of(id)])
    bindings = _bindings(project, id, queue)
    dead_letter = queue.dead_letter
    return {
        "title": id,
        "address": queue.queue_name,
        "servers": names.servers_of(queue.driver),
        "messages": messages,
        **({"bindings": bindings} if bindings else {}),
        "x-tasuki-queue": id,
        **(
            {
                "x-tasuki-dead-letter": {
                    "queue": dead_letter.queue,
                    "channel": names.channel(dead_letter.queue),
                    "max_attempts": dead_letter.max_attempts,
                }
            }
            if dead_letter
            else {}
        ),
        **extensions(queue, _SHOWN, _ALWAYS),
        **({"x-tasuki-signed": "required" if queue.signing.required else "verified"} if queue.signing else {}),
    }


def _bindings(project: Project, id: str, queue: QueueConfig) -> dict[str, Any]:
    """The bindings of a queue's channel; NATS and Redis define empty ones, other brokers none."""
    kind = project.driver_of(id)
    options: dict[str, Any] = queue.options
    if kind.short_name == "amqp":
        driver: Any = project.configs[queue.driver]
        return {
            "amqp": {
                "is": "queue",
                "queue": {
                    "name": queue.queue_name,
                    "durable": options.get("durable", True),
                    "exclusive": options.get("exclusive", False),
                    "autoDelete": options.get("auto_delete", False),
                    "vhost": place_of(kind, driver).path[1:] or "/",
                },
                "bindingVersion": AMQP_BINDING,
            }
        }
    if kind.short_name == "sqs":
        return {"sqs": {"queue": _sqs(queue, options), "bindingVersion": SQS_BINDING}}
    return {}


def _sqs(queue: QueueConfig, options: dict[str, Any]) -> dict[str, Any]:
    is_fifo = queue.ordering == "key" or queue.dedup_window is not None or queue.queue_name.endswith(".fifo")
    kept, delay = options.get("message_retention_period"), options.get("default_delay_seconds")
    return {
        "name": broker_name(queue.queue_name, is_fifo=is_fifo),
        "fifoQueue": is_fifo,
        "visibilityTimeout": min(max(round(queue.lease), 0), _MOST_VISIBLE),
        **({"messageRetentionPeriod": round(kept)} if kept else {}),
        **({"deliveryDelay": round(delay)} if delay else {}),
    }


PUBLISH = "queue.publish.queue"
"""The action that a policy allows."""

_OF_CONSUMER = ("concurrency", "prefetch", "batch", "auto_ack", "handler_timeout", "retry", "idempotency")

_OF_SCHEDULE = ("cron", "every", "timezone", "catch_up", "overlap", "jitter", "enabled")


def operation_objects(project: Project, bodies: Bodies, names: Names) -> dict[str, Any]:
    """All operations by key: consumers, then schedules, then other publishers by queue."""
    found = {
        names.operation("receive", id): _receive(project, id, consumer, bodies, names)
        for id, consumer in project.of(ConsumerConfig).items()
    }
    for id, schedule in project.of(ScheduleConfig).items():
        found[names.operation("send", id)] = _scheduled(project, id, schedule, bodies, names)
    publishers = _publishers(project)
    for id in project.of(QueueConfig):
        if id in publishers:
            found[names.operation("publish", id)] = {
                "action": "send",
                "title": f"Publish to {id}",
                **_to(project, id, [names.message(body.id) for body in bodies.sent(id)], names),
                "x-tasuki-declared-by": publishers[id],
            }
    return found


def _receive(project: Project, id: str, consumer: ConsumerConfig, bodies: Bodies, names: Names) -> dict[str, Any]:
    channel, queue = names.channel(consumer.queue), project.configs[consumer.queue]
    assert isinstance(queue, QueueConfig)
    received = bodies.of(consumer.queue)
    answered = [names.reply(body) for body in received if body.queue == consumer.queue and body.result is not Any]
    replies = names.replies(queue.driver)
    reply = {
        "address": {
            "location": f"$message.header#/{REPLY_TO}",
            "description": "Only a message with this header is a request; all others are not answered.",
        },
        "channel": {"$ref": f"#/channels/{replies}"},
        "messages": in_channel(replies, [*answered, names.message(ERROR)]),
    }
    binding = {"amqp": {"ack": True, "bindingVersion": AMQP_BINDING}}
    return {
        "action": "receive",
        "title": id,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": in_channel(channel, [names.message(body.id) for body in received]),
        **({"bindings": binding} if project.driver_of(consumer.queue).short_name == "amqp" else {}),
        **({"reply": reply} if answered else {}),
        "x-tasuki-consumer": id,
        "x-tasuki-functions": consumer.functions,
        **extensions(consumer, _OF_CONSUMER, ("concurrency", "prefetch")),
    }


def _scheduled(project: Project, id: str, schedule: ScheduleConfig, bodies: Bodies, names: Names) -> dict[str, Any]:
    sent = bodies.sent(schedule.queue, schedule.task or "")
    values = schedule.model_dump(mode="json", include=set(_OF_SCHEDULE), exclude_none=True)
    return {
        "action": "send",
        "title": id,
        **_to(project, schedule.queue, [names.message(each.id) for each in sent], names),
        # Its body is left out: it is not part of the interface, and may hold anything.
        "x-tasuki-schedule": {"id": id, **{field: values[field] for field in _OF_SCHEDULE if field in values}},
    }


def _to(project: Project, queue: str, messages: list[str], names: Names) -> dict[str, Any]:
    channel = names.channel(queue)
    binding = {"amqp": {"deliveryMode": 2, "mandatory": True, "bindingVersion": AMQP_BINDING}}
    return {
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": in_channel(channel, messages),
        **({"bindings": binding} if project.driver_of(queue).short_name == "amqp" else {}),
    }


def _publishers(project: Project) -> dict[str, list[str]]:
    """Queue → what declares that the application publishes to it: ``type``, ``tasks``, and ids of policies."""
    entries = project.registry.entries
    places: dict[str, list[Any]] = {}
    with_tasks = set()
    for id, consumer in project.of(ConsumerConfig).items():
        places.setdefault(consumer.queue, []).append(entries[id].positions.get(()))
        if any(entries[task.func].target is not None for task in consumer.funcs.values()):
            with_tasks.add(consumer.queue)
    found: dict[str, list[str]] = {}
    for id in project.of(QueueConfig):
        declared = entries[id].target
        # Without its own type a queue has the type that its consumers read, and the place of the first of them.
        if isinstance(declared, BodyType) and declared.place not in places.get(id, ()):
            found.setdefault(id, []).append("type")
        if id in with_tasks:
            found.setdefault(id, []).append("tasks")
    for queue, policy in _allowed(project):
        found.setdefault(queue, []).append(policy)
    return found


def _allowed(project: Project) -> Iterator[tuple[str, str]]:
    """Each queue that a policy names and allows to publish to, with the id of the policy."""
    queues = project.of(QueueConfig)
    for id, config in project.of(AnyPolicyConfig).items():
        policy = config.policy.as_policy(id)
        if policy.effect == "allow" and any(each.matches(PUBLISH) for each in policy.actions):
            named = dict.fromkeys(each.core for each in policy.resources if each.form == "exact")
            yield from ((queue, id) for queue in named if queue in queues)


ASYNCAPI = "3.1.0"

NO_VERSION = "0.0.0"
"""The version of an application that states none."""


def asyncapi_of(project: Project, *, title: str | None = None, version: str | None = None) -> dict[str, Any]:
    """The AsyncAPI document of a checked project, as plain data that shares no part with another document.

    Handlers in Python are imported for their annotations; a log warning names each one that fails. No broker is asked.

    Args:
        project: every entry of it is known to be good.
        title: of the application; default: ``project.name`` of ``pyproject.toml`` in the project's folder, else the
            name of that folder.
        version: of the application; default: ``project.version`` there, else ``0.0.0``.
    """
    bodies = Bodies(project)
    drivers = [id for id, kind in project.kinds.items() if isinstance(kind, DriverKind)]
    names = Names(project, bodies, drivers)
    document = {
        "asyncapi": ASYNCAPI,
        "info": _info(project, title, version),
        "defaultContentType": "application/json",
        "servers": names.servers,
        "channels": channel_objects(project, bodies, names),
        "operations": operation_objects(project, bodies, names),
        "components": {
            "messages": message_objects(bodies, names, project.of(QueueConfig)),
            "schemas": {bodies.schemas.headers_key: header_schema(), **bodies.schemas.components},
        },
    }
    plain: dict[str, Any] = json.loads(json.dumps(document))
    return plain


def _info(project: Project, title: str | None, version: str | None) -> dict[str, str]:
    stated = _stated(project)
    folder = project.registry.root.resolve().name
    return {
        "title": title or str(stated.get("name") or folder or "app"),
        "version": version or str(stated.get("version") or NO_VERSION),
    }


def _stated(project: Project) -> dict[str, Any]:
    """``[project]`` of the ``pyproject.toml`` in the project's folder; nothing if there is none that can be read."""
    try:
        table = tomllib.loads((project.registry.root / "pyproject.toml").read_text("utf-8")).get("project", {})
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}
