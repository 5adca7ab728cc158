"""DedupIds: those published within a queue's ``dedup_window``, also of messages that are done.

The server keeps the ids of a stream in memory and reads them out of the stored messages when it starts; so after a
restart it knows no id of a message that is done. Therefore they are written down once more: after the message is
stored, as an id without a message would be a message that is lost when it is published again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tasuki.drivers.nats.protocol.api import SECOND, Request, SubjectStream, ask, seconds_of
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.lanes import digest
from tasuki.drivers.nats.queues.names import Names
from tasuki.drivers.nats.queues.setup import Storage

SHORTEST = 0.1
"""Seconds of the shortest window that a server takes."""


class DedupIds:
    """The ids of one queue, in a stream whose messages end after the window."""

    def __init__(self, names: Names, queue: str) -> None:
        self._names = names
        self._queue = queue
        self._stream = SubjectStream(names.ids_stream(queue), queue)

    async def make(self, connection: Connection, window: float, storage: Storage) -> None:
        """Make the stream, or give it the window."""
        age = int(max(window, SHORTEST) * SECOND)
        config = {
            "subjects": [self._names.id_subject(self._queue, "*")],
            "retention": "limits",
            "max_age": age,
            "duplicate_window": min(age, 120 * SECOND),
            "storage": storage.kind,
            "num_replicas": storage.replicas,
        }
        info = await self._stream.make(connection, config)
        if info["config"]["max_age"] != age:
            update: Request = f"STREAM.UPDATE.{self._stream.name}", {**info["config"], **config}
            await self._stream.demand(connection, update)

    async def known(self, connection: Connection, ids: Sequence[str]) -> set[str]:
        """Which of the ids were published within the window."""
        requests = [self._stream.last(self._names.id_subject(self._queue, digest(id))) for id in ids]
        if not requests:
            return set()
        # The server removes old ids only now and then; its own time decides which are too old.
        *answers, info = await ask(connection, self._queue, [*requests, self._stream.info()])
        if "config" not in info:
            return set()
        oldest = seconds_of(info["ts"]) - int(info["config"]["max_age"]) / SECOND
        return {
            id
            for id, answer in zip(ids, answers, strict=True)
            if "message" in answer and seconds_of(answer["message"]["time"]) > oldest
        }

    async def remember(self, connection: Connection, ids: Iterable[str]) -> None:
        """Write down ids of stored messages. Raises DriverError if that is not sure."""
        requests = [(self._names.id_subject(self._queue, digest(id)), b"") for id in ids]
        (await connection.exchange(requests)).check()

    async def delete(self, connection: Connection) -> None:
        """Forget all."""
        await ask(connection, self._queue, [(f"STREAM.DELETE.{self._stream.name}", {})])
