"""Operations: the messages that consumers receive and answer, and that schedules, queues, tasks and policies send."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasuki.kinds.asyncapi.bodies import Bodies
from tasuki.kinds.asyncapi.channels import AMQP_BINDING, extensions
from tasuki.kinds.asyncapi.names import ERROR, Names, in_channel
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.kinds.entries.security import AnyPolicyConfig
from tasuki.message import REPLY_TO
from tasuki.queues.messages.body_type import BodyType

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
