"""Publishing: a batch goes out at once, and each message has its own answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from contextlib import suppress

from tasuki.contracts.driver import Answers, Merged, Outgoing
from tasuki.drivers.nats.envelope import pack, unpack
from tasuki.drivers.nats.failures import (
    NO_RESPONDERS,
    UNTAKEN,
    is_message_missing,
    is_stream_missing,
    is_untaken,
    is_wrong_sequence,
    lost,
    refusal,
)
from tasuki.drivers.nats.protocol.api import Answer, Request, ask, data_of, removing
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.protocol.exchange import Exchange
from tasuki.drivers.nats.queues.names import Plan, digest, plan_in
from tasuki.drivers.nats.queues.queues import OpenQueue
from tasuki.drivers.nats.records.side_records import Note
from tasuki.drivers.toolkit.results import check_bounds
from tasuki.errors import (
    DriverError,
    MessageTooLargeError,
    QueueFullError,
    StorageFullError,
    ThrottledError,
    UnsupportedError,
)
from tasuki.message import DEAD_LETTER_REASON

CLAIMED = frozenset({"running", "keep"})
"""The spans and acts that the driver knows."""
TRIES = 20
"""How often a message is published whose key was taken, and free again when we looked who has it."""
_ALONE = b"Nats-Expected-Last-Subject-Sequence: 0\r\n"


def header(message: Outgoing, id: str | None) -> bytes:
    """What goes before a message; ``id``: for the server's memory of ids."""
    lines = b"" if id is None else b"Nats-Msg-Id: %b\r\n" % id.encode()
    if message.unique is not None:
        lines += _ALONE
    return b"NATS/1.0\r\n%b\r\n" % lines if lines else b""


def reason_against(message: Outgoing, plan: Plan) -> str:
    """Why a unique message cannot be kept so; empty: it can."""
    if plan.ordered and message.key is not None:
        what = "an ordering key"
    elif message.priority > 0:
        what = "a priority"
    else:
        return ""
    return (
        f"it is unique and has {what}: NATS keeps unique messages in a separate lane, which knows neither keys nor "
        "priorities; publish it without one of both"
    )


def is_kept_out(answer: bytes | str | None) -> bool:
    """Whether the server says that another message has the key."""
    if not isinstance(answer, bytes) or b'"error"' not in answer:
        return False
    return is_wrong_sequence(json.loads(answer).get("error"))


async def others(
    connection: Connection, queue: str, stream: str, messages: Sequence[tuple[Outgoing, str]]
) -> list[Merged | DriverError | None]:
    """Who has the keys of these messages, given with their subjects; None: the key is free by now.

    Where that is not known, the error; the message was not stored.
    """
    requests: list[Request] = [(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject}) for _, subject in messages]
    try:
        answers = await ask(connection, queue, requests)
    except DriverError as problem:
        why = f"another message has the key, and it is not known which: {problem}"
        driver = connection.address.driver
        return [type(problem)(why, driver=driver, queue=queue, outcome="rejected") for _ in messages]
    return [_other(connection, queue, stream, answer) for answer in answers]


def _other(connection: Connection, queue: str, stream: str, answer: Answer) -> Merged | DriverError | None:
    message = answer.get("message")
    if message is not None:
        head, _ = unpack(data_of(message), f"{stream}-{message['seq']}")
        return Merged("kept", head.id)
    error = answer.get("error")
    return None if is_message_missing(error) else refusal(error, driver=connection.address.driver, queue=queue)


def contested(message: Outgoing, *, driver: str, queue: str) -> DriverError:
    """The error of a message whose key was taken and given free so often that it never got it."""
    problem = f"message {message.id!r} was not stored: its key was taken {TRIES} times, and free again; publish again"
    return ThrottledError(problem, driver=driver, queue=queue)


_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds before each further try of messages that no stream took although it is there."""

_ROOM = 256
"""Bytes that the server's own headers may have."""
_ROOM_FOR_LETTER = 2048
"""Bytes that each message leaves for the headers of its dead letter, which then fits as well."""

_Results = list[DriverError | Merged | None]
_Piece = tuple[tuple[str, bytes], bytes]
"""A message on the wire: its subject and content, and what goes before them; empty: nothing."""
Prepare = Callable[[OpenQueue, Connection, Set[str]], Awaitable[None]]


def _stored(indexes: Sequence[int], exchange: Exchange) -> dict[int, int]:
    """Places of the messages that are in the stream now and were not before, and their numbers there."""
    found: dict[int, int] = {}
    for index, answer in zip(indexes, exchange.answers, strict=True):
        if isinstance(answer, bytes) and b'"error"' not in answer:
            fields = json.loads(answer)
            if not fields.get("duplicate"):
                found[index] = int(fields["seq"])
    return found


class Publishing:
    """One batch on its way.

    Each unique key has its own subject in the queue's stream, and its message is published with "no message is on this
    subject". A work queue forgets a message when it is acked, removed or purged, so nothing has to give the key free; a
    message that is held, delayed or returned stays where it is.

    ``pending``, ``replace`` and ``extend`` would need to know whether a message is held, in the step that stores
    another: the stream does not know. A window would have to name a message that may be done by then: the server
    remembers its number for a time, but not its id, and after a restart neither.

    Args:
        driver: the driver's name.
        queue: where it goes.
        most: bytes that a body may have on any server.
        prepare: makes lanes of a queue that its first messages of some kind need.
    """

    def __init__(self, driver: str, queue: OpenQueue, most: int, prepare: Prepare) -> None:
        self._driver = driver
        self._queue = queue
        self._name = queue.spec.name
        self._most = most
        self._prepare = prepare
        self._needs_numbers = bool(queue.spec.max_length or queue.spec.dedup_window)
        """Whether the numbers of the stored messages matter."""

    async def publish(self, connection: Connection, batch: Sequence[Outgoing], now: float) -> Answers:
        """Send what can be sent; one result a message."""
        check_bounds(batch, driver=self._driver, queue=self._name, unique=CLAIMED)
        plan = self._queue.plan
        special = [message for message in batch if message.unique is not None or message.delay > 0]
        if special and (missing := {name for message in special if (name := plan.missing(message))}):
            await self._prepare(self._queue, connection, missing)
        self._needs_numbers = self._needs_numbers or any(message.delay > 0 for message in special)
        results: _Results = [None] * len(batch)
        pieces = await self._pieces(connection, batch, now, results)
        left, has_sent = [*pieces], False
        while left:
            ended: DriverError | None = None
            try:
                room = await self._room(connection, len(left)) if self._queue.spec.max_length else None
                part = left[:room]
                exchange = await self._exchange(connection, [pieces[index] for index in part])
                kept_out = await self._after(connection, batch, now, part, exchange, results)
                if kept_out:
                    await self._merge(connection, batch, now, kept_out, pieces, results)
            except DriverError as problem:
                if not has_sent:
                    raise
                ended, room = problem, 0
            left, has_sent = left[room:] if room is not None else [], True
            if left:
                ended = ended or next((each for index in part if isinstance(each := results[index], DriverError)), None)
            if ended is not None:  # what comes after it is not sent, so that the order is kept
                for index in left:
                    results[index] = ended
                break
        return results

    async def _pieces(
        self, connection: Connection, batch: Sequence[Outgoing], now: float, results: _Results
    ) -> dict[int, _Piece]:
        """The messages to send, by their places in the batch; the others get their results."""
        ids, known = self._queue.ids, set[str]()
        if ids is not None:
            known = await ids.known(connection, [message.id for message in batch if message.deduplicate])
        pieces: dict[int, _Piece] = {}
        for index, message in enumerate(batch):
            is_deduplicated = ids is not None and message.deduplicate
            if is_deduplicated and message.id in known:
                continue
            data = self._packed(message, now, connection.max_payload)
            if isinstance(data, DriverError):
                results[index] = data
                continue
            head = b""
            if is_deduplicated or message.unique is not None:
                head = header(message, digest(message.id) if is_deduplicated else None)
            pieces[index] = (self._subject(message), data), head
        return pieces

    async def _exchange(self, connection: Connection, pieces: Sequence[_Piece]) -> Exchange:
        """Send; again for a moment if none is taken, and the stream is there.

        In a cluster a stream that was just made may have no leader yet, and a server not know where the leader is.
        """
        requests, headers = zip(*pieces, strict=True)
        exchange = await connection.exchange(requests, headers=headers)
        for pause in _PAUSES if NO_RESPONDERS in exchange.answers else ():
            if any(answer != NO_RESPONDERS for answer in exchange.answers) or not await self._is_there(connection):
                break
            await asyncio.sleep(pause)
            exchange = await connection.exchange(requests, headers=headers)
        return exchange

    async def _is_there(self, connection: Connection) -> bool:
        """Whether the stream has a leader, and the lanes that we know."""
        try:
            (info,) = await ask(connection, self._name, [(f"STREAM.INFO.{self._queue.stream}", {})])
        except DriverError:
            return False
        return "config" in info and plan_in(info["config"].get("metadata")) == self._queue.plan

    async def _room(self, connection: Connection, number: int) -> int:
        """How many of some messages to send at once: a later one must not find the room that an earlier one missed.

        Consumers only make room, so the room counted now is enough. A message taken back because another publisher
        was faster (``_keep_order``) may have been handled by then.
        """
        most = self._queue.spec.max_length
        if not most or number == 1:
            return number
        (info,) = await ask(connection, self._name, [(f"STREAM.INFO.{self._queue.stream}", {})])
        waiting = int(info.get("state", {}).get("messages", 0))
        return min(max(most - waiting, 1), number)

    async def _after(
        self,
        connection: Connection,
        batch: Sequence[Outgoing],
        now: float,
        sent: list[int],
        exchange: Exchange,
        results: _Results,
    ) -> list[int]:
        """Read the answers to the messages at these places of the batch, and do what follows from them.

        Returns the places of those whose key another message has.
        """
        kept_out: list[int] = []
        for index, answer in zip(sent, exchange.answers, strict=True):
            if batch[index].unique is not None and is_kept_out(answer):
                kept_out.append(index)
            elif not isinstance(answer, bytes) or b'"error"' in answer:
                results[index] = self._result(answer, exchange.problem)
        stored = _stored(sent, exchange) if self._needs_numbers else {}
        if stored and (
            delayed := [
                Note(number, self._queue.plan.lane_of(batch[index]).partition(".")[0], now + batch[index].delay)
                for index, number in stored.items()
                if batch[index].delay > 0
            ]
        ):
            await self._queue.records.announce(connection, delayed)
        if self._queue.spec.max_length:
            await self._keep_order(connection, results, stored)
        if self._queue.ids is not None:
            await self._remember(connection, [batch[index].id for index in stored if batch[index].deduplicate])
        if NO_RESPONDERS in exchange.answers:
            await self._explain(connection, results)
        return kept_out

    async def _merge(
        self,
        connection: Connection,
        batch: Sequence[Outgoing],
        now: float,
        kept_out: list[int],
        pieces: Mapping[int, _Piece],
        results: _Results,
    ) -> None:
        """Find the messages that have the keys; publish again where that message is done by now."""
        for _ in range(TRIES):
            asked = [(batch[index], pieces[index][0][0]) for index in kept_out]
            found = await others(connection, self._name, self._queue.stream, asked)
            free = [index for index, other in zip(kept_out, found, strict=True) if other is None]
            for index, other in zip(kept_out, found, strict=True):
                results[index] = other
            if not free:
                return
            exchange = await self._exchange(connection, [pieces[index] for index in free])
            kept_out = await self._after(connection, batch, now, free, exchange, results)
            if not kept_out:
                return
        for index in kept_out:
            results[index] = contested(batch[index], driver=self._driver, queue=self._name)

    async def _remember(self, connection: Connection, ids: list[str]) -> None:
        """The messages are stored already, whatever becomes of this."""
        if ids and self._queue.ids is not None:
            with suppress(DriverError):
                await self._queue.ids.remember(connection, ids)

    def _packed(self, message: Outgoing, now: float, max_payload: int) -> bytes | DriverError:
        """The message on the wire, or why it cannot go."""
        if message.priority > 0 and not self._queue.plan.priorities and not (self._queue.plan.ordered and message.key):
            return self._refused(
                UnsupportedError,
                message,
                f"it has a priority, and queue {self._name!r} was not declared for priorities; "
                "write requires: [priority] at the queue",
            )
        if message.unique is not None and (why := reason_against(message, self._queue.plan)):
            return self._refused(UnsupportedError, message, why)
        age = self._queue.spec.options.get("message_ttl") if message.delay > 0 else None
        if age is not None and message.delay >= age:
            why = f"the server deletes it before its delay is over: the queue's message_ttl is {age:g} s"
            return self._refused(UnsupportedError, message, why)
        if len(message.body) > self._most:
            return self._refused(MessageTooLargeError, message, f"it is larger than {self._most} bytes")
        try:
            data = pack(message, now + message.delay if message.delay > 0 else 0.0)
        except (TypeError, ValueError, OverflowError) as problem:
            return self._refused(UnsupportedError, message, f"its headers cannot be kept: {problem}")
        least = max_payload - _ROOM
        if DEAD_LETTER_REASON not in message.headers:
            least -= _ROOM_FOR_LETTER if max_payload > 16 * _ROOM_FOR_LETTER else max_payload // 16
        if len(data) > least:
            why = f"with its headers it is larger than the server's max_payload of {max_payload} bytes"
            return self._refused(MessageTooLargeError, message, why)
        return data

    def _refused(self, type_: type[DriverError], message: Outgoing, why: str) -> DriverError:
        return type_(f"message {message.id!r} was not stored: {why}", driver=self._driver, queue=self._name)

    def _subject(self, message: Outgoing) -> str:
        plan = self._queue.plan
        # A key keeps its subject while it has a message, so it does not depend on whether the order holds now.
        is_ordered = plan.ordered if message.unique is None else plan.ever_ordered
        return self._queue.subjects[is_ordered] + plan.lane_of(message)

    def _result(self, answer: bytes | str | None, problem: DriverError | None) -> DriverError:
        if isinstance(answer, bytes):
            error = json.loads(answer).get("error")
            refused = refusal(error, driver=self._driver, queue=self._name)
            if isinstance(refused, QueueFullError):
                spec = self._queue.spec
                bounds = {"max_length": spec.max_length, "max_bytes": spec.options.get("max_bytes")}
                own = " or ".join(f"{name} of {most}" for name, most in bounds.items() if most)
                text = f"queue {self._name!r} is full: {f'its {own} is reached, or ' if own else ''}its storage is full"
                kind = StorageFullError if isinstance(refused, StorageFullError) else QueueFullError
                return kind(text, driver=self._driver, queue=self._name)
            return refused
        if answer is not None or problem is None:
            return lost(UNTAKEN, driver=self._driver, queue=self._name)
        return type(problem)(str(problem), driver=self._driver, queue=self._name, outcome=problem.outcome)

    async def _keep_order(self, connection: Connection, results: _Results, stored: dict[int, int]) -> None:
        """Where room was made after a message was rejected for it, take back the later ones that found it."""
        full = next((index for index, result in enumerate(results) if isinstance(result, QueueFullError)), None)
        late = [index for index in stored if full is not None and index > full]
        if full is None or not late:
            return
        requests = [removing(self._queue.stream, stored[index]) for index in late]
        for index, answer in zip(late, await ask(connection, self._name, requests), strict=True):
            if answer.get("success"):
                results[index] = results[full]

    async def _explain(self, connection: Connection, results: _Results) -> None:
        """No server took a message: find out whether the stream is missing, or has no leader just now."""
        try:
            (info,) = await ask(connection, self._name, [(f"STREAM.INFO.{self._queue.stream}", {})])
        except DriverError:
            return
        if is_stream_missing(info.get("error")):
            self._queue.is_missing = True
            gone = self._queue.gone()
            for index, result in enumerate(results):
                if is_untaken(result):
                    results[index] = gone
        elif "config" in info and plan_in(info["config"].get("metadata")) != self._queue.plan:
            self._queue.changed()
