"""What a driver says of its database: how to connect, and what a transaction of each verb does to the tables."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol, TypeVar

from tasuki.contracts.driver import Depth, Move, Occupancy, Outgoing, QueueSpec, Receipt, Received, Settlement
from tasuki.drivers.toolkit.database.transactions import Transactional
from tasuki.errors import DriverError, Outcome
from tasuki.message import Message

L = TypeVar("L", bound=Transactional)


class TableStore(Protocol):
    """The tables, as one transaction sees them, which its caller commits.

    Every method raises QueueNotFoundError for a queue that is not in the database, and what the client raises. A method
    that needs other locks raises BeginAgainError before it changes anything, and is called again in a new transaction.
    Transactions of several processes run at the same time: lock queues in the order of their names, messages in the
    order of their numbers, and let ``claim`` skip locked rows. An error of the client, a deadlock too, reaches the
    caller of the verb, which tries again. A method may be cancelled; its connection is then dropped.

    Receipts are ``(number, token)``: of the message, and of its last claim. The token stays in the row until the
    message is settled, so that a late settlement counts, and a claim of a message that has one makes it a suspect.
    """

    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue, or give it these options."""

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """The same spec with the options in force; see :func:`tasuki.drivers.toolkit.results.in_force`."""

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> int:
        """Store the messages for which there is room; returns how many, from the first on, are taken care of."""

    async def claim(self, queue: str, limit: int, token: int) -> list[Received]:
        """Hand out up to ``limit`` messages under the queue's lease; ``token``: a random number of 63 bits.

        A delayed or held message that is due counts as waiting. A delivery that ended without a settlement counts as an
        attempt if it was started, and its message is a suspect from then on.
        """

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        """Record that handlers begin; returns the stale receipts."""

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """End deliveries; returns the stale receipts."""

    async def let_go(self, queue: str, batch: Collection[Receipt]) -> None:
        """End deliveries without a settlement, as the end of their leases would: for a close."""

    async def move(self, queue: str, to: str, moves: Sequence[Move]) -> Sequence[int]:
        """Ack and store, each move wholly or not at all; returns 0, ``STALE`` or ``FULL`` of ``toolkit.moves`` each."""

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Set the leases to ``lease`` seconds from now; returns the stale receipts."""

    async def depth(self, queue: str) -> Depth:
        """Count."""

    async def occupancy(self, queue: str) -> Occupancy:
        """See ``Driver.occupancy``."""

    async def peek(self, queue: str, limit: int, after: int) -> list[Message]:
        """Show waiting messages."""

    async def extent(self, queue: str) -> Any:
        """What ``purge`` needs to leave the messages alone that come, or are released, after this transaction."""

    async def purge(self, queue: str, extent: Any) -> int:
        """Remove some of the messages that are not held; returns how many, 0 at the end."""

    async def search(self, queue: str, ids: Collection[str]) -> Sequence[Any]:
        """The numbers of the messages of these ids; locks nothing."""

    async def remove(self, queue: str, found: Sequence[Any]) -> int:
        """Remove the messages of these numbers that are not held; returns how many."""

    async def delete(self, queue: str, *, is_unused: bool) -> bool:
        """Remove a part of the queue, and at last the queue; returns whether there is more.

        ``is_unused``: only if the queue is in ``unused`` still.
        """

    async def news(self, queues: Collection[str]) -> Collection[str]:
        """In which of these queues a receive would find something; a queue that is not there has nothing."""

    async def give_sign(self, holder: str) -> bool:
        """Let other processes see by this connection, for as long as it lives, that ``holder`` lives.

        False: they may still see an earlier connection of the holder; the next poll tries again.
        """

    async def keep(self, queue: str, holder: str, *, is_kept: bool) -> None:
        """Note whether the holder keeps a temporary queue, and forget the holders without a sign of life."""

    async def unused(self) -> Collection[str]:
        """The temporary queues that no living holder keeps."""


class DatabaseServer(Protocol[L]):
    """Where the tables are, and how to reach them."""

    pool_size: int
    """Most connections for the verbs; one more polls, and one keeps leases."""
    timeout: float
    """Seconds for a transaction."""
    poll_interval: float
    """Seconds between two checks for messages of other processes."""

    async def connect(self) -> L:
        """A connection that is ready for use: no commit by itself, and reads that see what others have committed.

        Ends what it has made if it fails or is cancelled; it has its own timeout.
        """

    def encode(self, message: Outgoing) -> object:
        """The columns of a message. Raises TypeError, ValueError or OverflowError if it cannot be kept."""

    def store(self, link: L) -> TableStore:
        """The store for one transaction."""

    def translate(self, problem: BaseException, queue: str, outcome: Outcome) -> DriverError:
        """The DriverError for an error of the client or the network, or a TimeoutError; it gets this outcome.

        Must: be a BrokerUnavailableError or BrokerTimeoutError where the same call may succeed later.
        """

    def has_no_tables(self, problem: BaseException | None) -> bool:
        """Whether this error of the client means that a table is missing."""

    async def check(self, link: L) -> None:
        """Refuse tables of another layout; raises what the client raises if there are none."""

    async def create(self, link: L) -> None:
        """Make the tables that are missing, once for all processes that start together."""
