"""Places: the queues that the letters of a batch come from and go to, and how one is put there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tasuki.contracts.driver import Driver, Outgoing, QueueSpec, Transfer, place_of
from tasuki.dead.rules.batch import TRASH, Batch
from tasuki.errors import DriverError, MessageNotFoundError, MessageTooLargeError, QueueFullError, QueueNotFoundError
from tasuki.message import HeaderValue, Message
from tasuki.observe.trace import Headers
from tasuki.queues.dead.home import home_of
from tasuki.queues.middleware import Carry
from tasuki.queues.observing import tell
from tasuki.queues.queue import Queue
from tasuki.security.guard import Guard

if TYPE_CHECKING:
    from tasuki.dead.host import Host


class Places:
    """Of one batch."""

    def __init__(self, host: Host, batch: Batch) -> None:
        self._host = host
        self._batch = batch
        self.source: Queue = host.queue(batch.queue)
        self._guard: Guard | None = None if batch.is_permitted else host.rights.application
        self._allowed: dict[str, bool] = {}
        self._told = tell(host.observers, "on_publish")

    @property
    def driver(self) -> Driver:
        """Of the dead-letter queue."""
        return self.source.driver

    @property
    def trash(self) -> str:
        """The name of the queue of deleted letters."""
        return self.source.spec.name + TRASH

    def target(self, letter: Message) -> Queue | None:
        """The queue that a letter goes to; None: there is none, or it is closed to the application."""
        if self._batch.to:
            queue = self._host.queues.get(self._batch.to)
        else:
            queue = home_of(letter, self.source, self._host.queues)
        if queue is None or self._guard is None:
            return queue
        id = queue.id
        if id not in self._allowed:
            self._allowed[id] = self._guard.decide("queue.publish.queue", id).allowed
        return queue if self._allowed[id] else None

    def home(self, headers: Mapping[str, HeaderValue]) -> Queue | None:
        """The queue that a letter with these headers is from; None: the project has it no more."""
        return home_of(Message("", b"", dict(headers)), self.source, self._host.queues)

    def reaches(self, queue: Queue) -> bool:
        """Whether letters get there in one step, and back."""
        return queue.driver is self.driver and self.driver.can_transfer(self.source.spec.name, queue.spec.name)

    @property
    def has_trash(self) -> bool:
        """Whether letters get into the trash in one step; not on another node of a cluster."""
        return self.driver.can_transfer(self.source.spec.name, self.trash)

    async def declare_trash(self) -> None:
        """Make the queue of deleted letters, unless there is one. Raises DriverError."""
        await self.driver.declare(trash_spec(self.source.spec))

    async def put(
        self,
        queue: Queue,
        messages: Sequence[Outgoing],
        after: Sequence[Headers] = (),
        carry: Carry | None = None,
    ) -> list[DriverError | None]:
        """Put messages of ours into a queue, by another way than a publish if there is one; one answer each.

        Observers hear of those that are stored. ``after``: of each the headers of the span that its own follows.
        """
        answers = await queue.forward(messages, carry=carry, after=after)
        if carry is not None and self._told is not None:  # else they have heard
            stored = [message for message, answer in zip(messages, answers, strict=True) if answer is None]
            if stored:
                self._told(queue.id, stored, [None] * len(stored))
        return answers

    async def transfer(self, name: str, batch: Sequence[Transfer]) -> list[DriverError | None]:
        """Move messages out of a queue of the broker in one step each; one answer for each.

        Raises DriverError: the broker refuses. If all have gone, or do not fit, or the queue that they go to has been
        deleted, each has that as its answer.
        """
        try:
            return list(await self.driver.transfer(name, batch)) or [None] * len(batch)
        except (MessageNotFoundError, MessageTooLargeError, QueueFullError, QueueNotFoundError) as error:
            if isinstance(error, QueueNotFoundError) and error.queue == name:
                raise
            return [error] * len(batch)

    def queues(self, ids: Sequence[str]) -> list[Queue]:
        """The queues of these ids, as far as the project still has them."""
        known: Mapping[str, Queue] = self._host.queues
        return [known[id] for id in ids if id in known]


async def removed(driver: Driver, name: str, letters: Sequence[Message]) -> int:
    """Remove these letters of a queue, and no others of their ids; returns how many. Raises DriverError."""
    return await driver.remove(
        name, [each.id for each in letters], [place for each in letters if (place := place_of(each))]
    )


def trash_spec(spec: QueueSpec) -> QueueSpec:
    """The queue of the letters that were deleted from this one: no consumer receives from it."""
    return QueueSpec(spec.name + TRASH, lease=spec.lease, options=spec.options)
