"""StoreStream: the stream of a store: makes it, reads it, and changes a subject in one step."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from tasuki.drivers.nats.failures import (
    is_stream_missing,
    is_stream_or_message_missing,
    is_wrong_sequence,
    refusal,
)
from tasuki.drivers.nats.protocol.api import Answer, Request, SubjectStream, ask, erasing, seconds_of
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.setup import Storage
from tasuki.drivers.nats.state.records import MARKED, Record, StoreSubjects, headers_of, new_mark, record_in, version_of
from tasuki.drivers.toolkit.stores import require
from tasuki.errors import (
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    QueueConflictError,
    QueueFullError,
    QueueNotFoundError,
    StoreFullError,
    StoreLimitError,
)

LAYOUT = 1
"""Of a store's stream (docs/adr/0065)."""
_LAYOUT = "tasuki.layout"
"""Of the stream's metadata; a stream that an administrator has made may lack it."""
_PAUSE = 0.06
"""Seconds of the pause, at most, after another caller was faster; shorter each time, so that no caller waits long."""
_SHORTEST_PAUSE = 0.004
SWEPT_EVERY = 256
"""Writes between two sweeps, where the server removes nothing by itself."""
SWEPT = 32
"""Messages that one sweep leaves; it goes on while it removes some."""
MOST_SWEPT = 512

R = TypeVar("R")

_KINDS: dict[type[DriverError], type[DriverError]] = {
    QueueFullError: StoreFullError,
    MessageTooLargeError: StoreLimitError,
    QueueNotFoundError: BrokerUnavailableError,
    QueueConflictError: DriverError,
}
"""What the errors of queues are for a store."""


class Step(NamedTuple, Generic[R]):
    """What becomes of a subject."""

    result: R
    data: bytes | None = None
    """None: nothing is written."""
    ttl: float = inf
    removed: int = 0
    """The version of the entry that goes, whose note this is."""
    frees: bool = False
    """There is less in the subject than before, so a full store takes it too; without data the subject is erased."""


class Found(NamedTuple):
    """Subjects that a filter finds."""

    subjects: list[str]
    now: float
    """The server's time before."""
    last: int
    """The sequence of the last message that was looked at."""
    created: str
    """When the stream was made."""


class StoreStream(SubjectStream):
    """Of one store. The verbs take a connection, on whose loop they run."""

    def __init__(self, name: str, driver: str, subjects: StoreSubjects, storage: Storage) -> None:
        super().__init__(subjects.stream)
        self._place = f"store {name!r} of driver {driver!r}"
        self._driver = driver
        self._subjects = subjects
        self._storage = storage
        self._removes_itself = False
        """The server removes old messages itself (NATS 2.11)."""
        self._turns: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()
        self._writes = 0
        self._swept_to = 0

    async def exists(self, connection: Connection) -> bool:
        """Whether the stream is there."""
        (info,) = await self.demand(connection, self.info(), unless=is_stream_missing)
        return "error" not in info

    async def begin(self, connection: Connection) -> None:
        """Make the stream, or check the one that is there."""
        info = await self.make(connection, self._config())
        found = int((info["config"].get("metadata") or {}).get(_LAYOUT, LAYOUT))
        require(found, LAYOUT, place=f"stream {self.name!r}", instead="stream_prefix", driver=self._driver)
        self._removes_itself = bool(info["config"].get("allow_msg_ttl"))

    def _config(self) -> dict[str, Any]:
        return {
            "description": "Tasuki: a store",
            "subjects": [self._subjects.all],
            "retention": "limits",
            "discard": "new",
            "storage": self._storage.kind,
            "num_replicas": self._storage.replicas,
            # Sequences begin the versions, which must rise when the stream was lost with the memory. A file keeps
            # them, and with a first sequence it loses its messages when NATS 2.10 (to 2.10.27 at least) starts again
            # (nats-io/nats-server#6753).
            **({"first_seq": time.time_ns() // 1000} if self._storage.kind == "memory" else {}),
            "allow_msg_ttl": True,
            "metadata": {_LAYOUT: str(LAYOUT)},
        }

    async def read(self, connection: Connection, *subjects: str) -> tuple[list[Record | None], float]:
        """The last records of the subjects, and the server's time."""
        requests = [*map(self.last, subjects), self.info()]
        *answers, said = await self.demand(connection, *requests, unless=is_stream_or_message_missing)
        if "error" in said:
            await self.begin(connection)  # it was lost: with the server's memory, or by another program
            return await self.read(connection, *subjects)
        return [record_in(answer["message"]) if "message" in answer else None for answer in answers], _time_in(said)

    async def read_last(self, connection: Connection, subject: str) -> Record | None:
        """The last record of a subject."""
        (answer,) = await self.demand(connection, self.last(subject), unless=is_stream_or_message_missing)
        return record_in(answer["message"]) if "message" in answer else None

    async def names(self, connection: Connection, filter_: str) -> Found:
        """The subjects that the filter finds."""
        found, info = await self.subjects(connection, filter_)
        if "error" in info:
            await self.begin(connection)
            return await self.names(connection, filter_)
        return Found(found, _time_in(info), int(info["state"]["last_seq"]), str(info["created"]))

    async def newer(self, connection: Connection, filter_: str, sequence: int) -> Found | None:
        """The subject of the first message from a sequence on that the filter finds; None: there is no stream."""
        # The next page finds a message that is written between both answers.
        requests = self.info(), self.next(filter_, sequence)
        said, answer = await self.demand(connection, *requests, unless=is_stream_or_message_missing)
        if "error" in said:
            return None
        now, created = _time_in(said), str(said["created"])
        if "message" not in answer:
            return Found([], now, int(said["state"]["last_seq"]), created)
        return Found([answer["message"]["subject"]], now, int(answer["message"]["seq"]), created)

    async def write(
        self,
        connection: Connection,
        subject: str,
        data: bytes,
        *,
        ttl: float = inf,
        removed: int = 0,
        expected: int | None = None,
    ) -> int | None:
        """Write a message; returns its version, None if the subject's last one is not the expected one."""
        tells_server, mark = self._removes_itself, new_mark()
        headers = headers_of(ttl=ttl, removed=removed, mark=mark, expected=expected, tells_server=tells_server)
        for is_last in (False, True):
            exchange = await connection.exchange([(subject, data)], headers=[headers])
            exchange.check()
            (answer,) = exchange.answers
            if isinstance(answer, bytes):
                break
            if is_last:
                raise self._refused({"code": 503, "description": "no stream takes the entry"})
            await self.begin(connection)
        fields = _fields(answer)
        if "error" not in fields:
            await self._written(connection)
            return version_of(int(fields["seq"]), mark)
        if is_wrong_sequence(fields["error"]):
            return None
        raise self._refused(fields["error"])

    async def change(
        self, connection: Connection, subject: str, decide: Callable[[Record | None, float], Step[R]]
    ) -> tuple[R, int]:
        """Read, decide and write in one step; returns the result and the new version, 0 if nothing was written.

        ``decide`` gets the last record and the server's time. It is called again if another caller was faster.
        """
        loop, seconds = asyncio.get_running_loop(), connection.address.timeout
        until, pauses = loop.time() + seconds, 0
        turn = self._turns.setdefault((id(loop), subject), asyncio.Lock())
        try:
            async with asyncio.timeout_at(until):
                await turn.acquire()  # callers of one process would only disturb each other
        except TimeoutError:
            raise self._late(seconds) from None
        try:
            while True:
                (record,), now = await self.read(connection, subject)
                step = decide(record, now)
                if step.data is None:
                    return step.result, 0
                version = await self._step(connection, subject, step, record.sequence if record else 0)
                if version is not None:
                    return step.result, version
                if loop.time() >= until:
                    raise self._late(seconds)
                pauses += 1
                await asyncio.sleep(random.uniform(0, max(_PAUSE / pauses, _SHORTEST_PAUSE)))  # noqa: S311
        finally:
            turn.release()

    def _late(self, seconds: float) -> BrokerTimeoutError:
        problem = f"{self._place}: other callers were faster for {seconds:g} s; try again"
        return BrokerTimeoutError(problem, driver=self._driver, outcome="rejected")

    async def _step(self, connection: Connection, subject: str, step: Step[Any], expected: int) -> int | None:
        if step.frees and not step.data and not step.removed:
            return expected if await self.erase_up_to(connection, subject, expected) else None
        write = partial(self.write, connection, subject, step.data or b"", ttl=step.ttl, removed=step.removed)
        try:
            return await write(expected=expected)
        except StoreFullError:
            if not step.frees:
                raise
        # The old message makes room for the new one.
        if not await self.erase_up_to(connection, subject, expected):
            return None
        try:
            return await write(expected=0)
        except StoreFullError:
            if not step.removed:
                raise
            return expected  # it is gone; a watch hears of it when it lists again

    async def erase_up_to(self, connection: Connection, subject: str, up_to: int) -> int:
        """Remove a message, unless a newer one is there; returns how many were removed."""
        (answer,) = await self.demand(connection, erasing(self.name, subject, up_to=up_to), unless=is_stream_missing)
        return int(answer.get("purged", 0))

    async def erase_all(self, connection: Connection, old: Sequence[tuple[str, int]]) -> None:
        """Remove old messages, unless newer ones are there."""
        if old:
            await ask(connection, "", [erasing(self.name, subject, up_to=last) for subject, last in old])

    async def _written(self, connection: Connection) -> None:
        """Now and then remove what counts no longer, where the server does not."""
        self._writes += 1
        if self._removes_itself or self._writes % SWEPT_EVERY:
            return
        _, now = await self.read(connection)
        left = SWEPT
        for _ in range(MOST_SWEPT):
            (answer,) = await ask(connection, "", [self.next(self._subjects.all, self._swept_to + 1)])
            record = record_in(answer["message"]) if "message" in answer else None
            self._swept_to = record.sequence if record else 0
            if record is None:
                return
            if record.ends + MARKED < now:
                await self.erase_up_to(connection, answer["message"]["subject"], record.sequence)
            elif not (left := left - 1):
                return

    async def demand(
        self, connection: Connection, *requests: Request, unless: Callable[[Any], bool] = lambda _: False
    ) -> list[Answer]:
        """The answers to requests. Raises the error of a store for one among them, unless it is one of these."""
        answers = await ask(connection, "", requests)
        for answer in answers:
            if (error := answer.get("error")) and not unless(error):
                raise self._refused(error)
        return answers

    def _refused(self, error: Any) -> DriverError:
        problem = refusal(error, driver=self._driver, queue="")
        kind = _KINDS.get(type(problem), type(problem))
        fields = error if isinstance(error, dict) else {}
        text = (
            f"{self._place}: NATS refuses: {fields.get('description', 'unknown reason')} ({fields.get('err_code', 0)})"
        )
        return kind(text, driver=self._driver, outcome="rejected")


def _time_in(info: Answer) -> float:
    return seconds_of(info["ts"])


def _fields(answer: bytes | str | None) -> dict[str, Any]:
    try:
        fields = json.loads(answer or b"")
    except ValueError:
        fields = None
    return fields if isinstance(fields, dict) else {"error": {"code": 500, "description": "not an answer"}}
