"""Reply queues: those that ``app.request`` makes for one process, as it and as whoever answers see them."""

from __future__ import annotations

import re
import uuid
from collections import OrderedDict

from tasuki.clock import Clock
from tasuki.contracts.driver import QueueSpec
from tasuki.queues.policy import QueuePolicy
from tasuki.queues.queue import Queue

NAMESPACE = "reply"
"""The ids of these queues are ``reply:<32 hexadecimal digits>``; policies may name ``reply:*``."""

_ID = re.compile(rf"{NAMESPACE}:[0-9a-f]{{32}}", re.ASCII)
_REMEMBERED = 1000
"""Reply queues of other processes that are kept declared."""


def new_reply_id() -> str:
    """An id that nobody can guess: knowing it is what lets one reply."""
    return f"{NAMESPACE}:{uuid.uuid4().hex}"


def is_reply_id(name: str) -> bool:
    """Whether it is an id as ``new_reply_id`` makes them: never the name of any other queue."""
    return _ID.fullmatch(name) is not None


def reply_queue(id: str, request: Queue, clock: Clock) -> Queue:
    """The reply queue of this id for requests to a queue: on the same driver, with the same codec, limit and keys."""
    return Queue(
        id,
        driver=request.driver,
        spec=QueueSpec(id.replace(":", "."), temporary=True),
        codec=request.codec,
        codecs=request.codecs,
        policy=QueuePolicy(max_message_size=request.policy.max_message_size, signing=request.policy.signing),
        clock=clock,
    )


class ForeignReplyQueues:
    """The reply queues of other processes that this one has answered to, declared on its own drivers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], Queue] = OrderedDict()

    async def get(self, id: str, request: Queue) -> Queue:
        """The queue, declared. Raises DriverError when the broker cannot declare it now."""
        key = (id, request.id)
        queue = self._known.get(key)
        if queue is None or queue.driver is not request.driver:
            queue = reply_queue(id, request, self._clock)
            await queue.driver.declare(queue.spec)
            self._known[key] = queue
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return queue
