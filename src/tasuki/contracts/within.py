"""Within: the verbs of a driver that work inside a database transaction of the caller's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

from tasuki.contracts.results import Answers
from tasuki.contracts.values import Outgoing, Receipt, Settlement
from tasuki.errors import DriverError, StaleReceiptError, UnsupportedError


class Within:
    """The part of a driver that is about transactions; ``connection`` is the caller's, of a database client.

    With a synchronous connection the verbs return without suspending, so that callers without an event loop can run
    them. Every verb raises UnsupportedError for a connection that it does not know, or that is in no transaction.
    """

    name: str
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
        raise self._unsupported("claim a key in a transaction of the caller's", "")

    async def remember_within(self, connection: Any, consumer: str, key: str, result: bytes) -> None:
        """Remember a result for a key that this transaction has claimed. Must: give it to later claims (48)."""
        raise self._unsupported("remember a result in a transaction of the caller's", "")

    def transaction(self, connection: Any = None, *, sync: bool = False) -> AbstractAsyncContextManager[Any]:
        """A connection with an open transaction: the end of the block commits, an exception rolls back.

        Args:
            connection: None: one of the driver's own client; a connection or session of the caller's, which is in no
                transaction yet; or a function that returns such a context manager, as ``engine.begin`` of SQLAlchemy.
            sync: for a thread without an event loop: the driver's own is a synchronous one, and nothing suspends.
        """
        raise self._unsupported("open a transaction for the caller", "")

    def _unsupported(self, verb: str, queue: str) -> DriverError:
        return UnsupportedError(f"driver {self.name!r} cannot {verb}", driver=self.name, queue=queue)


def settled_too_late(driver: str, queue: str) -> StaleReceiptError:
    """The error of ``settle_within`` for a stale receipt."""
    problem = f"a delivery of queue {queue!r} has ended already, so the transaction that settles it is undone"
    return StaleReceiptError(problem, driver=driver, queue=queue)
