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
17. ``close`` is idempotent, frees what is held (leases of open deliveries end at once where the broker allows), and
    wakes a waiting ``receive``, which gives an empty list or BrokerUnavailableError.
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
25. ``depth`` counts the consumers that were attached, over all processes; those of a dead process no more
    (``counts_consumers``).
26. In a queue declared with ``dedup_window`` a message whose id was published within that time is confirmed and not
    stored again, also if the first one is done by then; a message with ``deduplicate=False`` is always stored, and
    changes nothing in what is remembered (``dedup``). Ids of different queues have nothing to do with each other. A
    rejected message is not remembered.
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
31. No message stays held that nobody will settle: a settlement that cannot be delivered ends in the broker giving the
    message back, also when the caller has given up.
32. Empty batches and a ``limit`` of 0 give an empty answer without asking the broker. A delay that is negative or not
    finite, or a priority outside 0 to 9, is refused with UnsupportedError. A settlement after the lease is accepted as
    long as the message was not handed out again, unless the broker refuses that or cannot tell.
33. The options of the last declaration hold for all processes, without another declaration of theirs.
34. A forked child leaves its parent's connections alone: its verbs answer BrokerUnavailableError, or use connections of
    their own.
35. ``occupancy`` says of what ``depth`` would count at least one, and costs the same with any number of messages.
36. ``move`` acks a delivery and stores messages in another queue of the driver. What cannot be stored leaves the
    delivery held; a stale receipt is answered with StaleReceiptError. With ``atomic_move`` each move is one step: both
    happen or neither, whoever is killed when, and a stale receipt stores nothing.
37. ``remove`` takes messages that wait or are delayed out of a queue by their ids, all those of an id, and says how
    many; a held one stays. An id that is remembered (26) stays so, and the next of a key moves up (``remove``).

A driver never retries, sleeps between retries, logs above debug, counts metrics, decodes bodies, reads a clock other
than the one it is given, or catches CancelledError. Nothing but DriverError leaves it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import msgspec

from tasuki.contracts.moving import publish_then_ack
from tasuki.errors import DriverError, UnsupportedError
from tasuki.message import Message

CONTRACT = 2
"""The edition of this contract, which a driver's kind names; the first one ended at clause 35."""

Receipt = Any  # opaque and hashable: only the driver that gave it can read it
Durability = Literal["memory", "process", "broker", "power", "node"]
DURABILITIES: tuple[Durability, ...] = ("memory", "process", "broker", "power", "node")
"""From little to much: each survives what those before it survive."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Facts about a driver; each is proven by the conformance suite or makes a case not applicable."""

    durability: Durability = "memory"
    """What a confirmed message survives: nothing, a worker crash, a broker crash, a power loss, the loss of a node."""
    multi_process: bool = False
    """Several processes can open the same broker."""
    ordered: bool = False
    ordering_key: bool = False
    native_delay: bool = False
    native_priority: bool = False
    declares_priorities: bool = False
    """Priorities work only in a queue declared with ``priorities``."""
    counts_attempts: bool = False
    leases: bool = False
    """Deliveries have a lease that must be extended; False: they are bound to the open driver."""
    exact_depth: bool = False
    peek: bool = False
    purge: bool = False
    remove: bool = False
    counts_consumers: bool = False
    max_length: bool = False
    dedup: bool = False
    """Keeps the ids of a queue's ``dedup_window``."""
    dedup_window: float | None = None
    """The only ``dedup_window`` that it can keep, in seconds; None: any."""
    delete: bool = False
    atomic_move: bool = False
    """``move`` is one step, for the queues of which ``is_move_atomic`` says so."""
    transactional: bool = False
    """Can publish inside the caller's own database transaction."""
    emulates: frozenset[str] = frozenset()
    """Which of the above the driver builds out of other means than the broker's own feature; for the matrix."""
    max_batch: int = 1000
    """Most messages per ``publish``, ``receive``, ``settle`` and ``extend``."""
    max_message_bytes: int | None = None
    max_delay: float | None = None
    """Longest delay in seconds; None: no limit."""


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A queue as a driver must know it: its name at the broker, and the options that the broker enforces."""

    name: str
    lease: float = 30.0
    """Seconds for which a delivery is its receiver's."""
    max_length: int | None = None
    """Most messages (ready, delayed and held) the queue may hold; None: no limit."""
    ordering: Literal["none", "key"] = "none"
    dedup_window: float | None = None
    """Seconds for which an id is remembered; None: not at all."""
    priorities: bool = False
    """Whether its publishers use ``priority``: for a driver that must prepare for it."""
    temporary: bool = False
    """Made for one process, which attaches to it: worthless some minutes after that process is gone.

    It is deleted at the end. A driver that can should see to it that a killed process leaves none behind.
    """
    options: Mapping[str, Any] = field(default_factory=dict)
    """The driver's own bag, already checked against its schema."""


class Outgoing(Message, gc=False):
    """A message to publish: ``delay`` in seconds from now, ``priority`` 0 to 9 (9 first), ``key`` for order per key."""

    delay: float = 0.0
    priority: int = 0
    key: str | None = None
    deduplicate: bool = True
    """False for what must be stored although its id is known: a redrive, a dead letter."""


class Received(Message, gc=False):
    """One delivery: the message, the ``receipt`` that settles it, and its ``attempt`` (1 plus the failures so far)."""

    receipt: Receipt = None
    attempt: int = 1
    suspect: bool = False
    """Whether its last delivery ended without a settlement: its handler may have killed the worker."""


class Ack(msgspec.Struct, frozen=True, gc=False):
    """Done: forget the message."""

    receipt: Receipt


class Nack(msgspec.Struct, frozen=True, gc=False):
    """Failed: show the message again after ``delay`` seconds; this delivery counts as an attempt."""

    receipt: Receipt
    delay: float = 0.0


class Release(msgspec.Struct, frozen=True, gc=False):
    """Never started, or postponed: hand the message back untouched, not counted as an attempt.

    It is visible at once, at the head; with a ``delay`` after that many seconds, as after a nack.
    """

    receipt: Receipt
    delay: float = 0.0


Settlement = Ack | Nack | Release


class Move(msgspec.Struct, frozen=True, gc=False):
    """Done, and here is what follows from it: ack the delivery, and publish ``messages`` to the queue ``to``."""

    receipt: Receipt
    to: str
    messages: tuple[Outgoing, ...]


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages a queue holds; ``oldest_age``: seconds since the oldest ready one was published, or None."""

    ready: int
    in_flight: int
    delayed: int
    oldest_age: float | None = None
    consumers: int | None = None
    """Consumers that receive from it, in all processes; None if the driver cannot tell."""
    is_estimate: bool = False
    """Whether there were too many to count, and the numbers are about right."""


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Whether a queue holds messages: ``ready`` ones, and ``hidden`` ones, which are held or delayed."""

    ready: bool
    hidden: bool


class Driver(ABC):
    """Speaks to one broker. All times are float seconds; all verbs may raise DriverError and nothing else.

    Clauses 13, 14, 32 and 34 are for every verb; each names the others that it must keep.
    """

    capabilities: ClassVar[Capabilities]
    tells_options: ClassVar[bool] = True
    """Whether ``inspect`` can tell options that are in force; False: the broker shows none to a client."""

    def __init__(self, name: str) -> None:
        self.name = name
        """The entry's id; only for messages."""
        self.problem: DriverError | None = None
        """Why it could not be opened the last time, set by whoever opens it; for messages."""

    @property
    def durability(self) -> Durability:
        """What a confirmed message really survives with the running broker's configuration, as last learned."""
        return self.capabilities.durability

    def durability_of(self, queue: str) -> Durability:
        """What a message survives that is confirmed in this queue now; a look-up, it asks nothing of the broker."""
        return self.durability

    @property
    def patience(self) -> float | None:
        """Seconds of silence after which the broker may give a holder's messages to others; None: never.

        Only for a broker without ``leases``: the consumer then treats it as the lease, and ``extend`` must report the
        receipts whose session is gone.
        """
        return None

    @abstractmethod
    async def open(self) -> None:
        """Connect. Idempotent; after a close it opens again, with the messages it had. Clause 19."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything. Idempotent. What is held goes back at once where the broker allows it. Clause 17."""

    @abstractmethod
    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue exist with these options. Before ``open`` it is recorded for that. Clauses 1, 33."""

    @abstractmethod
    async def undeclare(self, queue: str) -> None:
        """Forget the queue in this process, and free what it used here. Idempotent. Clause 29."""

    @abstractmethod
    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """Know an existing queue without making or changing it; for tools, and for replies to other processes.

        Returns the options in force as far as the broker can tell them, else those given. Raises QueueNotFoundError
        where the broker does not have the queue. A queue that this process has declared stays declared.
        Clause 30.
        """

    @abstractmethod
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        """Hand over 1 to ``max_batch`` messages; returns when the broker has answered for all of them.

        Returns an empty sequence if all are confirmed (the common case costs nothing), else one item per message, in
        order: None where confirmed, the error where not. Raises DriverError when the whole batch shares its fate.
        Clauses 2, 7, 12, 16, 21, 22, 23, 26, 30.
        """

    async def publish_within(
        self, connection: Any, queue: str, batch: Sequence[Outgoing]
    ) -> Sequence[DriverError | None]:
        """The same inside the transaction that the caller has open on a connection of its own (``transactional``).

        The messages are there if and when the caller commits, and wake who waits then; nothing is left of them after a
        rollback. Never waits for room. With a synchronous connection it returns without suspending, so that callers
        without an event loop can run it.
        """
        raise self._unsupported("publish in a transaction of the caller's", queue)

    @abstractmethod
    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """Take up to ``limit`` messages for the queue's lease; returns as soon as there is one, or after ``wait``.

        A consumer waits for up to a minute, and a process may have a thousand of them: a wait must cost the broker
        next to nothing, and must end when the connection is lost.

        Clauses 3, 4, 8, 10, 12, 15, 16, 18, 20, 21, 22, 28.
        """

    @abstractmethod
    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        """Record at the broker that the handlers of these deliveries begin; returns the receipts that were stale.

        Called for suspects only, so that a message without a crash costs nothing. A driver that can record only by
        storing the message again may report a receipt as stale: the message then comes at once, with its record.
        Clauses 8, 20, 28.
        """

    @abstractmethod
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """End deliveries; returns the receipts that were stale (usually none). Never raises for a stale one.

        Clauses 5, 6, 7, 8, 9, 10, 12, 22, 23, 29, 31.
        """

    async def move(self, queue: str, batch: Sequence[Move]) -> Sequence[DriverError | None]:
        """Ack deliveries of ``queue``, each together with publishing messages to a queue of this driver.

        Returns an empty sequence if all are moved, else one item per move, in order: None where moved, else why not:
        StaleReceiptError, or what publishing would answer. Raises DriverError when the whole batch shares its fate.
        This one publishes and then acks: a kill in between leaves both, and so does a receipt that is stale. Clause 36.
        """
        return await publish_then_ack(self, queue, batch)

    def is_move_atomic(self, queue: str, to: str) -> bool:
        """Whether a move from one queue to the other is one step; a look-up, it asks nothing of the broker."""
        return self.capabilities.atomic_move

    @abstractmethod
    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Set the leases to now + ``lease``; returns the receipts that were stale.

        Called from a thread with an event loop of its own, so that a handler that blocks the main loop keeps its
        leases: it must not use anything bound to the loop that opened the driver. Clauses 11, 29.
        """

    @abstractmethod
    async def depth(self, queue: str) -> Depth:
        """Count the messages; exact if ``exact_depth``, unless it says ``is_estimate``. Clause 25."""

    async def occupancy(self, queue: str) -> Occupancy:
        """Whether there are messages: asked every few seconds for each consumer, and more often by ``--until-empty``.

        A driver whose ``depth`` takes longer the more there are answers by other means than this. Clause 35.
        """
        depth = await self.depth(queue)
        return Occupancy(depth.ready > 0, depth.in_flight + depth.delayed > 0)

    async def attach(self, queue: str, consumers: int) -> None:
        """Say that so many consumers of this process receive from the queue now; for ``depth``, nothing depends on it.

        Holds until it is said anew, also over a close or a lost connection. A broker that knows its consumers by
        itself, or has nowhere to count them, needs nothing here. Clause 25.
        """
        return

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        """Show ``limit`` waiting messages (ready, then delayed) from number ``after`` on, untouched. Clause 24."""
        raise self._unsupported("peek", queue)

    async def purge(self, queue: str) -> int:
        """Remove all messages that are not held; returns how many. Clause 24."""
        raise self._unsupported("purge", queue)

    async def remove(self, queue: str, ids: Collection[str]) -> int:
        """Remove the messages of these ids that are not held, by a search; returns how many. Clause 37."""
        raise self._unsupported("remove messages by their ids", queue)

    async def delete(self, queue: str) -> None:
        """Remove a declared queue from the broker with all that it holds, and forget that it was declared.

        For queues that live as long as one process, such as that of its replies. Other processes may still have it
        declared: what they publish there may be lost, or make it again. Receipts of it are stale or not found.
        Clause 27.
        """
        raise self._unsupported("delete", queue)

    def _unsupported(self, verb: str, queue: str) -> DriverError:
        return UnsupportedError(f"driver {self.name!r} cannot {verb}", driver=self.name, queue=queue)
