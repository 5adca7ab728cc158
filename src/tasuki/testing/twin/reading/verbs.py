"""Reading: what a test asks of a twin: messages and their outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from tasuki.errors import CodecError, HandlerError
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.message import ATTEMPTS, DEAD_LETTER_REASON, LAST_ERROR, ORIGINAL_QUEUE, Message
from tasuki.queues.messages.body_type import BodyType
from tasuki.testing.twin.reading.records import DeadLetter, Failure, Sent, Waiting

if TYPE_CHECKING:
    from tasuki.app.handle import QueueHandle
    from tasuki.drivers.memory.slots import Slot
    from tasuki.queues.queue import Queue
    from tasuki.testing.twin.reading.journal import Outcome
    from tasuki.testing.twin.session import Session

T = TypeVar("T")


class Reading:
    """Plain lists for ``assert``; queues by handle, name or id. A queue that is not declared: QueueNotFoundError."""

    _session: Session

    @overload
    def published(self, queue: QueueHandle[T]) -> list[T]: ...
    @overload
    def published(self, queue: str) -> list[Any]: ...
    def published(self, queue: str | QueueHandle[Any]) -> list[Any]:
        """The bodies that the application has published to a queue so far, in order, as the queue's type.

        Dead letters are in ``dead``; messages that were handled since are here too.
        """
        return [sent.body for sent in self.messages(queue)]

    @overload
    def messages(self, queue: QueueHandle[T]) -> list[Sent[T]]: ...
    @overload
    def messages(self, queue: str) -> list[Sent[Any]]: ...
    def messages(self, queue: str | QueueHandle[Any]) -> list[Sent[Any]]:
        """The same with id, headers, delay in seconds, key and priority."""
        target = self._queue_of(queue)
        sent = self._session.journal.published.get(target.id, [])
        return [
            Sent(one.id, self._body(target, one), dict(one.headers), one.delay, one.key, one.priority) for one in sent
        ]

    @overload
    def waiting(self, queue: QueueHandle[T]) -> list[Waiting[T]]: ...
    @overload
    def waiting(self, queue: str) -> list[Waiting[Any]]: ...
    def waiting(self, queue: str | QueueHandle[Any]) -> list[Waiting[Any]]:
        """The messages that are in a queue now: receivable ones in order, then delayed ones by their time."""
        target = self._queue_of(queue)
        return [self._waiting(target, slot) for slot in self._slots(target)]

    def settled(self, queue: str | QueueHandle[Any]) -> list[Outcome]:
        """How the deliveries of a queue ended, in order: ack, nack, dead_letter, snooze, release."""
        target = self._queue_of(queue)
        place = target.driver.name, target.spec.name
        return [outcome for driver, name, outcome in self._session.journal.settled if (driver, name) == place]

    @property
    def dead(self) -> list[DeadLetter]:
        """The messages in all dead-letter queues now. Their handlers' errors count as read (see ``errors``)."""
        queues = [self._queue_of(id) for id in sorted(self._dead_letter_queues())]
        dead = [self._dead_letter(queue, slot) for queue in queues for slot in self._slots(queue)]
        self._session.journal.read_failures({letter.id for letter in dead})
        return dead

    @property
    def errors(self) -> list[Failure]:
        """The errors that handlers raised and that the test has not read yet; each is here once.

        Signals (Retry, Reject, Snooze) and errors that ``patch`` raised are not among them.
        """
        return self._session.journal.read_failures()

    def idle(self) -> None:
        """Fail the test if messages are left in any queue but the dead-letter queues; says why each one waits."""
        left = self._session.work.explain(but=self._dead_letter_queues())
        if left:
            raise AssertionError(f"messages are left:\n{left}")

    def summary(self) -> str:
        """The published, handled and given up messages, one line a queue, and why each message waits."""
        lines = []
        for id in self._session.work.assembly.queues:
            published, outcomes = self.published(id), self.settled(id)
            if published or outcomes:
                lines.append(f"{id}: published {published!r}; settled {', '.join(outcomes) or 'nothing'}")
        if left := self._session.work.explain():
            lines += ["waiting:", left]
        return "\n".join(lines) or "nothing was published"

    def _queue_of(self, queue: str | QueueHandle[Any]) -> Queue:
        return self._session.work.assembly.queue(self._session.app._runtime.full_id(queue))

    def _slots(self, queue: Queue) -> list[Slot]:
        return self._session.work.slots(queue)

    def _waiting(self, queue: Queue, slot: Slot) -> Waiting[Any]:
        body, error = self._body(queue, slot), slot.failure[0] if slot.failure else ""
        due_in = max(slot.due - self._session.work.now(), 0.0) if slot.due else 0.0
        return Waiting(slot.id, body, dict(slot.headers), due_in, slot.failures + 1, error)

    def _dead_letter(self, queue: Queue, slot: Slot) -> DeadLetter:
        headers = dict(slot.headers)
        origin = str(headers.get(ORIGINAL_QUEUE, ""))
        source = self._session.work.assembly.queues.get(origin, queue)
        return DeadLetter(
            id=slot.id,
            body=self._body(source, slot),
            headers=headers,
            queue=origin,
            reason=str(headers.get(DEAD_LETTER_REASON, "")),
            error=str(headers.get(LAST_ERROR, "")),
            attempts=int(headers.get(ATTEMPTS, 0)),
            cause=self._session.journal.raised.get(slot.id),
        )

    def _dead_letter_queues(self) -> set[str]:
        configs = self._session.work.assembly.project.of(QueueConfig).values()
        return {config.dead_letter.queue for config in configs if config.dead_letter}

    def _body(self, queue: Queue, stored: Slot | Message) -> Any:
        """The body as the queue's type; as plain data where it does not fit, and as bytes where it is unreadable."""
        declared = self._session.work.assembly.project.registry.entries[queue.id].target
        types = [declared.type_, Any] if isinstance(declared, BodyType) else [Any]
        message = Message(stored.id, stored.body, dict(stored.headers))
        for type_ in types:
            try:
                return queue.decode(message, type_)
            except (CodecError, HandlerError):
                continue
        return stored.body
