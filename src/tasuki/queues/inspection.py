"""Inspection: counts, shows and removes the messages of a queue."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, Self

from tasuki.contracts.codec import Codec
from tasuki.contracts.driver import Causes, Depth, Driver, Merged, Occupancy, Outgoing, QueueSpec, place_of
from tasuki.errors import BrokerUnavailableError, DriverError, QueueNotFoundError, UnsupportedError
from tasuki.handlers.body import make_decoder
from tasuki.message import CONTENT_TYPE, Message
from tasuki.queues.messages.codec import Codecs
from tasuki.queues.policy import QueuePolicy, limit_facts

if TYPE_CHECKING:
    from tasuki.queues.dead.letter import LetterNames
    from tasuki.security.guard import Guard


class RecordsWaiting(Protocol):
    """Keeps the first record of each message; see :class:`tasuki.state.job_records.WaitingRecords`."""

    async def note(self, messages: Sequence[Outgoing], versions: Mapping[str, int] | None = None) -> None:
        """Record that confirmed messages wait; ``versions``: by id, of the records that are replaced."""

    async def versions(self, messages: Sequence[Outgoing]) -> Mapping[str, int]:
        """The versions of the records that messages have before they are forwarded."""

    async def note_purge(self) -> None:
        """Record that the messages which wait now are about to be removed."""


class Inspection:
    """The half of a Queue that inspects, and removes."""

    id: str
    driver: Driver
    spec: QueueSpec
    policy: QueuePolicy
    codec: Codec
    guard: Guard | None
    """The rights that each call checks; None: no checks."""
    consumer_count: int
    """Consumers of this queue that run in this process."""
    find_consumers: Callable[[], Awaitable[int | None]] | None = None
    """Counts the consumers of all processes; its None: unknown. None: only this process has some."""
    find_depth: Callable[[], Awaitable[Depth]] | None = None
    """Counts the messages over all processes; None: only the driver does."""
    on_purge: Callable[[], Awaitable[None]] | None = None
    """Called after a purge."""
    origin: Self | None
    """The queue that this one is a guarded view of."""
    find_pause: Callable[[], Awaitable[dict[str, Any] | None]] | None = None
    """Finds who has paused the queue, until when and why; empty: the store does not tell. None: it has no state."""
    waits: RecordsWaiting | None = None
    """Keeps records of waiting messages, where the driver cannot locate them; None: nothing asks for them."""
    _reading: Codecs
    """The codecs that read the bodies of its messages."""
    _reader: Codec
    """The one of its ``codec``."""

    async def depth(self) -> Depth:
        """The number of messages in the queue, over all processes; numbers that cannot be known are None."""
        with self._permitted("queue.info.queue", "see"):
            return await (self.driver.depth(self.spec.name) if self.find_depth is None else self.find_depth())

    async def depth_here(self) -> Depth:
        """The number of messages as the driver counts them alone: ``ready`` ones are what this process can receive."""
        with self._permitted("queue.info.queue", "see"):
            return await self.driver.depth(self.spec.name)

    async def occupancy(self) -> Occupancy:
        """Whether the queue has messages; cheaper than ``depth`` where there are many."""
        with self._permitted("queue.info.queue", "see"):
            return await self.driver.occupancy(self.spec.name)

    async def info(self) -> dict[str, Any]:
        """Its ids and counts: what :class:`Depth` says, their sum as ``message_count``, and ``consumer_count``.

        ``message_count`` is the sum of the known numbers: ``in_flight`` or ``delayed`` is None where it is unknown.
        ``consumer_count``: the consumers of all processes that the queue's state reports, or this process's own where
        it has none; None: unknown, as this process has none and no state reports others.
        ``is_estimate`` is there, and true, only if there were too many messages to count; ``paused`` only while the
        queue is paused: ``until`` (Unix seconds, or None), ``actor``, ``at``, ``reason``; ``is_pause_unknown`` is set,
        and true, only if the store does not answer within two seconds; ``limit`` and ``fair`` only if the queue has
        them: see :func:`tasuki.queues.policy.limit_facts`.
        """
        return await self.info_by(self.find_consumers, self.find_depth)

    async def info_by(
        self,
        find_consumers: Callable[[], Awaitable[int | None]] | None,
        find_depth: Callable[[], Awaitable[Depth]] | None,
    ) -> dict[str, Any]:
        """The same with the numbers of consumers and messages that these functions give."""
        with self._permitted("queue.info.queue", "see"):
            depth = await (self.driver.depth(self.spec.name) if find_depth is None else find_depth())
        here = (self.origin or self).consumer_count
        pause, consumers = await asyncio.gather(
            _nothing() if self.find_pause is None else self.find_pause(),
            _nothing() if find_consumers is None else find_consumers(),
        )
        return {
            "queue": self.id,
            "driver": self.driver.name,
            "message_count": depth.message_count,
            "ready": depth.ready,
            "in_flight": depth.in_flight,
            "delayed": depth.delayed,
            "consumer_count": here if find_consumers is None else consumers,
            "oldest_age": depth.oldest_age,
            **({"is_estimate": True} if depth.is_estimate else {}),
            **({"paused": pause} if pause else {"is_pause_unknown": True} if pause is not None else {}),
            **limit_facts(self.spec, self.policy),
        }

    async def peek(self, limit: int = 10, after: int = 0) -> list[Message]:
        """Show up to ``limit`` waiting messages from number ``after`` on, without taking them.

        Raises:
            ValueError: one of both is no number, or negative.
        """
        for name, value in (("limit", limit), ("after", after)):
            if not isinstance(value, int) or value < 0:
                raise ValueError(f"peek({name}={value!r}): {name} counts messages, so give 0 or more")
        with self._permitted("queue.admin.peek", "look into"):
            return await self.driver.peek(self.spec.name, limit, after)

    def check_may_peek(self) -> None:
        """Raises PolicyDeniedError: who has this object may not look into the queue."""
        with self._permitted("queue.admin.peek", "look into"):
            pass

    async def find(self, ids: Collection[str]) -> list[Message]:
        """Show the waiting messages of these ids, without taking them."""
        with self._permitted("queue.admin.peek", "look into"):
            return await self.driver.find(self.spec.name, ids)

    async def causes(self, most: int, also: Collection[str] = ()) -> Causes:
        """Count the waiting messages by their causes."""
        with self._permitted("queue.admin.peek", "look into"):
            return await self.driver.causes(self.spec.name, most, also)

    async def peek_cause(self, cause: str, limit: int, after: int = 0, *, newest_first: bool = False) -> list[Message]:
        """Show up to ``limit`` waiting messages of one cause, without taking them."""
        with self._permitted("queue.admin.peek", "look into"):
            return await self.driver.peek_cause(self.spec.name, cause, limit, after, newest_first=newest_first)

    async def purge(self) -> int:
        """Remove all messages that no consumer holds; returns how many."""
        with self._permitted("queue.admin.purge", "purge"):
            if self.waits is not None:
                await self.waits.note_purge()
            count = await self.driver.purge(self.spec.name)
        if self.on_purge is not None:
            await self.on_purge()
        return count

    async def remove(self, ids: Collection[str]) -> int:
        """Remove the messages of these ids that no consumer holds, each message of an id; returns how many.

        A name (:mod:`tasuki.queues.dead.letter`) means one message alone, where the driver can ``find`` it.
        """
        with self._permitted("queue.admin.remove", "remove messages from"):
            from tasuki.queues.dead.letter import LetterNames

            return await self._remove_named(LetterNames(ids)) + await self.driver.remove(self.spec.name, ids)

    async def delete(self) -> None:
        """Delete the queue with all its messages; a process that still declares it makes it again."""
        with self._permitted("queue.admin.delete", "delete"):
            await self.driver.delete(self.spec.name)

    def decode(self, message: Message, type_: Any = Any) -> Any:
        """The body as a plain value, or as a type. Raises CodecError or InvalidBodyError."""
        return make_decoder(self.codec_of(message), type_)(message.body)

    def codec_of(self, message: Message) -> Codec:
        """The codec that reads a body: the one that its content type names, or the queue's. See ``reader``."""
        return self.reader(message.headers.get(CONTENT_TYPE))

    def reader(self, content_type: object = None) -> Codec:
        """The codec of a content type, or else the queue's, for the bodies of messages: it refuses too large ones."""
        codec = self._reading.get(content_type) if isinstance(content_type, str) else None
        return codec or self._reader

    def how_read(self, message: Message) -> str:
        """By which codec a body was read, and why, for the error of a body that cannot be."""
        named, codec = message.headers.get(CONTENT_TYPE), self.codec_of(message)
        if named is None:
            why = f"the codec of queue {self.id!r}: the message has no content_type"
        elif isinstance(named, str) and self._reading.get(named) is not None:
            why = "as its content_type says"
        else:
            why = f"the codec of queue {self.id!r}: no codec reads its content_type {named!r:.80}"
        return f"it was read as {codec.name}, {why}"

    async def _remove_named(self, names: LetterNames) -> int:
        if not names.marked or not self.driver.capabilities.has("find"):
            return 0
        shown = await self.driver.find(self.spec.name, names.marked)
        found = {name: each for each in reversed(shown) if (name := names.of(each)) not in ("", each.id)}
        places = [place_of(each) for each in found.values()]
        return await self.driver.remove(self.spec.name, names.marked, places) if all(places) and places else 0

    @contextmanager
    def _permitted(self, action: str, verb: str) -> Iterator[None]:
        """Check the permission; replace the error of a driver that is not open, or has not declared its queues."""
        if self.guard is not None:
            self.guard.require(action, self.id, f"not allowed to {verb} queue: {self.id}")
        try:
            yield
        except (BrokerUnavailableError, QueueNotFoundError) as error:
            if (told := self._told(error)) is error:
                raise
            raise own_copy(told) from told.__cause__

    def _told(self, error: DriverError) -> DriverError:
        problem = self.driver.problem
        if problem is None or not isinstance(error, BrokerUnavailableError | QueueNotFoundError):
            return error
        return problem

    def _advised(self, message: Outgoing, error: DriverError | Merged | None) -> Any:
        """The same error, or, for a priority in a queue without priorities, one with the remedy."""
        if not (message.priority and isinstance(error, UnsupportedError)) or self.spec.priorities:
            return error
        if not self.driver.capabilities.has("declares_priorities"):
            return error
        text = f"queue {self.id!r} was declared without priorities; {self.policy.priority_advice()}"
        told = UnsupportedError(text, driver=self.driver.name, queue=self.id)
        told.__cause__ = error
        return told


def own_copy(error: DriverError) -> DriverError:
    """A batch shares one error; each publisher gets its own, with the same cause."""
    try:
        own = copy.copy(error)
    except TypeError:  # a driver's own subclass that is made in another way
        return error
    own.__cause__ = error.__cause__
    return own


async def _nothing() -> None:
    return None
