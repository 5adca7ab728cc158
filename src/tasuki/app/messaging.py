"""Messaging: publish to the queues of an open App, send requests, call functions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from importlib import import_module
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar

from tasuki.app.edit_and_dry_run import EditAndDryRun
from tasuki.app.explain.verbs import Explaining
from tasuki.app.flow.verbs import Following
from tasuki.app.handle import id_of
from tasuki.app.health.verbs import Healthy
from tasuki.app.history.verbs import Remembering
from tasuki.app.measuring.measured import Measured
from tasuki.app.schedules.verbs import Scheduling
from tasuki.app.state.verbs import Pausable
from tasuki.app.tasks.options import REQUEST, SENDING, refuse_unknown
from tasuki.contracts.state.following import unfollowed
from tasuki.contracts.state.store_handle import StoreHandle, checked_store, user_of
from tasuki.errors import LifecycleError, QueueNotFoundError, TasukiError
from tasuki.observe.tracebacks import cause_for_user, for_user

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.app.assembly import Assembly
    from tasuki.app.batches import Batches
    from tasuki.app.handle import QueueHandle
    from tasuki.app.lifecycle.additions import Additions
    from tasuki.app.source import Source
    from tasuki.app.state.jobs import Job
    from tasuki.app.sync.running import SyncApp
    from tasuki.app.typed.options import ChainOptions, Headers, Named, RequestOptions
    from tasuki.clock import Clock
    from tasuki.contracts.state.jobs import Cancellation, CancelOutcome
    from tasuki.dead.reading import DeadLetters
    from tasuki.queues.dead.attempts import AttemptRecord
    from tasuki.queues.queue import Queue
    from tasuki.state.worker_record import Presence

T = TypeVar("T")


class Messaging(Pausable, Scheduling, Following, Measured, Healthy, Explaining, EditAndDryRun, Remembering):
    """The half of an App that publishes, requests and calls."""

    additions: Additions
    assembly: Assembly | None
    clock: Clock
    sync: SyncApp
    _source: Source

    def live_queue(self, queue: str | QueueHandle[Any]) -> Queue:
        """The queue of an id, name or handle. Raises LifecycleError when the app is not open, QueueNotFoundError."""
        live = self._live()
        try:
            return live.queue_of_application(self.full_id(queue))
        except QueueNotFoundError as error:
            raise self.additions.told(error) from None

    async def ready_queue(self, queue: str | QueueHandle[Any]) -> Queue:
        """The same, once all that was declared before is in force."""
        if self.additions.is_pending:
            await self.additions.applied()
        return self.live_queue(queue)

    def full_id(self, queue: str | QueueHandle[Any]) -> str:
        """The id of a queue or function that is given by id, name or handle."""
        return self._source.declared.id_of(id_of(queue))

    async def publish(
        self,
        queue: str | QueueHandle[T],
        body: T,
        headers: Headers = None,
        **options: Unpack[ChainOptions],
    ) -> Job[Any]:
        """Publish to a queue by id or handle; see :meth:`tasuki.queues.queue.Queue.publish`.

        ``then``: a message, queue (also by name) or task that follows when this one is done, once; a queue or task is
        given the result. ``on_error``: the same when this one is given up. See ``group``.
        """
        from tasuki.app.state.jobs import Job

        try:
            if self.additions.is_pending:
                await self.additions.applied()
            live = self.live_queue(queue)
            if (plain := unfollowed(options)) is not None:
                done = await live.publish(body, headers, **plain)
            else:
                done = await self._grouping().publish(id_of(queue), body, headers, options)
            return Job(done.id, done.durability, done.outcome, done.instead_of, live.id, self)
        except TypeError:
            refuse_unknown("publish(…)", options, SENDING)
            raise
        except TasukiError as error:
            raise for_user(error) from cause_for_user(error)

    async def request(
        self,
        queue: str | QueueHandle[T],
        body: T,
        headers: Headers = None,
        *,
        returns: type[Named] | UnionType | None = None,
        **options: Unpack[RequestOptions],
    ) -> Named:
        """Publish to a queue by id or handle, and wait for what its handler returns.

        Args:
            queue: its id or handle.
            body: as for ``publish``.
            headers: as for ``publish``, but for ``reply_to`` and ``correlation_id``: those are set here.
            returns: the type that the result becomes; None: it stays as it was decoded.
            options: ``reply_timeout``: for everything, from the publish to the reply; default 30 seconds.
                ``reply_to``: a declared queue for the reply; default one that this process makes for itself and removes
                when it closes. Several processes may wait on the same declared queue.
                ``delay``, ``at``, ``ttl``, ``priority``, ``key``, ``id``, ``handler_timeout`` and ``retries``: as for
                ``publish``.

        Raises:
            HandlerError: the handler has failed for the last time, or its result cannot be sent; InvalidBodyError: the
                result does not fit ``returns``.
            RequestTimeoutError: no reply in time; a queue without ``dead_letter`` tries a failing message forever.
            TasukiError: as ``publish``.
        """
        refuse_unknown("request(…)", options, REQUEST)
        target, live = await self.ready_queue(queue), self._live()
        timeout, reply_to = options.pop("reply_timeout", 30.0), options.pop("reply_to", None)
        replies = None if reply_to is None else live.queue_of_replies(self.full_id(reply_to))
        try:
            result: Named = await live.requests.ask(
                target, body, headers, returns=returns, reply_to=replies, timeout=timeout, options=options
            )
        except TasukiError as error:
            raise for_user(error) from cause_for_user(error)
        return result

    async def call(self, function: str, *args: object) -> Any:
        """Call a function entry by id; its (first) result. Raises HandlerError, HandlerNotFoundError."""
        return await self._live().call_from(None, self.full_id(function), args)

    def job(self, id: str, *, queue: str | QueueHandle[Any] = "") -> Job[Any]:
        """A message by its id, published by any process. Raises LifecycleError, QueueNotFoundError."""
        from tasuki.app.state.jobs import Job

        if not isinstance(id, str) or not queue:
            raise TypeError(
                "app.job(id, queue=…) is a message by its id; a function is handled under '@queue.consumer'"
            )
        live = self._live().queue(self.full_id(queue))
        return Job(id, live.durability, queue=live.id, _app=self)

    async def cancel(self, id: str, *, queue: str | QueueHandle[Any] | None = None) -> CancelOutcome:
        """Cancel a message: it does not start any more, and a handler that has it is interrupted.

        Nothing brings it back for 7 days: no retry, redelivery or redrive, and no publish under the same id. Without a
        queue every queue is searched that is consumed, and a message that is not found stays unknown.

        Returns where it was: ``waiting`` (it never starts), ``running`` (its handler is interrupted, unless it ends
        before), ``not found`` (settled already, or unknown), or, where the broker cannot remove a message by its id and
        no worker has it now, ``requested``: a worker that is about to start it finds that it is cancelled.

        Raises:
            PolicyDeniedError: the application may not cancel there.
            QueueNotFoundError: there is no such queue. UnsupportedError: it has no state.
            DriverError: its store or its broker cannot be reached; cancel again.
        """
        from tasuki.app.state.cancelling import cancel_anywhere

        live = self._live()
        guard = live.rights.application
        if queue is None:
            return await cancel_anywhere(live, guard, id)
        return await live.cancel_from(guard, self.full_id(queue), id)

    async def cancel_many(self, ids: Iterable[str], *, queue: str | QueueHandle[Any]) -> Cancellation:
        """Cancel many messages of one queue; see ``cancel``. Returns how many were where."""
        from tasuki.app.state.cancelling import cancel_in

        live = self._live()
        return await cancel_in(live, live.rights.application, self.full_id(queue), ids)

    def store(self, id: str) -> StoreHandle:
        """The store of an entry by id, for ``await``; the app must be open when its verbs are called.

        They raise HandlerError, and PolicyDeniedError where the application may not.
        """
        return StoreHandle(self.full_id(id), partial(self.use_store, id))

    async def use_store(self, id: str, verb: str, *args: Any, **options: Any) -> Any:
        """Call a verb of a store; see :meth:`store`."""
        id = self.full_id(id)
        return await user_of(checked_store(self._live().application_resource(id), id))(verb, *args, **options)

    async def redrive(
        self,
        dead_letters: str | QueueHandle[Any],
        *,
        to: str | QueueHandle[Any] | None = None,
        limit: int | None = None,
        progress: Callable[[int], None] | None = None,
        where: str = "",
        ids: Collection[str] = (),
        rate: float | None = None,
        dry_run: bool = False,
    ) -> int:
        """Send dead letters back to where they came from, or ``to`` another queue; returns how many.

        Each one is removed from the dead-letter queue when its publish is confirmed.

        Args:
            dead_letters: the queue that they are in.
            to: the queue that gets them.
            limit: the largest number.
            progress: called with how many have been moved so far.
            where: only those that this expression holds for; see :meth:`dead_letters`.
            ids: only those with one of these ids; it ends when it has one of each.
            rate: the largest number a second.
            dry_run: move none, and return how many would be; of the newest 10,000 letters, or 256 MiB, of the queue or
                of the one cause that ``where`` asks for.

        Raises:
            ValueError: the expression cannot be read, or the rate is not above 0.
            HeldBackError: the dead-letter queue has a limit, which hands out no more now, and some are left.
            DriverError: the first refusal. Messages that were moved before stay moved.
        """
        from tasuki.dead.redrive import redrive, would_move
        from tasuki.dead.selection import Choice

        live, source = self._live(), self.live_queue(dead_letters)
        target = None if to is None else self.live_queue(to)
        if dry_run:
            return (await would_move(live, source, target, limit, Choice(where, ids), clock=self.clock)).count
        done = await redrive(live, source, target, limit, progress, clock=self.clock, where=where, ids=ids, rate=rate)
        return done.moved

    async def dead_letters(
        self, queue: str | QueueHandle[Any] = "", *, by: str = "cause", where: str = ""
    ) -> DeadLetters:
        """Dead letters, grouped by cause; none is taken, and at most 10,000 of each queue are read.

        Groups of a cause count all letters, also those that are not read, where the driver keeps an index of causes.

        Where a broker cannot show messages (RabbitMQ, SQS), up to 10,000 letters are received and released at once, by
        one reader at a time: ``borrowed`` of the answer names these queues. ``unseen`` names those that could not be
        shown, with what works there.

        Args:
            queue: a dead-letter queue, or a queue that has one, for its letters alone; default all of the project.
            by: ``cause``, ``type``, ``place``, ``queue``, ``reason``, ``task``, ``consumer`` or ``day`` (UTC).
            where: only those that this expression holds for. Names: ``id``, ``queue``, ``reason``, ``type``, ``place``,
                ``cause``, ``error``, ``task``, ``consumer``, ``day``, ``age`` (seconds), ``attempts``, ``redriven``,
                ``headers``, ``body``.

        Raises:
            ValueError: the expression cannot be read, or there are no such groups.
            HeldBackError: another reader receives from the queue now. DriverError: a broker refuses.
        """
        from tasuki.dead.reading import read, sources_of
        from tasuki.dead.selection import Choice

        live = self._live()
        queues = sources_of(live.project, self.live_queue(queue).id if queue else "")
        return await read(live, queues, Choice(where), by, self.clock)

    async def attempts(self, queue: str | QueueHandle[Any], id: str) -> list[AttemptRecord]:
        """The last five failed attempts of a message: when, on which worker, how long, and the error of each.

        They are kept for seven days, in the store of the queue. A dead letter carries its own
        (``Letter.attempt_records``).

        Args:
            queue: the queue that the message was published to.
            id: of the message.

        Raises:
            UnsupportedError: the queue has no store. PolicyDeniedError: the application may not look into it.
            DriverError: the store cannot be read.
        """
        from tasuki.dead.attempts import attempts_of

        live = self._live()
        return await attempts_of(live, live.queue_of_application(self.full_id(queue)), id)

    @property
    def batches(self) -> Batches:
        """Acts on many dead letters, which go on without the process that began them."""
        from tasuki.app.batches import Batches

        return Batches(self._live, self._source.declared.id_of)

    async def workers(self) -> list[Presence]:
        """The worker processes that consume from queues of this app, on all machines, as their last signs say.

        A worker gives a sign every 12 seconds while it is idle, every 5 while it works, and is gone 15 seconds after
        its last one. Workers of queues without a state, or in memory, are not among them.

        Raises:
            LifecycleError: the app is not open. DriverError: a store cannot be read.
        """
        from tasuki.app.state.finding import states_there
        from tasuki.app.state.workers import workers_of

        states = await states_there(self._live())
        return await workers_of([state for state in states if state.driver.capabilities.multi_process])

    def desk(
        self,
        *,
        token: str | None = None,
        hosts: Iterable[str] = (),
        actor: str = "",
        actor_header: str = "",
        proxies: Iterable[str] = (),
        is_open: bool = False,
        publish_rate: float = 100.0,
    ) -> Any:
        """The desk as an ASGI application, to be mounted in a web application that has this app open.

        Args:
            token: opens a session; needed unless a proxy names the actor, or the desk ``is_open``.
            hosts: names besides ``localhost`` that it answers to.
            actor: who acts, for policies and the log; default the user and the host of this process.
            actor_header: the header in which a proxy of ``proxies``, by address, names who acts.
            proxies: see ``actor_header``; they also say the client's address, and whether the browser speaks TLS.
            is_open: every client may act that gives a loopback name as its Host. A client chooses that name, so this is
                for web applications that only this machine reaches, or that ask who it is before.
            publish_rate: messages a second that one client may publish through its API.

        Raises:
            TasukiError: the extra tasuki[desk] is not installed. ValueError: it has no token and is not open, or
                the rate is out of bounds.
        """
        # By name: the desk is above the app, and may not be installed.
        return import_module("tasuki.desk.extra").mount(
            self,
            token=token,
            hosts=hosts,
            actor=actor,
            actor_header=actor_header,
            proxies=proxies,
            is_open=is_open,
            publish_rate=publish_rate,
        )

    def live_assembly(self) -> Assembly:
        """The open app's objects. Raises LifecycleError when it is not open."""
        return self._live()

    def _live(self) -> Assembly:
        if self.assembly is None:
            raise LifecycleError("the app is not open: use it inside 'async with app:', or app.sync from sync code")
        return self.assembly
