"""TransactionContext: commits a handler's rows, its publishes and the ack of its message together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from tasuki.contracts.state.store_handle import has_loop, misplaced
from tasuki.contracts.state.transactions import OpenTransaction, Transacting
from tasuki.errors import HandlerError
from tasuki.message import HeaderValue
from tasuki.system.run_sync import at_once, entered_at_once

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.contracts.context import PublishOptions


class _Publishing(Protocol):
    async def publish(
        self, queue: str, body: Any, headers: Mapping[str, HeaderValue] | None, options: Mapping[str, Any]
    ) -> str: ...


class _Transaction:
    def __init__(self, opened: OpenTransaction, reach: _Publishing) -> None:
        self._opened = opened
        self._reach = reach

    @property
    def connection(self) -> Any:
        """The connection: the caller's, or one of the driver's client (asyncpg, psycopg, sqlite3)."""
        return self._opened.connection

    def remember(self, result: object) -> None:
        """For a consumer with ``idempotency``: keep a result with the commit, for messages of the same key.

        It counts where the worker dies before what the handler returns is recorded. Raises HandlerError (Invalid).
        """
        self._opened.remember(result)


class Transaction(_Transaction):
    """An open transaction of an async handler; use its ``connection`` for the rows."""

    async def publish(
        self, queue: str, body: Any, headers: Mapping[str, HeaderValue] | None = None, **options: Unpack[PublishOptions]
    ) -> str:
        """As ``context.publish``: the message appears with the commit. The queue is in the same database."""
        return await self._reach.publish(queue, body, headers, {**options, "connection": self.connection})


class SyncTransaction(_Transaction):
    """An open transaction of a plain handler; use its ``connection`` for the rows."""

    def publish(
        self, queue: str, body: Any, headers: Mapping[str, HeaderValue] | None = None, **options: Unpack[PublishOptions]
    ) -> str:
        """As ``context.publish``: the message appears with the commit. The queue is in the same database."""
        return at_once(
            self._reach.publish(queue, body, headers, {**options, "connection": self.connection}), _suspended
        )


class TransactionContext:
    """The part of a handler's context that is about transactions."""

    __slots__ = ()
    _settling: Any
    _reach: Any

    def transaction(self, connection: Any = None) -> AbstractAsyncContextManager[Transaction]:
        """One database transaction for the handler's rows, what it publishes, and the ack of its message.

        The end of the ``async with`` block commits them together, and the message is done: an error after the block is
        logged, and the handler does not run again. An exception out of the block, or a ``nack``, ``reject`` or
        ``snooze`` within it, rolls everything back first. Of a batch, all its messages are acked. In a plain handler
        write ``with context.sync.transaction() as tx``.

        Args:
            connection: None: the driver opens one of its own client. Or a connection or session of yours, in no
                transaction yet; or a function that opens a transaction, such as ``engine.begin``.

        Raises:
            UnsupportedError: the queue's driver cannot, the connection is to another database, or of no known client.
            HandlerError: kind Invalid: there is no message, it is settled, or its consumer has auto_ack.
            StaleReceiptError: from the end of the block: the lease was lost. Nothing is committed.
            Snooze: the database is busy or away; the message is redelivered, without an attempt.
        """
        if not has_loop():
            raise misplaced("context.transaction is for async functions: write 'context.sync.transaction()' here")
        return self._transaction(connection)

    @asynccontextmanager
    async def _transaction(self, connection: Any) -> AsyncIterator[Transaction]:
        async with self._settling.transaction(connection, sync=False) as opened:
            yield Transaction(opened, self._reach)


class SyncTransactions:
    """The same for plain functions."""

    def __init__(self, settling: Transacting, reach: _Publishing) -> None:
        self._settling_transactions = settling
        self._publishing = reach

    def transaction(self, connection: Any = None) -> AbstractContextManager[SyncTransaction]:
        """As ``context.transaction``, for plain functions; ``connection`` is a synchronous one."""
        if has_loop():
            raise misplaced("context.sync would block the event loop: write 'async with context.transaction() as tx'")
        return self._opened(connection)

    @contextmanager
    def _opened(self, connection: Any) -> Iterator[SyncTransaction]:
        with entered_at_once(self._settling_transactions.transaction(connection, sync=True), _suspended) as opened:
            yield SyncTransaction(opened, self._publishing)


def _suspended() -> HandlerError:
    problem = "context.sync takes a synchronous connection: with this one write an async handler"
    return HandlerError(problem, kind="Invalid", retryable=False)
