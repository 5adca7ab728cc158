"""DjangoSync: ``app.sync`` of a Django project, whose messages belong to the transaction that is open."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from django.db import connections, transaction

from tasuki.app.flow.planned import follower, members_of
from tasuki.app.handle import QueueHandle
from tasuki.app.jobs import SyncJob
from tasuki.app.sync.running import SyncApp
from tasuki.app.tasks.options import CHAIN, SENDING, refuse_unknown
from tasuki.contracts.driver import Driver
from tasuki.contracts.handler import Context
from tasuki.contracts.state.following import Follower, Later, StartedGroup, ids_of
from tasuki.contracts.state.publish_context import SyncTransaction
from tasuki.contrib.django.connections import is_of_test_case, never_commits
from tasuki.errors import LifecycleError, TasukiError
from tasuki.message import new_id
from tasuki.queues.queue import Envelope, Queue
from tasuki.queues.result import Confirmed, PublishResult, Rejected

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.app.app import App
    from tasuki.app.typed.options import BatchOptions, ChainOptions, Headers


_log = logging.getLogger("tasuki.django")


T = TypeVar("T")

Way = Literal["now", "within", "after"]


class AfterCommit(SyncJob[Any], frozen=True, eq=False, gc=True):
    """Not published yet: Django publishes the message as soon as the transaction commits; a rollback drops it."""

    def __repr__(self) -> str:
        return f"AfterCommit(id={self.id!r}, queue={self.queue!r}, published at the commit)"


def way_of(*, in_transaction: bool, joins: bool, has_connection: bool) -> Way:
    """How a message is published: now, as a part of the transaction, or after its commit.

    Args:
        in_transaction: Django is in one.
        joins: the driver stores messages in the database of the transaction.
        has_connection: the caller names the transaction itself.
    """
    if not in_transaction or has_connection:
        return "now"
    return "within" if joins else "after"


class DjangoSync(SyncApp):
    """As SyncApp; within a transaction of Django a message is part of it, or waits for its commit.

    ``database`` is the alias of the database in which the driver keeps its messages, if it is one of Django's. Without
    it, messages wait for the commits of the default database.
    """

    remedy = "in an async view write 'await sync_to_async(send_receipt.send)(…)', with your own task"

    def __init__(self, app: App, database: str | None = None) -> None:
        super().__init__(app)
        self._database = database
        self._alias = database or "default"
        self._name = self._name_now()
        self._has_warned = False

    def publish(
        self, queue: str | QueueHandle[T], body: T, headers: Headers = None, **options: Unpack[ChainOptions]
    ) -> SyncJob[Any]:
        """See SyncApp. Within a transaction nothing is received before its commit, and nothing after a rollback.

        On PostgreSQL with ``TASUKI['DATABASE']`` the message is stored by the transaction itself. Else it is published
        right after the commit, the result is an AfterCommit, and a publish that fails then raises out of the block of
        the transaction.
        """
        way = self._way(queue, options.get("connection"))
        if way == "within" and any(options.get(name) is not None for name in CHAIN):
            way = "after"  # what follows is recorded in a store, beside the transaction
        if way == "within":
            options["connection"] = connections[self._alias].connection
        if way != "after":
            return super().publish(queue, body, headers, **options)
        refuse_unknown("publish(…)", options, SENDING)
        fields: dict[str, Any] = {
            name: value for name, value in options.items() if name not in (*CHAIN, "publish_timeout", "connection")
        }
        live, message = self._live(queue), _named(Envelope(body=body, headers=headers, **fields))
        live.validate(message)  # now, not after the commit
        options["id"] = id = str(message.id)
        work = partial(super().publish, queue, message.body, message.headers, **options)
        transaction.on_commit(work, using=self._alias)
        return AfterCommit(id, live.durability, queue=live.id, _app=self._app)

    def publish_many(
        self, queue: str | QueueHandle[T], items: Sequence[T | Envelope[T]], **options: Unpack[BatchOptions]
    ) -> list[PublishResult]:
        """See SyncApp, and ``publish``. After a commit the first error is raised, as the results come too late."""
        way = self._way(queue, options.get("connection"))
        if way == "within":
            options["connection"] = connections[self._alias].connection
        if way != "after":
            return super().publish_many(queue, items, **options)
        live, envelopes = self._live(queue), [_named(item) for item in items]
        results = [self._result_before_commit(live, envelope) for envelope in envelopes]
        valid = [each for each, result in zip(envelopes, results, strict=True) if isinstance(result, AfterCommit)]
        publish: Callable[..., list[PublishResult]] = super().publish_many
        transaction.on_commit(partial(_raise_first, partial(publish, queue, valid, **options)), using=self._alias)
        return results

    def group(
        self,
        members: Iterable[Later],
        *,
        then: Follower | None = None,
        on_error: Follower | None = None,
        id: str | None = None,
    ) -> StartedGroup:
        """See SyncApp. Within a transaction the group is published right after the commit, on every driver."""
        found, last, failed = members_of(members), follower("then", then), follower("on_error", on_error)
        first = next((each for each in (*found, last) if each is not None), None)
        if first is None or self._way(first.queue, None) == "now":
            return super().group(found, then=last, on_error=failed, id=id)
        for each in (*found, last, failed):
            if each is not None:
                live = self._live(each.queue)
                (live.validate if each.fill is None else live.validate_filled)(each)  # now, not after the commit
        id = id or new_id()
        work = partial(super().group, found, then=last, on_error=failed, id=id)
        transaction.on_commit(work, using=self._alias)
        return StartedGroup(id, ids_of(id, found))

    def publish_now(
        self, queue: str | QueueHandle[T], body: T, headers: Headers = None, **options: Unpack[ChainOptions]
    ) -> SyncJob[Any]:
        """Publish at once, whatever transaction is open."""
        return super().publish(queue, body, headers, **options)

    def _result_before_commit(self, queue: Queue, message: Envelope[Any]) -> PublishResult:
        try:
            queue.validate(message)
        except TasukiError as error:
            return Rejected(str(message.id), error, False)
        return AfterCommit(str(message.id), queue.durability, queue=queue.id, _app=self._app)

    def _name_now(self) -> str:
        return str(connections[self._alias].settings_dict["NAME"])

    def _way(self, queue: str | QueueHandle[Any], connection: object) -> Way:
        if self._app._runtime.owner is None and self._name_now() != self._name:
            self._leaves_test()
        database = connections[self._alias]
        if self._app._runtime.owner is not None and is_of_test_case(database):  # no transaction of the code under test
            return "now"
        is_manual = database.connection is not None and not database.autocommit  # set_autocommit(False)
        in_transaction = bool(database.in_atomic_block or is_manual)
        joins = in_transaction and self._database is not None and self._can_join(queue)
        return way_of(in_transaction=in_transaction, joins=joins, has_connection=connection is not None)

    def _leaves_test(self) -> None:
        """A test of Django publishes to the queues of the project. Raises LifecycleError: they are in its database."""
        now = f"the database {self._alias!r} is {self._name_now()!r} now, as in a test of Django"
        remedy = "put the test into 'with TestApp(\"tasuki.contrib.django:app\")'"
        if self._database is not None:
            raise LifecycleError(f"{now}, and the queues are in {self._name!r}: {remedy}")
        if not self._has_warned and not never_commits(connections[self._alias]):
            self._has_warned = True
            _log.warning("%s, and its messages go to the queues of the project: %s", now, remedy)

    def _can_join(self, queue: str | QueueHandle[Any]) -> bool:
        return type(self._live(queue).driver).publish_within is not Driver.publish_within

    def _live(self, queue: str | QueueHandle[Any]) -> Queue:
        """The open queue. Raises LifecycleError, QueueNotFoundError."""
        self._open_loop()
        return self._app._runtime.queue(queue)


def _named(item: Any) -> Envelope[Any]:
    """A copy with an id, which the caller learns before the message is published."""
    envelope = copy.deepcopy(item) if isinstance(item, Envelope) else Envelope(body=copy.deepcopy(item))
    envelope.id = envelope.id or new_id()
    return envelope


def _raise_first(work: Callable[[], list[PublishResult]]) -> None:
    for result in work():
        if not isinstance(result, Confirmed):
            raise result.error


def atomic(context: Context, using: str = "default") -> AbstractContextManager[SyncTransaction]:
    """``transaction.atomic()`` of Django that also acks the message, in a plain handler.

    See :meth:`tasuki.contracts.handler.Context.transaction`. The models of the block use the database of this alias,
    which must be the one that holds the queues (``TASUKI['DATABASE']``). It cannot be within another ``atomic``.
    """
    return context.sync.transaction(partial(_opened, using))


@contextmanager
def _opened(using: str) -> Iterator[Any]:
    with transaction.atomic(using=using, durable=True):
        yield connections[using].connection
