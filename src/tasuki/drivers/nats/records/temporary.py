"""Temporary queues: a note for each, renewed by the process that it was made for; others remove unused ones.

By the server's times alone. A queue is removed when its note was old twice, some time apart, and is the same one: after
an outage of the server, or a sleep of the machine, living processes write theirs in between. So they write more
often than the others check.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Mapping

from tasuki.drivers.nats.failures import is_stream_missing, refusal
from tasuki.drivers.nats.protocol.api import Answer, SubjectStream, ask, erasing, seconds_of, store
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.names import Names, queue_of
from tasuki.drivers.nats.queues.setup import is_temporary
from tasuki.drivers.nats.records.side_records import DedupIds
from tasuki.errors import DriverError

KEPT = 600.0
"""Seconds for which a temporary queue is kept without a sign: much longer than a living process says nothing."""
ROUNDS = 4
"""Checks of what may be removed, in that time."""
SIGNS = 4 * ROUNDS
"""Signs in that time."""
_MOST = 1000
"""Old notes read in one check; the later ones follow when these are gone."""


class Temporary:
    """What one driver knows of them; ``beat`` runs in the thread of renewals, the rest on any loop."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._stream = SubjectStream(names.records_stream)
        self._kept_at = self._checked_at = -math.inf
        self._suspects: Mapping[str, int] = {}

    async def keep(self, connection: Connection, queues: Collection[str]) -> None:
        """Note that the process of these queues runs. Raises DriverError if that cannot be noted."""
        answers = await store(connection, "", [(self._names.temporary(queue), b"") for queue in queues])
        for queue, answer in zip(queues, answers, strict=True):
            if "error" in answer:
                raise refusal(answer["error"], driver=connection.address.driver, queue=queue)

    async def forget(self, connection: Connection, queue: str) -> None:
        """It was deleted."""
        await self._stream.erase(connection, self._names.temporary(queue))

    async def beat(self, connection: Connection, ours: Collection[str]) -> None:
        """Keep our temporary queues, and remove unused ones; now and again only. Raises DriverError."""
        now = asyncio.get_running_loop().time()
        if ours and now - self._kept_at >= KEPT / SIGNS:
            await self.keep(connection, ours)
            self._kept_at = now  # what failed is tried again with the next beat
        if now - self._checked_at < KEPT / ROUNDS:
            return
        unused = await self._unused(connection)
        self._checked_at = now
        for subject, sequence in unused.items():
            if self._suspects.get(subject) == sequence:
                await self._remove(connection, subject, sequence)
        self._suspects = unused

    async def _unused(self, connection: Connection) -> dict[str, int]:
        """Notes that are old: subject → number of the message; the oldest first, and no more than one check can read.

        Notes lie in the order in which they were written, so none behind the first young one is old.
        """
        if (note := await self._next(connection, 1)) is None:
            return {}
        (info,) = await ask(connection, "", [self._stream.info()])
        if "ts" not in info:
            return {}
        now = seconds_of(info["ts"])
        unused: dict[str, int] = {}
        while note is not None and len(unused) < _MOST and now - seconds_of(note["time"]) > KEPT:
            sequence = int(note["seq"])
            unused[note["subject"]] = sequence
            note = await self._next(connection, sequence + 1)
        return unused

    async def _next(self, connection: Connection, sequence: int) -> Answer | None:
        """The first note from this number on."""
        (answer,) = await ask(connection, "", [self._stream.next(self._names.temporary("*"), sequence)])
        return answer.get("message")

    async def _remove(self, connection: Connection, subject: str, sequence: int) -> None:
        try:
            queue = queue_of(subject.rpartition(".")[2])
            stream = self._names.stream(queue)
        except (ValueError, DriverError):
            return  # written by another process
        (info,) = await ask(connection, queue, [(f"STREAM.INFO.{stream}", {})])
        if "config" in info and is_temporary(info["config"].get("metadata")):
            (answer,) = await ask(connection, queue, [(f"STREAM.DELETE.{stream}", {})])
            if "error" in answer and not is_stream_missing(answer["error"]):
                return  # at the next check
            notes = self._names.returned(queue, "*", ">"), self._names.receiver(queue, "*")
            await self._stream.erase(connection, *notes)
            await DedupIds(self._names, queue).delete(connection)
        elif "error" in info and not is_stream_missing(info["error"]):
            return
        # Last, and only the note that was seen: who declares the queue meanwhile has written one of its own.
        await ask(connection, queue, [erasing(self._stream.name, subject, up_to=sequence)])
