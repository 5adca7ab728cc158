"""ConsumerCount: how many consumers each process has attached, kept in the records and renewed while it lives."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.nats.pacing import paced
from tasuki.drivers.nats.protocol.api import Answer, Request, ask, data_of, erasing, seconds_of
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.names import Names
from tasuki.drivers.nats.records.temporary import Temporary
from tasuki.drivers.toolkit.known_queues import KnownQueues
from tasuki.drivers.toolkit.reconnecting import Reconnecting
from tasuki.drivers.toolkit.threads.lease_thread import LeaseThread
from tasuki.errors import DriverError

EVERY = 2.0
"""Seconds between two renewals, at least."""
LASTS = 7.0
"""Seconds after which a process that said nothing more is taken for dead, at least."""
_ERASED = 100
"""Words of dead processes, erased at a time."""

T = TypeVar("T")


class ConsumerCount:
    """Reports the consumers of this process, as the queues that it knows have them."""

    def __init__(
        self,
        names: Names,
        leases: LeaseThread[Reconnecting[Connection]],
        temporary: Temporary,
        known: KnownQueues[QueueSpec],
    ) -> None:
        self._names = names
        self._leases = leases
        self._temporary = temporary
        self._known = known
        self._name = secrets.token_hex(8)
        self._task: asyncio.Task[None] | None = None

    @property
    def _who(self) -> str:
        """Tells this process from all others; a forked child is another one than its parent."""
        return f"{self._name}-{os.getpid()}"

    async def attach(self, queue: str, consumers: int) -> None:
        """Report that so many consumers of this process receive from the queue now."""
        self._known.attach(queue, consumers)
        if consumers:
            await self._run(lambda connection: self._report(connection, {queue: consumers}))
            await self._run(lambda connection: self.count(connection, queue))  # erases the reports of dead processes
        else:
            await self._run(lambda connection: self._retract(connection, [queue]))
        self.keep_on()

    def begin(self) -> None:
        """Say it all again, as soon as there is a connection; a task of a parent process is left alone."""
        self._task = None
        self.keep_on()

    async def end(self) -> None:
        """Report no consumers until ``begin``; a report that cannot be sent times out by itself."""
        if await self.stop() and (queues := list(self._known.consumers)):
            with suppress(DriverError):
                await self._run(lambda connection: self._retract(connection, queues))

    async def stop(self) -> bool:
        """Renew no longer; False: nothing was renewed."""
        task, self._task = self._task, None
        if task is None:
            return False
        task.cancel()
        await asyncio.wait([task])  # its work in the thread is cancelled before the next work begins
        return True

    def keep_on(self) -> None:
        """Renew the reports, if there are any to renew."""
        if self._known.consumers and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._renew(), name="renew nats consumers")

    async def _run(self, work: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        async def connected(link: Reconnecting[Connection]) -> T:
            return await work(await link.get())

        return await self._leases.run(connected)

    async def _renew(self) -> None:
        """Go on in the lease thread, and on its next loop if it fails, until ``end``."""
        while self._known.consumers:
            with suppress(DriverError):
                await self._leases.run(self._renew_there)
            await asyncio.sleep(self._every)

    @property
    def _every(self) -> float:
        return paced(EVERY, len(self._known.consumers))

    async def _renew_there(self, link: Reconnecting[Connection]) -> None:
        """Runs in the lease thread, so that a blocked loop does not look like a dead process."""
        consumers = self._known.consumers
        while consumers:
            with suppress(DriverError):  # until the connection is back, other processes do not count this one
                connection = await link.get()
                await self._report(connection, consumers.copy())
                # Read again: a queue that was deleted meanwhile must not be reported any more.
                ours = [spec.name for spec in self._known.declared() if spec.temporary and spec.name in consumers]
                await self._temporary.beat(connection, ours)
            await asyncio.sleep(self._every)

    async def _report(self, connection: Connection, consumers: Mapping[str, int]) -> None:
        lasts = LASTS * self._every / EVERY
        requests = [
            (self._names.attached(queue, self._who), json.dumps({"consumers": number, "lasts": lasts}).encode())
            for queue, number in consumers.items()
        ]
        (await connection.exchange(requests)).check()

    async def _retract(self, connection: Connection, queues: Sequence[str]) -> None:
        """Erase the reports of this process, and of dead ones, which would stay for ever."""
        await self._report(connection, dict.fromkeys(queues, 0))  # after this answer no earlier report is on its way
        stream = self._names.records_stream
        await ask(connection, "", [erasing(stream, self._names.attached(queue, self._who)) for queue in queues])
        for queue in queues:
            await self.count(connection, queue)

    async def count(self, connection: Connection, queue: str) -> tuple[int, int]:
        """The attached consumers of all living processes, and of the other processes alone."""
        stream = self._names.records_stream
        fields = {"subjects_filter": self._names.attached(queue, "*")}
        (info,) = await ask(connection, queue, [(f"STREAM.INFO.{stream}", fields)])
        if "state" not in info:
            return self._known.consumers.get(queue, 0), 0
        now = seconds_of(info["ts"])
        subjects = list(info["state"].get("subjects") or {})
        requests: list[Request] = [(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject}) for subject in subjects]
        answers = await ask(connection, queue, requests) if requests else []
        said = dict(zip(subjects, answers, strict=True))
        found = {subject: _living(answer, now) for subject, answer in said.items()}
        dead = [
            erasing(stream, subject, up_to=int(answer["message"]["seq"]))  # a report that came meanwhile stays
            for subject, answer in said.items()
            if "message" in answer and _is_old(answer["message"], now)
        ]
        if dead:
            await ask(connection, queue, dead[:_ERASED])
        found.pop(self._names.attached(queue, self._who), None)  # the numbers here are newer
        elsewhere = sum(found.values())
        return self._known.consumers.get(queue, 0) + elsewhere, elsewhere


def _living(answer: Answer, now: float) -> int:
    message = answer.get("message")
    if not message or _is_old(message, now):
        return 0
    try:
        return int(_record(message)["consumers"])
    except (ValueError, KeyError, TypeError):
        return 0


def _is_old(message: Mapping[str, Any], now: float) -> bool:
    try:
        lasts = float(_record(message).get("lasts", LASTS))  # an earlier version does not say
    except (ValueError, AttributeError, TypeError):
        lasts = LASTS
    return now - seconds_of(message["time"]) > lasts


def _record(message: Mapping[str, Any]) -> Any:
    return json.loads(data_of(message))
