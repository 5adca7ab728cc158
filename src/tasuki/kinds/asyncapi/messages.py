"""Message objects: the bodies of queues, tasks and replies with their headers, and the names of all objects."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tasuki import message as header
from tasuki.kinds.asyncapi.schemas import PLACE, Bodies, Body, Schemas, keys_of, plain_default
from tasuki.kinds.asyncapi.servers import server_objects
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.queues.messages.codec import BYTES, JSON
from tasuki.queues.messages.headers import ERROR_REPLY

Identity = tuple[str, ...]


ERROR: Identity = ("error",)
"""The message of a reply that says why there is no result."""


class Names:
    """The keys of the objects of one document, and its server objects."""

    def __init__(self, project: Project, bodies: Bodies, drivers: Sequence[str]) -> None:
        queues = project.of(QueueConfig)
        found = {(driver, str(at)): one for driver in drivers for at, one in enumerate(server_objects(project, driver))}
        self._servers = keys_of({id: id[0] if id[1] == "0" else f"{id[0]}-{int(id[1]) + 1}" for id in found})
        self.servers: Mapping[str, Any] = {self._servers[id]: server for id, server in found.items()}
        channels: dict[Identity, str] = {("queue", id): id for id in queues}
        self._channels = keys_of({**channels, **{("replies", driver): f"{driver}.replies" for driver in drivers}})
        operations: dict[Identity, str] = {("receive", id): id for id in project.of(ConsumerConfig)}
        operations.update({("send", id): id for id in project.of(ScheduleConfig)})
        operations.update({("publish", id): f"{id}.send" for id in queues})
        self._operations = keys_of(operations)
        messages: dict[Identity, str] = {ERROR: "TasukiError"}
        for body in bodies.all():
            messages[body.id] = f"{body.queue}.{body.task}" if body.task else body.queue
            messages["reply", *body.id] = f"{messages[body.id]}.reply"
        self._messages = keys_of(messages)

    def channel(self, queue: str) -> str:
        """The key of a queue's channel."""
        return self._channels["queue", queue]

    def replies(self, driver: str) -> str:
        """The key of the channel of the reply queues on a driver."""
        return self._channels["replies", driver]

    def operation(self, action: str, id: str) -> str:
        """The key of what an entry does: ``receive`` and ``send`` by its id, ``publish`` by the queue's."""
        return self._operations[action, id]

    def message(self, id: Identity) -> str:
        """The key of a message."""
        return self._messages[id]

    def reply(self, body: Body) -> str:
        """The key of the message that answers a request with this body."""
        return self._messages["reply", *body.id]

    def servers_of(self, driver: str) -> list[dict[str, str]]:
        """References to the servers of a driver."""
        return [{"$ref": f"#/servers/{key}"} for id, key in self._servers.items() if id[0] == driver]


def messages_of_channel(keys: Sequence[str]) -> dict[str, Any]:
    """The ``messages`` of a channel."""
    return {key: {"$ref": f"#/components/messages/{key}"} for key in keys}


def in_channel(channel: str, keys: Sequence[str]) -> list[dict[str, str]]:
    """The ``messages`` of an operation: some of the messages of its channel."""
    return [{"$ref": f"#/channels/{channel}/messages/{key}"} for key in keys]


_TEXT = {"type": "string"}

_TIME = {"type": "number", "description": "Seconds since 1970-01-01 00:00 UTC."}

_OURS = "Set by Tasuki alone. "


HEADERS: dict[str, Any] = {
    "type": "object",
    "description": "Headers of any message: those with a meaning, and headers of the publisher's own.",
    "properties": {
        header.TIMESTAMP: {"type": "integer", "description": "Seconds since 1970-01-01 00:00 UTC, of the publish."},
        header.CORRELATION_ID: {**_TEXT, "description": "Which request a reply answers."},
        header.REPLY_TO: {**_TEXT, "description": "The id of the queue that the reply to a request goes to."},
        header.CONTENT_TYPE: {**_TEXT, "description": "How the body is encoded: json/plain, json/plain+zstd, …"},
        header.MESSAGE_TYPE: {**_TEXT, "description": "The name of a task; error, for a reply that is one."},
        header.PRIORITY: {"type": "integer", "minimum": 0, "maximum": 9, "description": "9 comes first."},
        header.PARTITION_KEY: {**_TEXT, "description": "The key of the order."},
        header.TRACEPARENT: {**_TEXT, "description": "W3C Trace Context."},
        header.TRACESTATE: {**_TEXT, "description": "W3C Trace Context."},
        header.BAGGAGE: {**_TEXT, "description": "W3C Baggage."},
        header.ATTEMPTS: {"type": "integer", "minimum": 0, "description": _OURS + "Attempts so far."},
        header.EXPIRES_AT: {**_TIME, "description": f"{_OURS}The end of its ttl: {_TIME['description'].lower()}"},
        header.DUE: {**_TIME, "description": _OURS + "When a delayed message becomes due."},
        header.ORIGINAL_QUEUE: {**_TEXT, "description": _OURS + "The queue that a dead letter is from."},
        header.DEAD_LETTER_REASON: {**_TEXT, "description": _OURS + "Why a dead letter is one."},
        header.DEAD_LETTER_TIME: {**_TIME, "description": _OURS + "Since when it is one."},
        header.LAST_ERROR: {**_TEXT, "description": _OURS + "The error of its last attempt."},
        header.LAST_TRACEBACK: {**_TEXT, "description": _OURS + "The lines of code of that error."},
        header.CAUSE: {**_TEXT, "description": _OURS + "The same for dead letters with the same cause."},
        header.ERROR_TYPE: {**_TEXT, "description": _OURS + "The type of the error of a dead letter."},
        header.PLACE: {**_TEXT, "description": _OURS + "The file and the function that it was raised in."},
        header.LEFT_OUT: {**_TEXT, "description": _OURS + "what it leaves out, as its queue takes no larger message."},
        header.ATTEMPT_RECORDS: {**_TEXT, "description": _OURS + "JSON: when, where and why its last attempts failed."},
        header.REDRIVEN: {"type": "integer", "minimum": 1, "description": _OURS + "How many times it was redriven."},
        header.FAILURES: {
            "type": "integer",
            "minimum": 1,
            "description": _OURS + "Its failed attempts before it was moved from another queue.",
        },
        header.MOVED_FROM: {
            **_TEXT,
            "description": _OURS + "Its place in the queue of another driver that it is from.",
        },
        header.LAST_ERROR_TIME: {**_TIME, "description": _OURS + "When that was."},
        header.SIGNATURE: {**_TEXT, "description": _OURS + "Which key signed it, and the signature."},
        header.RULES: {
            **_TEXT,
            "description": _OURS + "The longest run and the retries of this message alone, as JSON.",
        },
        header.GROUP: {**_TEXT, "description": _OURS + "The chain or group that it is a part of."},
        header.CONSUMER: {**_TEXT, "description": _OURS + "The consumer in which a dead letter died."},
        header.EDITED_BY: {**_TEXT, "description": _OURS + "Who changed it before it was sent again."},
        header.EDITED_FROM: {**_TEXT, "description": _OURS + "The id of the dead letter that it was before."},
        header.BATCH: {**_TEXT, "description": _OURS + "The redrive or batch that sent it back."},
        header.TRACE: {**_TEXT, "description": _OURS + "The traceparent of its move to the dead-letter queue."},
    },
    "additionalProperties": {"type": ["boolean", "number", "string"]},
}
"""The schema of the headers that have a meaning; a publisher may add headers of its own without ``x_``."""


_CORRELATION = {"location": f"$message.header#/{header.CORRELATION_ID}"}

_FAILURE: dict[str, Any] = {
    "type": "object",
    "properties": {"kind": _TEXT, "message": _TEXT, "retryable": {"type": "boolean"}},
    "required": ["kind", "message"],
}


def message_objects(bodies: Bodies, names: Names, queues: Mapping[str, QueueConfig]) -> dict[str, Any]:
    """All messages by key: of each queue and task, its reply, and the error in place of a reply."""
    found: dict[str, Any] = {}
    has_replies = False
    for body in bodies.all():
        codec = queues[body.queue].codec
        found[names.message(body.id)] = _published(body, bodies.schemas, codec)
        if body.result is not Any:
            has_replies = True
            title = f"Reply to {body.task or body.queue}"
            found[names.reply(body)] = _message(title, title, _payload(bodies.schemas, body.result), codec, body.result)
    if has_replies:
        found[names.message(ERROR)] = {
            **_message("Error", "The error that a request gets in place of a result", {"payload": _FAILURE}, JSON),
            "headers": _with_type(bodies.schemas.headers_key, ERROR_REPLY),
        }
    for message in found.values():
        message.setdefault("headers", {"$ref": PLACE + bodies.schemas.headers_key})
    return dict(sorted(found.items()))


def header_schema() -> dict[str, Any]:
    """A copy of the schema of headers, for its own document."""
    return copy.deepcopy(HEADERS)


def _published(body: Body, schemas: Schemas, codec: str) -> dict[str, Any]:
    if not body.task:
        name = body.name or body.queue
        return _message(name, f"{name} in {body.queue}", _payload(schemas, body.type_), codec, body.type_)
    payload = {} if body.arguments is None else {"payload": _arguments(body, schemas)}
    return {
        **_message(body.task, f"Task {body.task} of {body.queue}", payload, codec),
        "headers": _with_type(schemas.headers_key, body.task),
        "x-tasuki-task": body.task,
    }


def _arguments(body: Body, schemas: Schemas) -> dict[str, Any]:
    """The body of a task's message: its arguments by name."""
    parameters = body.arguments or ()
    properties: dict[str, Any] = {}
    for each in parameters:
        schema = schemas.of(each.type_) or {}
        default = plain_default(each.name, each.default) if each.has_default else msgspec.UNSET
        if default is not msgspec.UNSET:
            # Beside a $ref draft 7 ignores all other words.
            schema = {**({"allOf": [schema]} if "$ref" in schema else schema), "default": default}
        properties[each.name] = schema
    required = [each.name for each in parameters if not each.has_default]
    return {
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _with_type(headers: str, message_type: str) -> dict[str, Any]:
    own = {"properties": {header.MESSAGE_TYPE: {"const": message_type}}, "required": [header.MESSAGE_TYPE]}
    # Linters look for the type beside allOf, and not within.
    return {"type": "object", "allOf": [{"$ref": PLACE + headers}, own]}


def _payload(schemas: Schemas, type_: Any) -> dict[str, Any]:
    """Nothing if no schema describes the type: the body may be anything."""
    schema = schemas.of(type_)
    return {} if schema is None else {"payload": schema}


def _message(name: str, title: str, payload: dict[str, Any], codec: str, type_: Any = Any) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "contentType": BYTES if type_ is bytes else media_type(codec),
        **payload,
        "correlationId": dict(_CORRELATION),
    }


def media_type(codec: str) -> str:
    """What tools call the encoding of a codec: ``application/json`` for ``json/plain``."""
    if codec == JSON:
        return "application/json"
    return codec if "/" in codec else f"application/{codec}"
