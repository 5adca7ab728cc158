"""The driver contract: what a broker must do to carry queues. Read this to write a driver.

The framework *pulls*: it asks for up to ``limit`` messages and settles each delivery once. A push broker fills a small
inbox of its own, bounded by its own prefetch. The numbered clauses are in :mod:`tasuki.contracts.clauses`, and the
verbs name them. A class of fifteen lines runs the test of each against your driver.

A driver never retries, sleeps between retries, logs above debug, counts metrics, decodes bodies, reads a clock other
than the one it is given, or catches CancelledError. Nothing but DriverError leaves it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from tasuki.contracts.clauses import CONTRACT
from tasuki.contracts.groups import Browses, Changes, Keeps, Transacts, publish_then_ack
from tasuki.contracts.values import (
    ACTS,
    DURABILITIES,
    DUTIES,
    GROUP_VERBS,
    NACK_ERROR_CHARS,
    SILENCE,
    SPANS,
    Ability,
    Ack,
    Act,
    Answers,
    Capabilities,
    Causes,
    Depth,
    Durability,
    Kept,
    Limit,
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
    Transfer,
    Unique,
    Waiting,
    Where,
    place_of,
)
from tasuki.errors import DriverError

__all__ = [
    "ACTS", "CONTRACT", "DURABILITIES", "DUTIES", "NACK_ERROR_CHARS", "SILENCE", "SPANS", "Ability", "Ack", "Act",
    "Answers", "Capabilities", "Causes", "Depth", "Driver", "Durability", "Kept", "Limit", "Merged", "Move", "Nack",
    "Occupancy", "Outgoing", "QueueSpec", "Receipt", "Received", "Release", "Settlement", "Span", "Transfer",
    "Unique", "Waiting", "Where", "place_of",
]  # fmt: skip


class Driver(Browses, Changes, Transacts, Keeps, ABC):
    """Speaks to one broker. All times are float seconds; all verbs may raise DriverError and nothing else.

    Every verb must keep clauses 13, 14, 32 and 34. Its docstring says what else it must do, as far as the capabilities
    claim it, by the numbers of the clauses; what it may do; and what it need not do.
    """

    capabilities: ClassVar[Capabilities]
    """Without the verbs that the class defines: these are added."""
    tells_options: ClassVar[bool] = True
    """Whether ``inspect`` can tell options that are in force; False: the broker shows none to a client."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Claim the verbs of the groups that the class has."""
        super().__init_subclass__(**options)
        claimed: Capabilities | None = getattr(cls, "capabilities", None)
        if claimed is not None:
            defined = [verb for verb in GROUP_VERBS if getattr(cls, verb) is not getattr(Driver, verb)]
            cls.capabilities = claimed.also(*defined)

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

    @property
    def refusal(self) -> str | None:
        """Why the broker takes no messages now, as it has told by itself; None: no reason is known.

        A look-up, for health; publishing finds out in any case. Need not: be known to any driver whose broker tells
        nothing by itself.
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
        again later. Need not: wait for an unavailable broker.
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

        Must: keep its messages (1), apply changed options for all processes (33), and keep a temporary one alive (25).
        May: refuse options with UnsupportedError or QueueConflictError, and then change nothing. Need not: reach the
        broker before ``open``.
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
        (26); make no temporary queue (30); keep keys unique (39, 40, 41), without a wait for another client's key in a
        batch (56), or refuse a message whose span or act it does not claim with UnsupportedError. May: store a part of
        a batch. Need not: wait for room.
        """

    @abstractmethod
    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """Take up to ``limit`` messages for the queue's lease; returns as soon as there is one, or after ``wait``.

        A consumer waits for up to a minute, and a process may have a thousand of them: a wait must cost the broker
        next to nothing, and must end when the connection is lost.

        Must: wait, and return at most ``limit`` (3); give each message to one receiver (4, 10, 15), in order (12, 21,
        22), with its attempt and whether it is a suspect (8, 20, 28); lose nothing if it is cancelled (16) or its
        process is killed (18, 61); keep the queue's limits, give its lanes their turns, and wake up for what became
        free (42, 43, 44, 45); find messages that a failed step has left (55). May: return fewer messages than are
        ready. Need not: be fair to waiting receives.
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
        also in a full queue (23); count nacks, and releases only where ``counts_releases`` says so (8); report stale
        receipts (9, 10), also from before the data was put back (54); work after ``undeclare`` (29); leave no message
        held that it could not settle (31). May: take several requests for a batch, keep the errors of nacks (38). Need
        not: undo any.
        """

    async def move(self, queue: str, batch: Sequence[Move]) -> Sequence[DriverError | None]:
        """Ack deliveries of ``queue``, each together with publishing messages to a queue of this driver.

        Returns an empty sequence if all are moved, else one item per move, in order: None where moved, else the error:
        StaleReceiptError, or an error of ``publish``. Raises DriverError when the whole batch shares its fate. This
        default publishes and then acks: a kill in between leaves both, and so does a stale receipt.

        Must: leave the delivery held if the messages cannot be stored, and report stale receipts (36). May: take one
        step (``is_move_atomic``). Need not: do so for all queues (``is_move_atomic``).
        """
        return await publish_then_ack(self, queue, batch)

    def is_move_atomic(self, queue: str, to: str) -> bool:
        """Whether a move from one queue to the other is one step; a look-up, without a request to the broker."""
        return self.capabilities.has("move")

    def counts_releases(self, queue: str, receipt: Receipt) -> bool:
        """Whether a release of this delivery counts as an attempt; a look-up, without a request to the broker.

        Must: tell the truth for each delivery that is held (8). A message that pauses is released each time, so where
        this is true its pauses would make it a dead letter, and are refused.
        """
        return False

    @abstractmethod
    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Set the leases to now + ``lease``; returns the receipts that were stale.

        Called from a thread with its own event loop, so that a handler that blocks the main loop keeps its
        leases: it must not use anything bound to the loop that opened the driver.

        Must: set the leases, and add nothing to them (11); work after ``undeclare`` (29). May: shorten them. Need not:
        do more than report stale receipts, without ``leases``.
        """

    @abstractmethod
    async def depth(self, queue: str) -> Depth:
        """Count the messages.

        Must: be exact if ``exact_depth``; count the messages of all processes, or say None (58). May: estimate
        (``is_estimate``). Need not: know the oldest age; it is None then.
        """

    def kept(self, queue: str) -> Kept | None:
        """What this process holds of a queue, and has delayed; a look-up without I/O, from any thread.

        Must: tell it if ``depth`` says None (58). Need not: be there where the broker counts, as here.
        """
        return None

    async def occupancy(self, queue: str) -> Occupancy:
        """Whether there are messages; called every few seconds for each consumer, more often by ``--until-empty``.

        Must: cost the same with any number of messages (35). May: use ``depth``, as here, if that does.
        """
        depth = await self.depth(queue)
        return Occupancy(depth.ready > 0, depth.message_count > depth.ready)

    @abstractmethod
    async def delete(self, queue: str) -> None:
        """Remove a declared queue from the broker with all that it holds, and forget that it was declared.

        For queues that live as long as one process, such as its reply queue. Other processes may still have the queue
        declared: their messages to it may be lost, or create it again. Its receipts are stale or not found.
        Must: remove held messages too (27).
        """
