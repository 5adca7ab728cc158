"""Publishing: which message may be sent and as what, and the result of each."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pamqp import commands

from tasuki.contracts.driver import Outgoing, QueueSpec
from tasuki.drivers.amqp.faults import NOT_FOUND, ClosedError, Errors, Fate, LateError
from tasuki.drivers.amqp.limits import LONGEST_DELAY, MAX_MESSAGE_BYTES
from tasuki.drivers.amqp.protocol import envelope, frames
from tasuki.drivers.amqp.protocol.channel import Batch, Channel
from tasuki.drivers.amqp.protocol.connecting import reconnecting
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.protocol.frames import priority_of
from tasuki.drivers.amqp.publishing.delay_queues import Delayed, Delaying
from tasuki.drivers.amqp.settings import Endpoint
from tasuki.drivers.amqp.topology.queue_arguments import is_quorum, partition_lane, priority_lane, return_lane
from tasuki.drivers.toolkit.results import Results
from tasuki.errors import BrokerUnavailableError, DriverError, MessageTooLargeError, ThrottledError, UnsupportedError

_CHUNK = 256 * 1024


class BlockedError(Exception):
    """The broker takes no messages for now; nothing was sent."""


class UnsentError(ClosedError):
    """There was no connection to send over."""


class Parcel(NamedTuple):
    """A message on its way to a queue at the broker."""

    queue: str
    id: bytes
    properties: bytes
    body: bytes
    delay: float = 0.0


class Sending(NamedTuple):
    """A parcel as it is written: to which exchange, with which properties."""

    exchange: str
    properties: bytes
    parcel: Parcel


class Publisher:
    """Hands messages to the broker over its own connection, and waits until it has answered for each.

    Its own, because the broker stops reading a connection that publishes while it is low on memory or disk; consuming
    and acking go on on another one, and make room.
    """

    def __init__(self, settings: Endpoint) -> None:
        self._settings = settings
        self._link = reconnecting(settings, self._prepare)
        self._channel: Channel | None = None
        self._delaying = Delaying()
        self.frame_max = 0
        """The largest frame of the last connection that was used."""

    @property
    def blocked(self) -> str | None:
        """Why the broker takes no messages now, as it said; None: it takes them."""
        connection = self._link.connection
        return connection.blocked if connection is not None else None

    async def publish(self, parcels: Sequence[Parcel]) -> list[Fate]:
        """What became of each; all are ``stored`` or not by now.

        Raises:
            BlockedError: nothing was sent.
            UnsentError: nothing was sent either, for there is no connection.
            LateError, ClosedError: the messages may have been stored.
        """
        delayed = {
            index: self._delaying.place(parcel.queue, parcel.delay, priority_of(parcel.properties))
            for index, parcel in enumerate(parcels)
            if parcel.delay > 0
        }
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                channel = await self._ready(list(delayed.values()))
        except (TimeoutError, LateError) as error:
            if (reason := self.blocked) is not None:
                raise BlockedError(reason) from error
            self._unanswered()
            raise UnsentError(0, "no answer within the deadline") from error
        sendings = [_addressed(parcel, delayed.get(index)) for index, parcel in enumerate(parcels)]
        self.frame_max = channel.connection.frame_max
        most = self.frame_max - frames.AROUND_PROPERTIES
        fitting = [index for index, sending in enumerate(sendings) if len(sending.properties) <= most]
        fates: list[Fate] = ["oversized"] * len(parcels)
        if fitting:
            answers = await self._send_all(channel, [sendings[index] for index in fitting])
            for index, fate in zip(fitting, answers, strict=True):
                fates[index] = fate
        if any(fates[index] == "unroutable" for index in delayed):  # or a queue
            self._delaying.forget()
        return fates

    async def _send_all(self, channel: Channel, sendings: Sequence[Sending]) -> list[Fate]:
        batch = Batch(len(sendings))
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                await _write(channel, sendings, batch)
                await batch.done
        except TimeoutError as error:
            self._unanswered()
            raise LateError from error
        except ClosedError as error:
            if error.code == NOT_FOUND:  # another program has deleted an exchange of the delay queues
                self._delaying.forget()
            raise
        return batch.fates

    def forget_target(self, queue: str) -> None:
        """A queue may be deleted, or is of no interest here any more."""
        self._delaying.forget_target(queue)

    def _unanswered(self) -> None:
        if (connection := self._link.connection) is not None:
            connection.unanswered()

    async def close(self) -> None:
        """End the connection; the outcome of unconfirmed publishes stays unknown."""
        await self._link.close()

    def abort(self) -> None:
        """Cut the connection if it has not ended."""
        self._link.abort()

    async def _ready(self, delayed: Sequence[Delayed]) -> Channel:
        """Wait until the connection is open and not blocked, and the delay queues exist; nothing is sent before."""
        try:
            connection = await self._link.get()
            if delayed:
                await self._delaying.prepare(connection, delayed)
            channel = self._channel
            if channel is None or not channel.is_alive or channel.connection is not connection:
                channel = await self._open(connection)
        except ClosedError as error:
            raise UnsentError(error.code, error.text) from error
        await connection.unblocked.wait()
        try:
            await connection.drain()  # else each attempt would add to what a frozen broker does not read
        except ClosedError as error:
            raise UnsentError(error.code, error.text) from error
        return channel

    async def _prepare(self, connection: Connection) -> None:
        """A new connection may lead to a broker that has lost everything."""
        await self._delaying.check(connection)
        await self._open(connection)

    async def _open(self, connection: Connection) -> Channel:
        channel = await connection.open_channel()
        await channel.ask(commands.Confirm.Select())
        self._channel = channel
        return channel


def _addressed(parcel: Parcel, delayed: Delayed | None) -> Sending:
    if delayed is None:
        return Sending("", parcel.properties, parcel)
    return Sending(delayed.exchange, delayed.mark(parcel.properties), parcel)


async def _write(channel: Channel, sendings: Sequence[Sending], batch: Batch) -> None:
    """Write all, some hundred kilobytes at a time, as fast as the broker reads."""
    number, most = channel.number, channel.connection.frame_max
    parts: list[bytes] = []
    sent: list[tuple[str, bytes]] = []
    start = size = 0
    for exchange, properties, parcel in sendings:
        key = frames.short(parcel.queue)
        data = frames.publish(number, frames.short(exchange), key, properties, parcel.body, most)
        parts.append(data)
        sent.append((parcel.queue, parcel.id))
        size += len(data)
        if size >= _CHUNK:
            channel.publish(b"".join(parts), batch, sent, start)
            start, size, parts, sent = start + len(sent), 0, [], []
            await channel.connection.drain()
    channel.publish(b"".join(parts), batch, sent, start)


_ON_THE_WAY = 1.0
"""Seconds that a message may need from its last delay queue to its queue."""
_FINEST = 0.125
"""Seconds of the narrowest slot."""
_SLOTS = 64
"""Slots of one width that the delays with it reach over."""


class DelayedCount:
    """Counts messages by slots of time, wider ones for longer delays: a message counts up to 1/32 of its delay longer.

    So a million messages that are due within a day take some hundred numbers. Times are seconds of one clock.
    """

    def __init__(self) -> None:
        self._due: dict[float, int] = {}
        """How many messages leave the count at each time."""

    def add(self, now: float, delay: float) -> None:
        """Count a message that is delayed now."""
        width = max(2.0 ** math.ceil(math.log2(delay / _SLOTS)), _FINEST)
        due = math.ceil((now + delay + _ON_THE_WAY) / width) * width
        if due in self._due:
            self._due[due] += 1
        else:
            self._forget(now)
            self._due[due] = 1

    def after(self, now: float) -> dict[float, int]:
        """When they end that have not ended by this time, and how many do then; from any thread."""
        return {due: number for due, number in self._due.copy().items() if due >= now}

    def _forget(self, now: float) -> None:
        for due in [due for due in self._due if due < now]:
            del self._due[due]


class Publishing:
    """The publishing side of one driver; remembers which messages it has delayed, to count them."""

    def __init__(self, publisher: Publisher, errors: Errors, expiration: bytes | None) -> None:
        self.publisher = publisher
        self._errors = errors
        self._expiration = expiration
        self._delayed: dict[str, DelayedCount] = {}

    async def publish(self, spec: QueueSpec, batch: Sequence[Outgoing]) -> Results:
        """One result a message."""
        results = [self._refusal(spec, message) for message in batch]
        sound = [index for index, refusal in enumerate(results) if refusal is None]
        if sound:
            fates = await self.send(spec, [self._parcel(spec, batch[index]) for index in sound])
            for index, fate in zip(sound, fates, strict=True):
                results[index] = self._errors.of_fate(fate, spec.name, self.publisher.frame_max)
        return results

    async def send(self, spec: QueueSpec, parcels: Sequence[Parcel]) -> list[Fate]:
        """What became of each. Raises DriverError."""
        queue = spec.name
        try:
            fates = await self.publisher.publish(parcels)
        except BlockedError as error:
            problem = f"the broker takes no messages now ({error}); it has to free memory or disk"
            raise self._errors.make(ThrottledError, queue, problem) from error
        except (UnsentError, LateError) as error:
            raise self._errors.of(error, queue) from error
        except ClosedError as error:
            if error.is_for_size and len(parcels) == 1:
                raise self._errors.make(MessageTooLargeError, queue, str(error)) from error
            raise self._errors.make(BrokerUnavailableError, queue, str(error), "unknown") from error
        self._remember(queue, parcels, fates)
        return fates

    def delays(self, queue: str) -> Mapping[float, int]:
        """When delays of a queue's messages that this process has delayed end; from any thread."""
        count = self._delayed.get(queue)
        return count.after(time.monotonic()) if count is not None else {}

    def forget(self, queue: str) -> None:
        """None of its messages is delayed any more; the next one makes sure of its way again."""
        self._delayed.pop(queue, None)
        self.publisher.forget_target(queue)

    def _remember(self, queue: str, parcels: Sequence[Parcel], fates: Sequence[Fate]) -> None:
        now = time.monotonic()
        for parcel, fate in zip(parcels, fates, strict=True):
            if parcel.delay > 0 and fate == "stored":
                self._delayed.setdefault(queue, DelayedCount()).add(now, parcel.delay)

    def _parcel(self, spec: QueueSpec, message: Outgoing) -> Parcel:
        if spec.ordering == "key" and message.key is not None:
            lane, expiration = partition_lane(spec, message.key), self._expiration
        elif message.delay > 0:
            lane, expiration = return_lane(spec), None  # it would end the delay early
        else:
            lane = priority_lane(spec.name, message.priority) if is_quorum(spec) else spec.name
            expiration = self._expiration
        properties = envelope.encode(message, 0, expiration)
        return Parcel(lane, envelope.short_id(message.id), properties, message.body, message.delay)

    def _refusal(self, spec: QueueSpec, message: Outgoing) -> DriverError | None:
        """Why a message is not even sent."""
        kind: type[DriverError] = UnsupportedError
        if len(message.body) > MAX_MESSAGE_BYTES:
            kind, why = MessageTooLargeError, f"has {len(message.body)} bytes; send at most {MAX_MESSAGE_BYTES}"
        elif message.priority > 0 and not spec.priorities:
            why = "has a priority, but the queue was declared without priorities; add `requires: [priority]` to it"
        elif spec.ordering == "key" and message.key is not None and (message.delay > 0 or message.priority > 0):
            why = "has a key and a delay or a priority, which would break the order of the key; omit them"
        elif message.delay > LONGEST_DELAY:
            why = f"has a delay of {message.delay:.0f} s; the longest delay is {LONGEST_DELAY:.0f} s"
        else:
            return None
        return self._errors.make(kind, spec.name, f"message {message.id!r} {why}")
