"""PublishContext and TransactionContext: publishes of a handler, and commits of its rows with its ack."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tasuki.contracts.state.following import (
    CHAIN,
    Follower,
    Later,
    StartedGroup,
    follower,
    ids_of,
    members_of,
)
from tasuki.contracts.state.jobs import OpenTransaction, Transacting
from tasuki.contracts.state.store_handle import has_loop, misplaced
from tasuki.errors import HandlerError
from tasuki.message import HeaderValue
from tasuki.system.threads import at_once, entered_at_once

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.contracts.context import ChainOptions, Facts, PublishOptions, Reach, Settling


class _Asked(NamedTuple):
    """A group, as a handler asks for it."""

    members: list[Later]
    then: Later | str | None
    on_error: Later | str | None
    id: str | None
    name: str | None


class PublishContext:
    """The part of a handler's context that publishes."""

    __slots__ = ()
    delivery: Facts
    _settling: Settling
    _reach: Reach[Any]

    async def publish(
        self, queue: str, body: Any, headers: Mapping[str, HeaderValue] | None = None, **options: Unpack[ChainOptions]
    ) -> str:
        """Publish to a queue by id (``app.queue:tasks``; a bare name is of the function's namespace); returns the id.

        ``options``: delay, at, ttl, priority, key, id, unique, unique_for, on_conflict, unique_max, timeout, then and
        on_error (see :meth:`tasuki.App.publish`). Raises what ``Queue.publish`` raises. Where another message has the
        unique key and is kept, the id is its id. A plain handler writes ``context.sync.publish(…)``.
        """
        if options.keys().isdisjoint(CHAIN):
            return await self._reach.publish(queue, body, headers, options)
        return await self._reach.publish(queue, body, headers, _followed(self._settling, options))

    def group(
        self,
        members: Iterable[Later],
        *,
        then: Follower | None = None,
        on_error: Follower | None = None,
        id: str | None = None,
        name: str | None = None,
    ) -> Coroutine[Any, Any, StartedGroup]:
        """Publish messages that belong together, and one when all of them are done; as :meth:`tasuki.App.group`.

        With the rights of the handler's actor, now: what the handler does later, also its failure, changes nothing of
        it. So give it a ``name``: then it is a step, and when the message is redelivered, the group is not published
        again. A plain handler writes ``context.sync.group(…)``.

        Args:
            members: messages of any queues: ``jobs.message(body)``, of a task ``send.message(url)``, or
                ``context.queues.message_to("jobs", body)``.
            then: published once, when all are done; a message, or a queue, its id or a task, which is given the list of
                the results.
            on_error: published once when the first one is given up; the same.
            id: of the group; default a new one, with a ``name`` one made of the queue, the message's id and the name.
            name: of the step, once in each run; the same one in the next run.

        Raises:
            HandlerError: kind Invalid: the block of ``context.transaction`` is open; as ``step``, if it has a name.
            UnsupportedError: no queue of it has a state, or, with a name, the queue of the message has none.
            PublishError: a message cannot be part of a group. PolicyDeniedError, QueueNotFoundError.
            DriverError: not all members may be published.
        """
        if not has_loop():
            raise misplaced("context.group is for async functions: write 'context.sync.group(…)' here")
        asked = _asked(self._settling, members, (then, on_error), id, name)
        return _started(self.delivery, self._settling, self._reach, asked)


class SyncPublishing:
    """The same for plain functions."""

    def __init__(self, facts: Facts, settling: Settling, reach: Reach[Any]) -> None:
        self._facts = facts
        self._settling = settling
        self._project = reach

    def publish(
        self, queue: str, body: Any, headers: Mapping[str, HeaderValue] | None = None, **options: Unpack[ChainOptions]
    ) -> str:
        """As ``context.publish``, without await, for plain functions."""
        if has_loop():
            raise misplaced(f"context.sync would block the event loop: write 'await context.publish({queue!r}, …)'")
        given = options if options.keys().isdisjoint(CHAIN) else _followed(self._settling, options)
        id: str = self._project.wait_for(self._project.publish(queue, body, headers, given))
        return id

    def group(
        self,
        members: Iterable[Later],
        *,
        then: Follower | None = None,
        on_error: Follower | None = None,
        id: str | None = None,
        name: str | None = None,
    ) -> StartedGroup:
        """As ``context.group``, without await, for plain functions."""
        if has_loop():
            raise misplaced("context.sync would block the event loop: write 'await context.group(…)'")
        asked = _asked(self._settling, members, (then, on_error), id, name)
        started: StartedGroup = self._project.wait_for(_started(self._facts, self._settling, self._project, asked))
        return started


def _followed(settling: Settling, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of a message, with what follows it. Raises HandlerError: it cannot be followed here."""
    next_ = {name: follower(name, options.get(name)) for name in CHAIN}
    if any(each is not None for each in next_.values()):
        _refuse_transaction(settling, "a message with then or on_error")
    return {**options, **next_}


def _asked(
    settling: Settling, members: Iterable[Later], next_: tuple[object, object], id: str | None, name: str | None
) -> _Asked:
    _refuse_transaction(settling, "a group")
    then, on_error = follower("then", next_[0]), follower("on_error", next_[1])
    return _Asked(members_of(members), then, on_error, id, name)


def _refuse_transaction(settling: Settling, what: str) -> None:
    if settling.in_transaction:
        problem = (
            f"context.transaction() is open, and the record of {what} is in a store, which neither commits nor rolls "
            "back with it: publish it before the block, a group with a name; or let the block publish one message to a "
            "handler that publishes the rest"
        )
        raise HandlerError(problem, kind="Invalid", retryable=False)


async def _started(facts: Facts, settling: Settling, reach: Reach[Any], asked: _Asked) -> StartedGroup:
    """Publish the group; one with a name unless an earlier delivery of the message has done so."""
    members, then, on_error, id, name = asked
    if name is None:
        return await reach.group(members, then, on_error, id)
    steps, message = settling.steps(), facts.message
    found = await steps.begin(name)
    if found is not None:
        recorded: str = found[0]
        return StartedGroup(recorded, ids_of(recorded, members))
    if id is None and message is not None:
        id = f"{facts.queue}/{message.id}/{name}"
    started = await reach.group(members, then, on_error, id)
    await steps.end(name, started.id)
    return started


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
