"""The groups of the driver contract: verbs that a broker may lack. A driver claims one by defining it.

A driver that cannot move messages in one step uses ``publish_then_ack``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Protocol

from tasuki.contracts.state.store import Store
from tasuki.contracts.values import (
    Ack,
    Answers,
    Capabilities,
    Causes,
    Merged,
    Move,
    Outgoing,
    Receipt,
    Results,
    Settlement,
    Transfer,
    Where,
    answer,
)
from tasuki.errors import DriverError, StaleReceiptError, UnsupportedError
from tasuki.message import Message


class Group:
    """Verbs that raise UnsupportedError until a driver defines them."""

    name: str
    capabilities: ClassVar[Capabilities]

    def _unsupported(self, verb: str, queue: str = "") -> DriverError:
        return UnsupportedError(f"driver {self.name!r} cannot {verb}", driver=self.name, queue=queue)


class Browses(Group):
    """Shows messages that wait, and leaves them untouched."""

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        """Show ``limit`` waiting messages (ready, then delayed) from number ``after`` on.

        Must: leave them untouched (24), show their last errors if ``keeps_errors`` (38), name their places (57), and
        say when they are ready and how often they have failed (60).
        """
        raise self._unsupported("peek", queue)

    async def find(self, queue: str, ids: Collection[str]) -> list[Message]:
        """Show the waiting messages of these ids by a search.

        Must: leave them untouched (51), and show them as ``peek`` (57, 60).
        """
        raise self._unsupported("find messages by their ids", queue)

    async def locate(self, queue: str, ids: Collection[str]) -> dict[str, Where]:
        """Where the messages of these ids are, by a search; an id without a message is left out.

        Must: see held messages too, need one request, and change nothing (59).
        """
        raise self._unsupported("locate messages by their ids", queue)

    async def causes(self, queue: str, most: int, also: Collection[str] = ()) -> Causes:
        """Count the waiting messages by their causes: the ``most`` largest groups, ``also``, and all others.

        Must: count all, and leave them untouched (52). Need not: be quick with millions of messages.
        """
        raise self._unsupported("count messages by their causes", queue)

    async def peek_cause(
        self, queue: str, cause: str, limit: int, after: int = 0, *, newest_first: bool = False
    ) -> list[Message]:
        """Show ``limit`` waiting messages of a cause in the order in which they were stored, or from the newest back.

        Must: leave them untouched (53), and show them as ``peek`` (57, 60). May: take longer the larger ``after`` is.
        """
        raise self._unsupported("show messages by their causes", queue)


class Changes(Group):
    """Takes out, moves or makes ready messages that wait, without receiving them."""

    async def purge(self, queue: str) -> int:
        """Remove the messages that are not held; returns how many. Must: keep those published meanwhile (24)."""
        raise self._unsupported("purge", queue)

    async def remove(self, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        """Remove the messages of these ids by a search; returns how many.

        ``places``: where they were shown (``Waiting.place``); none: each message of the ids. Must: keep held ones (37),
        and with places all others of the ids (57).
        """
        raise self._unsupported("remove messages by their ids", queue)

    async def expedite(self, queue: str, ids: Collection[str]) -> int:
        """End the delays of messages of these ids; returns how many there were. Must: keep all else of them (49)."""
        raise self._unsupported("end the delays of messages by their ids", queue)

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Sequence[DriverError | None]:
        """Store messages in other queues, each in the place of a waiting message of this one; nothing is ever held.

        For people who look at messages and then act: a letter is sent back, changed, put aside. Returns an empty
        sequence if all are done, else one item per transfer, in order: None where done, else the error:
        MessageNotFoundError, or an error of ``publish``. Raises DriverError when the whole batch shares its fate.

        Must: leave both queues as they were where it answers an error (50); take out only the message at the place
        that is named (57). May: search all messages of the queue for an id without a place. Need not: do so between
        all queues (``can_transfer``).
        """
        raise self._unsupported("transfer messages", queue)

    def can_transfer(self, queue: str, to: str) -> bool:
        """Whether messages can be transferred from one queue to the other; a look-up, without a request to a broker."""
        return self.capabilities.has("transfer")


class Transacts(Group):
    """Works inside a database transaction of the caller's; ``connection`` is the caller's, of a database client.

    With a synchronous connection the verbs return without suspending, so that callers without an event loop can run
    them. Every verb raises UnsupportedError for a connection that it does not know, or that is in no transaction.
    """

    one_writer: ClassVar[float | None] = None
    """Seconds after which an open transaction is too long, as it keeps all others from writing; None: it keeps none."""

    async def publish_within(self, connection: Any, queue: str, batch: Sequence[Outgoing]) -> Answers:
        """As ``publish``, inside the transaction that the caller has open on the connection (``transactional``).

        The messages appear, and wake receivers, when the caller commits; a rollback leaves nothing of them. Never waits
        for room.
        """
        raise self._unsupported("publish in a transaction of the caller's", queue)

    async def hold_within(self, connection: Any, queue: str, batch: Sequence[Receipt], *, settles: bool = True) -> None:
        """Keep these deliveries for this transaction: its first statement.

        ``settles``: it is about to settle them, which finds a stale receipt. Else it leaves them held, and no other
        consumer may get them before it ends.

        Raises StaleReceiptError as ``settle_within`` does. A database needs it before it settles where a transaction
        sees one state of the rows from its first statement on, while leases are renewed.

        Must: let ``settle_within`` of the same transaction end them at any level of isolation (46); without
        ``settles`` raise for a stale receipt (47).
        """
        if not settles:
            raise self._unsupported("hold in a transaction of the caller's", queue)

    async def settle_within(self, connection: Any, queue: str, batch: Sequence[Settlement]) -> None:
        """Settle inside the transaction that the caller has open on the connection (``transactional_settle``).

        Raises StaleReceiptError: a receipt is stale, and the transaction cannot be committed any more.

        Must: end the deliveries with the commit, and leave them held after a rollback (46); let a stale receipt undo
        the transaction (47). May: keep the errors of nacks. Need not: be quick to commit; the caller settles last.
        """
        raise self._unsupported("settle in a transaction of the caller's", queue)

    async def claim_within(self, connection: Any, consumer: str, key: str, ttl: float) -> bytes | None:
        """Claim a key of a consumer inside the transaction (``transactional_settle``).

        Returns None: the key is the caller's, and is remembered for ``ttl`` seconds once it commits; else what the
        transaction that committed it has remembered, perhaps nothing. Raises ConflictError: another transaction that
        claims the key stays open.

        Must: let one open transaction have a key at a time, and forget it with a rollback (48). May: wait for half of
        the time within which the broker must answer. Need not: remove old keys at once.
        """
        raise self._unsupported("claim a key in a transaction of the caller's")

    async def remember_within(self, connection: Any, consumer: str, key: str, result: bytes) -> None:
        """Remember a result for a key that this transaction has claimed. Must: give it to later claims (48)."""
        raise self._unsupported("remember a result in a transaction of the caller's")

    def transaction(self, connection: Any = None, *, sync: bool = False) -> AbstractAsyncContextManager[Any]:
        """A connection with an open transaction: the end of the block commits, an exception rolls back.

        Args:
            connection: None: one of the driver's own client; a connection or session of the caller's, which is in no
                transaction yet; or a function that returns such a context manager, as ``engine.begin`` of SQLAlchemy.
            sync: for a thread without an event loop: the driver's own is a synchronous one, and nothing suspends.
        """
        raise self._unsupported("open a transaction for the caller")


class Keeps(Group):
    """Has stores for state that all processes share."""

    def store(self, name: str) -> Store:
        """The store of this name at this broker, for as long as the driver is open. Raises UnsupportedError.

        Must: say whether it is there, and make nothing for the answer (62).
        """
        raise UnsupportedError(f"driver {self.name!r} has no store: name one of another driver", driver=self.name)


def settled_too_late(driver: str, queue: str) -> StaleReceiptError:
    """The error of ``settle_within`` for a stale receipt."""
    problem = f"a delivery of queue {queue!r} has ended already, so the transaction that settles it is undone"
    return StaleReceiptError(problem, driver=driver, queue=queue)


class _Driver(Protocol):
    """The parts of a :class:`tasuki.contracts.driver.Driver` that publish and ack."""

    name: str
    capabilities: ClassVar[Capabilities]

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers: ...
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]: ...


def stale(receipt: Receipt, *, driver: str, queue: str) -> StaleReceiptError:
    """The answer for a receipt that is not held."""
    problem = f"delivery {receipt!r} of queue {queue!r} has ended already: nothing was moved"
    return StaleReceiptError(problem, driver=driver, queue=queue)


def by_target(batch: Sequence[Move] | Sequence[Transfer], indexes: Iterable[int]) -> dict[str, list[int]]:
    """The indexes of moves or transfers by the queue they go to."""
    targets: dict[str, list[int]] = {}
    for index in indexes:
        targets.setdefault(batch[index].to, []).append(index)
    return targets


async def publish_then_ack(driver: _Driver, queue: str, batch: Sequence[Move]) -> Results:
    """A publish for each queue to which something goes, and one settlement; see ``Driver.move``."""
    results: list[DriverError | None] = [None] * len(batch)
    for to, indexes in by_target(batch, range(len(batch))).items():
        errors = iter(await _publish(driver, to, [message for index in indexes for message in batch[index].messages]))
        for index in indexes:
            mine = [next(errors) for _ in batch[index].messages]
            results[index] = next((error for error in mine if error is not None), None)
    acks = [Ack(move.receipt) for move, error in zip(batch, results, strict=True) if error is None]
    untaken = set(await driver.settle(queue, acks)) if acks else set()
    for index, move in enumerate(batch):
        if results[index] is None and move.receipt in untaken:
            results[index] = stale(move.receipt, driver=driver.name, queue=queue)
    return answer(results)


async def _publish(driver: _Driver, queue: str, messages: Sequence[Outgoing]) -> list[DriverError | None]:
    """One result a message."""
    results: list[DriverError | None] = []
    size = driver.capabilities.max_batch
    for start in range(0, len(messages), size):
        part = messages[start : start + size]
        try:
            answers = await driver.publish(queue, part)
            results += [None if isinstance(each, Merged) else each for each in answers] or [None] * len(part)
        except DriverError as error:
            results += [error] * len(part)
    return results
