"""Names: the keys of everything in a document, and the references to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasuki.kinds.asyncapi.bodies import Bodies, Body
from tasuki.kinds.asyncapi.keys import keys_of
from tasuki.kinds.asyncapi.servers import server_objects
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.entries.schedule import ScheduleConfig

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
