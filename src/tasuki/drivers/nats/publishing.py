"""Publishing: a batch goes out at once, and each message has an answer of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tasuki.contracts.driver import Outgoing
from tasuki.drivers.nats.api import ask
from tasuki.drivers.nats.book import Note
from tasuki.drivers.nats.connection import Connection
from tasuki.drivers.nats.envelope import pack
from tasuki.drivers.nats.failures import NO_RESPONDERS, is_stream_missing, lost, refusal
from tasuki.drivers.nats.names import Names, token_of
from tasuki.drivers.nats.open_queue import OpenQueue
from tasuki.errors import (
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    QueueFullError,
    UnsupportedError,
)

_HEADER = b"NATS/1.0\r\nNats-Msg-Id: %b\r\n\r\n"

Results = list[DriverError | None]


class Publishing:
    """One batch on its way.

    Args:
        driver: the driver's name.
        queue: where it goes.
        names: of subjects.
        most: bytes that a body may have on any server.
    """

    def __init__(self, driver: str, queue: OpenQueue, names: Names, most: int) -> None:
        self._driver = driver
        self._queue = queue
        self._name = queue.spec.name
        self._names = names
        self._most = most
        self._subjects: dict[str, str] = {}

    async def publish(
        self, connection: Connection, batch: Sequence[Outgoing], now: float
    ) -> Sequence[DriverError | None]:
        """Send what can be sent; one result a message, or none if all are confirmed."""
        results: Results = [None] * len(batch)
        requests: list[tuple[str, bytes]] = []
        headers: list[bytes] = []
        sent: list[int] = []
        window = self._queue.spec.dedup_window
        for index, message in enumerate(batch):
            data = self._packed(message, now, connection.max_payload)
            if isinstance(data, DriverError):
                results[index] = data
                continue
            requests.append((self._subject(message), data))
            has_id = window is not None and message.deduplicate
            headers.append(_HEADER % token_of(message.id).encode() if has_id else b"")
            sent.append(index)
        if not sent:
            return results
        exchange = await connection.exchange(requests, headers=headers if window is not None else ())
        delayed: list[tuple[int, float]] = []
        stored: dict[int, int] = {}
        for index, answer in zip(sent, exchange.answers, strict=True):
            if isinstance(answer, bytes) and b'"error"' not in answer:
                if batch[index].delay > 0 or self._queue.spec.max_length:
                    self._note_stored(index, answer, batch[index], now, stored, delayed)
            else:
                results[index] = self._result(answer, exchange.problem)
        if delayed:
            await self._note_delays(connection, delayed)
        if self._queue.spec.max_length:
            await self._keep_order(connection, results, stored)
        if NO_RESPONDERS in exchange.answers:
            await self._explain(connection, results)
        return results if any(results) else ()

    def _packed(self, message: Outgoing, now: float, max_payload: int) -> bytes | DriverError:
        """The message on the wire, or why it cannot go."""
        if message.priority > 0 and not self._queue.plan.priorities and not (self._queue.plan.ordered and message.key):
            return self._refused(
                UnsupportedError,
                message,
                f"it has a priority, and queue {self._name!r} was not declared for priorities; "
                "write requires: [priority] at the queue",
            )
        if len(message.body) > self._most:
            return self._refused(MessageTooLargeError, message, f"it is larger than {self._most} bytes")
        try:
            data = pack(message, now + message.delay if message.delay > 0 else 0.0, message.key)
        except (TypeError, ValueError, OverflowError) as problem:
            return self._refused(UnsupportedError, message, f"its headers cannot be kept: {problem}")
        if len(data) + 256 > max_payload:
            why = f"with its headers it is larger than the server's max_payload of {max_payload} bytes"
            return self._refused(MessageTooLargeError, message, why)
        return data

    def _refused(self, type_: type[DriverError], message: Outgoing, why: str) -> DriverError:
        return type_(f"message {message.id!r} was not stored: {why}", driver=self._driver, queue=self._name)

    def _subject(self, message: Outgoing) -> str:
        lane = self._queue.plan.lane_of(message)
        subject = self._subjects.get(lane)
        if subject is None:
            subject = self._subjects[lane] = self._names.subject(self._name, lane)
        return subject

    def _result(self, answer: bytes | str | None, problem: DriverError | None) -> DriverError:
        if isinstance(answer, bytes):
            error = json.loads(answer).get("error")
            refused = refusal(error, driver=self._driver, queue=self._name)
            if isinstance(refused, QueueFullError):
                most = self._queue.spec.max_length
                text = f"queue {self._name!r} holds its max_length of {most} messages, or its storage is full"
                return QueueFullError(text, driver=self._driver, queue=self._name)
            return refused
        if answer is not None or problem is None:
            return lost("no stream takes the message", driver=self._driver, queue=self._name)
        return type(problem)(str(problem), driver=self._driver, queue=self._name, outcome="unknown")

    def _note_stored(
        self,
        index: int,
        answer: bytes,
        message: Outgoing,
        now: float,
        stored: dict[int, int],
        delayed: list[tuple[int, float]],
    ) -> None:
        fields = json.loads(answer)
        if not fields.get("duplicate"):
            stored[index] = int(fields["seq"])
            if message.delay > 0:
                delayed.append((stored[index], now + message.delay))

    async def _note_delays(self, connection: Connection, delayed: list[tuple[int, float]]) -> None:
        """Only for those who look; the time itself is in the message."""
        try:
            await self._queue.book.write(connection, [(Note(sequence, due, -1), "") for sequence, due in delayed])
        except DriverError:
            pass

    async def _keep_order(self, connection: Connection, results: Results, stored: dict[int, int]) -> None:
        """Where room was made after a message was rejected for it, take back the later ones that found it."""
        full = next((index for index, result in enumerate(results) if isinstance(result, QueueFullError)), None)
        late = [index for index in stored if full is not None and index > full]
        if full is None or not late:
            return
        requests = [
            (f"STREAM.MSG.DELETE.{self._queue.stream}", {"seq": stored[index], "no_erase": True}) for index in late
        ]
        for index, answer in zip(late, await ask(connection, self._name, requests), strict=True):
            if answer.get("success"):
                results[index] = results[full]

    async def _explain(self, connection: Connection, results: Results) -> None:
        """Nobody took a message: is the stream not there, or has it no leader just now?"""
        try:
            (info,) = await ask(connection, self._name, [(f"STREAM.INFO.{self._queue.stream}", {})])
        except DriverError:
            return
        if is_stream_missing(info.get("error")):
            self._queue.is_missing = True
            gone = self._queue.gone()
            for index, result in enumerate(results):
                if isinstance(result, BrokerUnavailableError) and result.outcome == "rejected":
                    results[index] = gone
