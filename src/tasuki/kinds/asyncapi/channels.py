"""Channels: the queues of a project with their rules, and the queues that replies go to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tasuki.drivers.sqs.names import broker_name
from tasuki.fields.types import Config
from tasuki.kinds.asyncapi.bodies import Bodies
from tasuki.kinds.asyncapi.names import ERROR, Names, messages_of_channel
from tasuki.kinds.asyncapi.servers import place_of
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.queue import QueueConfig

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
