"""Reply queues: those that ``app.request`` makes for one process, as it and as whoever answers see them."""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tasuki.clock import Clock
from tasuki.consumers.settling.replies import RequesterGoneError
from tasuki.contracts.driver import Driver, QueueSpec
from tasuki.errors import DriverError, QueueNotFoundError
from tasuki.queues.policy import QueuePolicy
from tasuki.queues.queue import Queue

_log = logging.getLogger("tasuki.app")

NAMESPACE = "reply"
"""The ids of these queues are ``reply:<32 hexadecimal digits>``; policies may name ``reply:*``."""

_ID = re.compile(rf"{NAMESPACE}:[0-9a-f]{{32}}", re.ASCII)
_REMEMBERED = 100
"""Reply queues of other processes that the driver is to know at a time, beside those in use."""


def new_reply_id() -> str:
    """An id that nobody can guess: knowing it is what lets one reply."""
    return f"{NAMESPACE}:{uuid.uuid4().hex}"


def is_reply_id(name: str) -> bool:
    """Whether it is an id as ``new_reply_id`` makes them: never the name of any other queue."""
    return _ID.fullmatch(name) is not None


def _broker_name(id: str) -> str:
    return id.replace(":", ".")


def reply_queue(id: str, request: Queue, clock: Clock) -> Queue:
    """The reply queue of this id for requests to a queue: on the same driver, with the same codec, limit and keys."""
    return Queue(
        id,
        driver=request.driver,
        spec=QueueSpec(_broker_name(id), temporary=True),
        codec=request.codec,
        codecs=request.codecs,
        policy=QueuePolicy(max_message_size=request.policy.max_message_size, signing=request.policy.signing),
        clock=clock,
    )


class ForeignReplyQueues:
    """The reply queues of other processes that this one answers to; it makes none, and forgets those of long ago."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[Driver, str], _Foreign] = OrderedDict()

    @asynccontextmanager
    async def lend(self, id: str, request: Queue) -> AsyncIterator[Queue]:
        """The reply queue of this id, to publish to within the block.

        Raises:
            RequesterGoneError: the broker does not have it, or the block raises QueueNotFoundError.
            DriverError: the broker cannot tell now.
        """
        key = (request.driver, id)
        foreign = self._known.setdefault(key, _Foreign())
        self._known.move_to_end(key)
        foreign.users += 1
        try:
            yield await foreign.queue_for(id, request, self._clock)
        except QueueNotFoundError as error:
            foreign.is_gone = True
            raise RequesterGoneError(str(error), driver=error.driver, queue=id) from error
        finally:
            foreign.users -= 1
            if foreign.is_gone:
                await self._forget(key)
            elif len(self._known) > _REMEMBERED:
                await self._forget(next((key for key, known in self._known.items() if not known.users), key))

    async def _forget(self, key: tuple[Driver, str]) -> None:
        """Forget one, unless it is in use (again)."""
        foreign = self._known.get(key)
        if foreign is not None and await foreign.forget(*key) and self._known.get(key) is foreign:
            del self._known[key]

    async def close(self, driver: Driver) -> None:
        """Forget those of a driver that is about to be closed."""
        for key in [key for key in self._known if key[0] is driver]:
            del self._known[key]


class _Foreign:
    """One of them; ``users`` publish to it now."""

    __slots__ = ("_changing", "is_gone", "queues", "users")

    def __init__(self) -> None:
        self.is_gone = False
        self.queues: dict[str, Queue] = {}
        """By the queue of the requests, whose codec and keys the replies have."""
        self.users = 0
        self._changing = asyncio.Lock()

    async def queue_for(self, id: str, request: Queue, clock: Clock) -> Queue:
        """The queue as requests to that queue see it; the first time the broker is asked for it."""
        async with self._changing:
            queue = self.queues.get(request.id)
            if queue is None:
                queue = reply_queue(id, request, clock)
                if not self.queues:
                    await queue.driver.inspect(queue.spec)
                self.queues[request.id] = queue
            return queue

    async def forget(self, driver: Driver, id: str) -> bool:
        """Have the driver forget it; False: it is in use."""
        async with self._changing:
            if self.users:
                return False
            self.queues.clear()
            try:
                await driver.undeclare(_broker_name(id))
            except DriverError as error:  # it costs some memory, and the reply is out
                _log.debug("reply queue %s is not forgotten: %s", id, error)
            return not self.users
