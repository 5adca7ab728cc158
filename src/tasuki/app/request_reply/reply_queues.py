"""Reply queues that ``app.request`` makes for one process, as seen by the requester and by the replier."""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tasuki.clock import Clock
from tasuki.contracts.driver import Driver, QueueSpec
from tasuki.errors import DriverError, QueueNotFoundError
from tasuki.queues.messages.headers import RequesterGoneError
from tasuki.queues.policy import QueuePolicy
from tasuki.queues.queue import Queue

_log = logging.getLogger("tasuki.app")

NAMESPACE = "reply"
"""The ids of these queues are ``reply:<32 hexadecimal digits>``; policies may name ``reply:*``."""

_ID = re.compile(rf"{NAMESPACE}:[0-9a-f]{{32}}", re.ASCII)
_REMEMBERED = 100
"""Most reply queues of other processes that a driver keeps, besides the ones in use."""


def new_reply_id() -> str:
    """An id that no client can guess: any client that knows the id may reply."""
    return f"{NAMESPACE}:{uuid.uuid4().hex}"


def is_reply_id(name: str) -> bool:
    """Whether ``new_reply_id`` could have made the id; no other queue has such a name."""
    return _ID.fullmatch(name) is not None


def _broker_name(id: str) -> str:
    return id.replace(":", ".")


def reply_queue(id: str, request: Queue, clock: Clock) -> Queue:
    """The reply queue of this id for requests to a queue: on the same driver, with the same codec, limit and keys."""
    queue = Queue(
        id,
        driver=request.driver,
        spec=QueueSpec(_broker_name(id), temporary=True),
        codec=request.codec,
        codecs=request.codecs,
        policy=QueuePolicy(max_message_size=request.policy.max_message_size, signing=request.policy.signing),
        clock=clock,
    )
    queue.tracing = None if request.tracing is None else request.tracing.for_replies(id)
    return queue


class ForeignReplyQueues:
    """The reply queues of other processes that this one replies to; creates none, and forgets the oldest ones."""

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
        """Forget the queues of a driver that is about to be closed."""
        for key in [key for key in self._known if key[0] is driver]:
            del self._known[key]


@dataclass(eq=False, slots=True)
class _Foreign:
    """One reply queue; ``users`` is the number of publishes to it now."""

    is_gone: bool = False
    queues: dict[str, Queue] = field(default_factory=dict)
    """By the id of the requests' queue, whose codec and keys the replies use."""
    users: int = 0
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def queue_for(self, id: str, request: Queue, clock: Clock) -> Queue:
        """The reply queue with the codec and keys of the requests' queue; the first call inspects it at the broker."""
        async with self._changing:
            queue = self.queues.get(request.id)
            if queue is None:
                queue = reply_queue(id, request, clock)
                if not self.queues:
                    await queue.driver.inspect(queue.spec)
                self.queues[request.id] = queue
            return queue

    async def forget(self, driver: Driver, id: str) -> bool:
        """Make the driver forget the queue; False: it is in use."""
        async with self._changing:
            if self.users:
                return False
            self.queues.clear()
            try:
                await driver.undeclare(_broker_name(id))
            except DriverError as error:  # it costs some memory; the reply was published
                _log.debug("reply queue %s is not forgotten: %s", id, error)
            return not self.users
