"""Places: the queues that the letters of a batch come from and go to, and how one is put there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tasuki.contracts.driver import Driver, Outgoing, QueueSpec, Transfer, place_of
from tasuki.dead.batch import TRASH, Batch
from tasuki.dead.forms import moved_form
from tasuki.errors import DriverError, MessageNotFoundError, MessageTooLargeError, QueueFullError, QueueNotFoundError
from tasuki.message import TRACE, TRACEPARENT, HeaderValue, Message
from tasuki.observe.trace import Headers
from tasuki.queues.dead_letter import home_of
from tasuki.queues.middleware import Carry, tell
from tasuki.queues.queue import Queue
from tasuki.security.guard import Guard

if TYPE_CHECKING:
    from tasuki.dead.host import Host


Form = Callable[[Message, float], Outgoing]
"""The message to send for a letter at a time, in Unix seconds."""


class Places:
    """Of one batch. ``form``: of letters, where the batch's own is not meant."""

    def __init__(self, host: Host, batch: Batch, form: Form | None = None) -> None:
        self._host = host
        self._batch, self._form = batch, form
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

    @property
    def forbidden(self) -> list[str]:
        """Ids of queues of letters that the application may not publish to."""
        return sorted(id for id, is_allowed in self._allowed.items() if not is_allowed)

    def form(self, letter: Message, now: float, to: QueueSpec | None = None) -> Outgoing:
        """A letter as it is moved."""
        if self._form is not None:
            return self._form(letter, now)
        return moved_form(letter, self._batch.act, self._batch.id, now, to)

    def home(self, headers: Mapping[str, HeaderValue]) -> Queue | None:
        """The queue that a letter with these headers is from; None: the project has it no more."""
        return home_of(Message("", b"", dict(headers)), self.source, self._host.queues)

    def reaches(self, queue: Queue) -> bool:
        """Whether letters get there in one step, and back."""
        return reaches(self.source, queue)

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
        letters: Sequence[Message] = (),
        carry: Carry | None = None,
    ) -> list[DriverError | None]:
        """Put messages of ours into a queue, by another way than a publish if there is one; one answer each.

        Observers hear of those that are stored. ``letters``: what they were, for their traces.
        """
        after = [after_letter(letter) for letter in letters]
        answers = await queue.forward(messages, carry=carry, after=after)
        if carry is not None and self._told is not None:  # else they have heard
            stored = [message for message, answer in zip(messages, answers, strict=True) if answer is None]
            if stored:
                self._told(queue.id, stored, [None] * len(stored))
        return answers

    def queues(self, ids: Sequence[str]) -> list[Queue]:
        """The queues of these ids, as far as the project still has them."""
        known: Mapping[str, Queue] = self._host.queues
        return [known[id] for id in ids if id in known]


async def transfer(
    driver: Driver, name: str, letters: Sequence[Message], to: str, messages: Sequence[Outgoing]
) -> list[DriverError | None]:
    """Let messages take the places of waiting letters, in one step each; one answer for each.

    Args:
        driver: of both queues, which has ``transfer``.
        name: of the letters' queue at the broker.
        letters: to be taken out.
        to: the name of the queue that gets the messages.
        messages: one for each letter.

    Raises DriverError: the broker refuses. If all have gone, or do not fit, or the queue that they go to has been
    deleted, each has that as its answer.
    """
    pairs = zip(letters, messages, strict=True)
    batch = [Transfer(letter.id, to, message, place_of(letter)) for letter, message in pairs]
    try:
        return list(await driver.transfer(name, batch)) or [None] * len(batch)
    except (MessageNotFoundError, MessageTooLargeError, QueueFullError, QueueNotFoundError) as error:
        if isinstance(error, QueueNotFoundError) and error.queue == name:
            raise
        return [error] * len(batch)


def moves_in_one_step(driver: Driver) -> bool:
    """Whether waiting letters of its queues are shown, found, and moved in one step."""
    able = driver.capabilities
    return able.has("transfer") and able.has("find") and able.has("peek")


def reaches(source: Queue, target: Queue) -> bool:
    """Whether letters get from one queue to the other in one step: not between two slots of a Redis cluster."""
    return target.driver is source.driver and source.driver.can_transfer(source.spec.name, target.spec.name)


def after_letter(letter: Message) -> Headers:
    """The span that put a dead letter into its queue; empty: none was recorded."""
    return {TRACEPARENT: letter.headers[TRACE]} if TRACE in letter.headers else {}


async def removed(driver: Driver, name: str, letters: Sequence[Message]) -> int:
    """Remove these letters of a queue, and no others of their ids; returns how many. Raises DriverError."""
    return await driver.remove(
        name, [each.id for each in letters], [place for each in letters if (place := place_of(each))]
    )


def trash_spec(spec: QueueSpec) -> QueueSpec:
    """The queue of the letters that were deleted from this one: no consumer receives from it."""
    return QueueSpec(spec.name + TRASH, lease=spec.lease, options=spec.options)
