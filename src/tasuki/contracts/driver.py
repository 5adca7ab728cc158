"""The driver contract: what a broker must do to carry queues. Read this to write a driver.

The framework *pulls*: it asks for up to ``limit`` messages and settles each delivery once. A push broker fills a small
inbox of its own, bounded by its own prefetch. The clauses below each have a test of the same number in
``tasuki.testing.conformance``; a class of fifteen lines runs them against your driver.

 1. Declaring twice is harmless and loses nothing; declaring again with other options updates them and keeps messages.
 2. Body (any bytes), id and headers arrive unchanged.
 3. ``receive`` gives at most ``limit``; on an empty queue it waits about ``wait`` and then gives an empty list.
 4. A message is with one receiver until it is settled or its lease ends.
 5. Acked is gone.
 6. Nacked with delay 0 is back at once, not at the end of the lease.
 7. Nacked or released with delay d is hidden for at least d. Published with delay d likewise (``native_delay``).
 8. ``attempt`` is 1 plus the failures so far: nacks, and recorded starts (28) that ended without a settlement. Neither
    a release raises it, nor the end of a delivery that never started with its holder or its lease.
 9. Settling twice reports the second as stale; it never raises for a stale receipt.
10. A receipt is stale once its message was handed out again.
11. ``extend`` sets the lease to now + lease, and reports receipts that are no longer held as stale.
12. One publisher's messages arrive in the order of publishing, if ``ordered``; a release puts them back at the head.
13. An undeclared queue: QueueNotFoundError from every verb.
14. Broker gone: BrokerUnavailableError from every verb, within a bound. Broker silent: BrokerTimeoutError or
    BrokerUnavailableError. Both are retryable. A connection that answers nothing within its deadline is replaced.
15. Concurrent receivers share a queue without overlap.
16. A cancelled ``receive`` or ``publish`` loses nothing that it had taken.
17. ``close`` is idempotent, releases held messages (their leases end at once where the broker allows), and wakes a
    waiting ``receive``, which returns an empty list or raises BrokerUnavailableError.
18. After a SIGKILL of the holder its messages are back within the lease (drivers that serve several processes).
19. After a broker restart every confirmed message is still there (durable drivers).
20. Attempts, suspects and recorded starts survive both.
21. Higher ``priority`` is received first (``native_priority``).
22. Of the messages of one ``key``, at most one is held, and they are received in order, also past nacks
    and releases, delayed or not (``ordering_key``, only on a queue declared with ``ordering="key"``).
23. ``max_length``: a full queue rejects new messages with QueueFullError, message by message, in order: once one of a
    batch is rejected for room, all after it are. A held message keeps its place, so nack and release never fail.
24. ``peek`` shows without receiving. ``purge`` removes the messages that were not held when it began, and says how
    many; a message that is published during a purge survives it.
25. ``depth`` counts the attached consumers of all living processes (``counts_consumers``).
26. In a queue declared with ``dedup_window`` a message whose id was published within that time is confirmed and not
    stored again, even if the first one was acked meanwhile. A message with ``deduplicate=False`` is always stored, and
    does not change the remembered ids (``dedup``). Each queue remembers its own ids. A rejected message is not
    remembered.
27. ``delete`` removes a queue with all its messages, held ones too; it is then as if it had never been declared
    (``delete``).
28. A delivery that ended without a settlement (its holder died, its lease ended) comes back with the same ``attempt``
    and as a ``suspect``; it stays one through releases, until it is nacked. ``start`` records at the broker that its
    handler begins: if that delivery ends without a settlement as well, the message is one attempt older. A nack after
    a start counts once; a release takes the record back (``counts_attempts``).
29. ``undeclare`` forgets a queue in this process and frees what it used here: every verb then answers
    QueueNotFoundError, and a waiting ``receive`` ends with an empty list or that error. Open deliveries can be settled
    and extended while their leases last. Nothing changes at the broker. Idempotent.
30. ``inspect`` makes the verbs work on a queue that exists, and neither makes nor changes it, now or later: once it is
    gone, a publish to it is rejected with QueueNotFoundError. Publishing never makes a ``temporary`` queue.
31. No message stays held without a holder: if a settlement cannot be delivered, the broker requeues the message, also
    when the caller has given up.
32. Empty batches and a ``limit`` of 0 give an empty answer without asking the broker. A delay that is negative or not
    finite, or a priority outside 0 to 9, is refused with UnsupportedError. A settlement after the lease is accepted as
    long as the message was not handed out again, unless the broker refuses that or cannot tell.
33. The options of the last declaration hold for all processes, without another declaration of theirs.
34. A forked child leaves its parent's connections alone: its verbs answer BrokerUnavailableError, or use connections of
    their own. It has the queues of its parent, and no consumers.
35. ``occupancy`` says of what ``depth`` would count at least one, and costs the same with any number of messages.
36. ``move`` acks a delivery and stores messages in another queue of the driver. If they cannot be stored, the delivery
    stays held; a stale receipt is answered with StaleReceiptError. With ``atomic_move`` each move is one step: a kill
    at any time leaves both effects or neither, and a stale receipt stores nothing.
37. ``remove`` deletes ready and delayed messages of a queue by their ids, each message of an id, and returns how many;
    held messages stay. A remembered id (26) stays remembered, and the next message of a key moves up (``remove``).
38. ``peek`` shows the last ``error`` that a nack gave, and its time, as the headers ``x_last_error`` and
    ``x_last_error_time`` (Unix seconds); another nack without one and a release keep it. ``receive`` never shows it
    (``keeps_errors``).
39. A message with ``unique`` is stored only if no other message of its queue has its key; else the answer is Merged.
    ``pending``: a ready or delayed message has the key; ``running``: a held one too; a window: the last one stored has
    it for so long, by the broker's clock, whatever became of it. Of many publishers at once, exactly one stores.
40. ``keep`` changes nothing. ``replace`` gives the waiting message the new id, body and headers, and no attempts; it
    stays at its place, with its priority, key and delay. ``extend`` hides it for the new delay as well, but not beyond
    ``latest`` seconds after the first message of the key was stored. A held message is kept, whatever the act.
41. A key is free once its message is gone: acked, moved, removed or purged. A message that comes back has its key
    again, unless a newer one has it. A window ends by its time alone, or with its queue. A rejected message takes no
    key, a kept one is not remembered (26), and a remembered id changes nothing. A restart of the broker keeps the keys.
49. ``expedite`` ends the delays of the delayed messages of these ids, and returns how many there were: they are ready
    as if their time had come, with their attempts, priorities, keys and places in order, and wake a waiting
    ``receive``. Held and ready messages are left alone (``expedite``).

A driver never retries, sleeps between retries, logs above debug, counts metrics, decodes bodies, reads a clock other
than the one it is given, or catches CancelledError. Nothing but DriverError leaves it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

from tasuki.contracts.moving import publish_then_ack
from tasuki.contracts.results import Answers
from tasuki.contracts.state.store import Store
from tasuki.contracts.values import (
    ACTS,
    DURABILITIES,
    NACK_ERROR_CHARS,
    SPANS,
    Ack,
    Act,
    Capabilities,
    Depth,
    Durability,
    Merged,
    Move,
    Nack,
    Occupancy,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Release,
    Settlement,
    Span,
    Unique,
)
from tasuki.errors import DriverError, UnsupportedError
from tasuki.message import Message

__all__ = [
    "ACTS", "CONTRACT", "DURABILITIES", "NACK_ERROR_CHARS", "SPANS", "Ack", "Act", "Answers", "Capabilities", "Depth",
    "Driver", "Durability", "Merged", "Move", "Nack", "Occupancy", "Outgoing", "QueueSpec", "Receipt", "Received",
    "Release", "Settlement", "Span", "Unique",
]  # fmt: skip

CONTRACT = 3
"""The edition of this contract, which a driver's kind names; the first one ended at clause 35, the second at 38."""


class Driver(ABC):
    """Speaks to one broker. All times are float seconds; all verbs may raise DriverError and nothing else.

    Every verb must keep clauses 13, 14, 32 and 34. Its docstring says what else it must do, as far as the capabilities
    claim it, by the numbers of the clauses; what it may do; and what it need not do.
    """

    capabilities: ClassVar[Capabilities]
    tells_options: ClassVar[bool] = True
    """Whether ``inspect`` can tell options that are in force; False: the broker shows none to a client."""

    def __init__(self, name: str) -> None:
        self.name = name
        """The entry's id; only for messages."""
        self.problem: DriverError | None = None
        """Why the last attempt to open it failed, set by the caller of ``open``; for messages."""

    @property
    def durability(self) -> Durability:
        """What a confirmed message survives with the broker's present configuration, as last read."""
        return self.capabilities.durability

    def durability_of(self, queue: str) -> Durability:
        """What a message confirmed in this queue survives; a look-up, without a request to the broker."""
        return self.durability

    @property
    def patience(self) -> float | None:
        """Seconds of silence after which the broker may give a holder's messages to others; None: never.

        Only for a broker without ``leases``: the consumer then uses it as the lease, and ``extend`` must report the
        receipts of a lost session.
        """
        return None

    async def time(self) -> float | None:
        """The broker's clock in Unix seconds; None: it shows none, or is on this machine. For ``tasuki doctor``.

        Must: ask the broker at each call, or answer None.
        """
        return None

    @abstractmethod
    async def open(self) -> None:
        """Connect. Idempotent, also at the same time; after a close it opens again, with the messages it had.

        Must: find every confirmed message again (19), and declare the recorded queues (1). May: raise; the caller tries
        again later. Need not: wait for a broker that is away.
        """

    @abstractmethod
    async def close(self) -> None:
        """Disconnect. Idempotent.

        Must: release held messages at once where the broker allows it, and wake waiting receives (17). May: leave them
        to their leases elsewhere. Need not: forget queues; they are there after the next ``open``.
        """

    @abstractmethod
    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue exist with these options. Before ``open`` it is recorded for that.

        Must: keep its messages (1), and apply changed options for all processes (33). May: refuse options with
        UnsupportedError or QueueConflictError, and then change nothing. Need not: reach the broker before ``open``.
        """

    @abstractmethod
    async def undeclare(self, queue: str) -> None:
        """Forget the queue in this process, and free what it used here. Idempotent.

        Must: end waiting receives, and still settle and extend open deliveries (29). Need not: ask the broker.
        """

    @abstractmethod
    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """Know an existing queue without making or changing it; for tools, and for replies to other processes.

        Returns the options in force as far as the broker can tell them, else those given. Raises QueueNotFoundError
        where the broker does not have the queue, BrokerUnavailableError where the driver is not open and cannot know.
        A queue that this process has declared stays declared.

        Must: neither make nor change it, now or at a reconnect (30). May: return the given options (``tells_options``).
        Need not: hold over a close.
        """

    @abstractmethod
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        """Hand over 1 to ``max_batch`` messages; returns when the broker has answered for all of them.

        Returns an empty sequence if all are stored (the common case costs nothing), else one item per message, in
        order: None where stored, Merged where another message has the key (39), the error where not. Raises DriverError
        when the whole batch shares its fate.

        Must: keep body, id and headers (2), the publisher's order (12, 22), delays and priorities (7, 21); store each
        message whole or not at all, also if cancelled (16); reject for room in order (23); confirm a remembered id
        (26); make no temporary queue (30); keep keys unique (39, 40, 41), or refuse a message whose span or act it does
        not claim with UnsupportedError. May: store a part of a batch. Need not: wait for room.
        """

    async def publish_within(self, connection: Any, queue: str, batch: Sequence[Outgoing]) -> Answers:
        """The same inside the transaction that the caller has open on a connection of its own (``transactional``).

        The messages appear, and wake receivers, when the caller commits; a rollback leaves nothing of them. Never waits
        for room. With a synchronous connection it returns without suspending, so that callers without an event loop
        can run it.
        """
        raise self._unsupported("publish in a transaction of the caller's", queue)

    @abstractmethod
    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """Take up to ``limit`` messages for the queue's lease; returns as soon as there is one, or after ``wait``.

        A consumer waits for up to a minute, and a process may have a thousand of them: a wait must cost the broker
        next to nothing, and must end when the connection is lost.

        Must: wait, and return at most ``limit`` (3); give each message to one receiver (4, 10, 15), in order (12, 21,
        22), with its attempt and whether it is a suspect (8, 20, 28); lose nothing if it is cancelled (16) or its
        process is killed (18). May: return fewer messages than are ready. Need not: be fair to waiting receives.
        """

    @abstractmethod
    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        """Record at the broker that the handlers of these deliveries begin; returns the receipts that were stale.

        Called for suspects only, so that a message without a crash costs nothing. A driver that can record only by
        storing the message again may report a receipt as stale: the message then comes at once, with its record.

        Must: make the message one attempt older if this delivery ends without a settlement (8, 20, 28). May: set its
        lease again. Need not: record a second start of a delivery.
        """

    @abstractmethod
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """End deliveries; returns the receipts that were stale (usually none). Never raises for a stale one.

        Must: forget acked messages (5); show the others at once, or after their delay (6, 7), at their places (12, 22),
        also in a full queue (23); count nacks (8); report stale receipts (9, 10); work after ``undeclare`` (29); leave
        no message held that it could not settle (31). May: take several requests for a batch, keep the errors of nacks
        (38). Need not: undo any.
        """

    async def move(self, queue: str, batch: Sequence[Move]) -> Sequence[DriverError | None]:
        """Ack deliveries of ``queue``, each together with publishing messages to a queue of this driver.

        Returns an empty sequence if all are moved, else one item per move, in order: None where moved, else the error:
        StaleReceiptError, or an error of ``publish``. Raises DriverError when the whole batch shares its fate. This
        default publishes and then acks: a kill in between leaves both, and so does a stale receipt.

        Must: leave the delivery held if the messages cannot be stored, and report stale receipts (36). May: take one
        step (``atomic_move``). Need not: do so for all queues (``is_move_atomic``).
        """
        return await publish_then_ack(self, queue, batch)

    def is_move_atomic(self, queue: str, to: str) -> bool:
        """Whether a move from one queue to the other is one step; a look-up, without a request to the broker."""
        return self.capabilities.atomic_move

    @abstractmethod
    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Set the leases to now + ``lease``; returns the receipts that were stale.

        Called from a thread with an event loop of its own, so that a handler that blocks the main loop keeps its
        leases: it must not use anything bound to the loop that opened the driver.

        Must: set the leases, and add nothing to them (11); work after ``undeclare`` (29). May: shorten them. Need not:
        do more than report stale receipts, without ``leases``.
        """

    @abstractmethod
    async def depth(self, queue: str) -> Depth:
        """Count the messages.

        Must: be exact if ``exact_depth``, and count the consumers of all processes (25). May: estimate
        (``is_estimate``). Need not: know the consumers or the oldest age; they are None then.
        """

    async def occupancy(self, queue: str) -> Occupancy:
        """Whether there are messages; called every few seconds for each consumer, more often by ``--until-empty``.

        Must: cost the same with any number of messages (35). May: use ``depth``, as here, if that does.
        """
        depth = await self.depth(queue)
        return Occupancy(depth.ready > 0, depth.in_flight + depth.delayed > 0)

    async def attach(self, queue: str, consumers: int) -> None:
        """Register how many consumers of this process receive from the queue now; only ``depth`` shows the number.

        Must: hold until the next call, also over a close or a lost connection (25). Need not: do anything at a broker
        that counts its consumers itself, or has no place to count them.
        """
        return

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        """Show ``limit`` waiting messages (ready, then delayed) from number ``after`` on.

        Must: leave them untouched (24), and show their last errors if ``keeps_errors`` (38).
        """
        raise self._unsupported("peek", queue)

    async def purge(self, queue: str) -> int:
        """Remove the messages that are not held; returns how many. Must: keep those published meanwhile (24)."""
        raise self._unsupported("purge", queue)

    async def remove(self, queue: str, ids: Collection[str]) -> int:
        """Remove the messages of these ids by a search; returns how many. Must: keep held ones (37)."""
        raise self._unsupported("remove messages by their ids", queue)

    async def expedite(self, queue: str, ids: Collection[str]) -> int:
        """End the delays of messages of these ids; returns how many there were. Must: keep all else of them (49)."""
        raise self._unsupported("end the delays of messages by their ids", queue)

    async def delete(self, queue: str) -> None:
        """Remove a declared queue from the broker with all that it holds, and forget that it was declared.

        For queues that live as long as one process, such as its reply queue. Other processes may still have the queue
        declared: their messages to it may be lost, or create it again. Its receipts are stale or not found.
        Must: remove held messages too (27).
        """
        raise self._unsupported("delete", queue)

    def store(self, name: str) -> Store:
        """The store of this name at this broker, for as long as the driver is open. Raises UnsupportedError."""
        raise UnsupportedError(f"driver {self.name!r} has no store: name one of another driver", driver=self.name)

    def _unsupported(self, verb: str, queue: str) -> DriverError:
        return UnsupportedError(f"driver {self.name!r} cannot {verb}", driver=self.name, queue=queue)
