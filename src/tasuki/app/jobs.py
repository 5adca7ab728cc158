"""``app.jobs`` and Job: what became of a published message, its result, and acts on single messages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

import msgspec

from tasuki.app.guesses import OF_JOB, Guessed
from tasuki.app.state.fate import know
from tasuki.app.state.finding import needed_state
from tasuki.contracts.state.jobs import CancelOutcome, JobStatus, Progress
from tasuki.contracts.state.store import CURRENT, Store
from tasuki.errors import HandlerError, QueueNotFoundError, RequestTimeoutError, UnsupportedError
from tasuki.handlers.body import make_decoder
from tasuki.queues.queue import Queue
from tasuki.queues.result import Confirmed
from tasuki.state.job_records import JobRecord, decode, result_key
from tasuki.state.job_status import status_of
from tasuki.system.process import user_and_host
from tasuki.system.threads import Run, blocking
from tasuki.units import Duration, format_duration, parse_duration

if TYPE_CHECKING:
    from types import UnionType

    from tasuki.app.app import App
    from tasuki.app.assembly import Assembly
    from tasuki.app.dry_run.report import DryRun
    from tasuki.app.explain.rule import Explanation
    from tasuki.app.handle import QueueHandle
    from tasuki.app.typed.options import Named
    from tasuki.contracts.state.jobs import Cancellation
    from tasuki.queues.dead.attempts import AttemptRecord


T = TypeVar("T")
"""What the handler returns."""


def _told(confirmed: Confirmed) -> tuple[object, ...]:
    return confirmed.id, confirmed.durability, confirmed.outcome, confirmed.instead_of


class _OfQueue(Guessed, Confirmed, Generic[T], frozen=True, eq=False, gc=True):
    """A published message by its id; equal to another result of a publish that says the same."""

    _guesses: ClassVar[Mapping[str, str]] = OF_JOB

    queue: str = ""
    """Id of its queue."""
    _app: Any = None
    _returns: Any = Any
    """The type that its result becomes."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Confirmed) and _told(self) == _told(other)

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        of = "" if self.instead_of is None else f", instead_of={self.instead_of!r}"
        return f"{type(self).__name__}(id={self.id!r}, queue={self.queue!r}, outcome={self.outcome!r}{of})"


class Job(_OfQueue[T], Generic[T], frozen=True, eq=False, gc=True):
    """A published message by its id, and what becomes of it; ``T``: what its handler returns."""

    async def cancel(self) -> CancelOutcome:
        """Cancel the message; see :meth:`tasuki.app.jobs.AppJobs.cancel`."""
        app: App = self._app
        return await app.jobs.cancel(self.id, queue=self.queue)

    async def status(self) -> JobStatus:
        """What has become of the message; see :data:`tasuki.contracts.state.jobs.JobStatus`.

        ``unknown``: there never was such a message, or its time is over: the ttl of ``result`` after its end, or its
        end itself in a queue without ``result``. Makes two requests at most in a queue with ``result``.

        Raises:
            UnsupportedError: the queue has no state; or it keeps no results, its broker does not say where a message
                is, and no worker is known to have it. DriverError: its store or its broker cannot be reached.
        """
        live, queue = self._live()
        status = status_of(await know(live, self.queue, self.id))
        if status is None:
            raise UnsupportedError(
                f"queue {self.queue!r} keeps no results, and driver {queue.driver.name!r} does not say where message "
                f"{self.id!r} is: write result: 1h at the queue (result='1h' in code)",
                driver=queue.driver.name,
                queue=self.queue,
            )
        return status

    async def progress(self) -> Progress | None:
        """What the handler has said last with ``context.progress``; None: nothing. Raises as ``status``."""
        live, _ = self._live()
        record = await read(live, self.queue, self.id)
        return None if record is None else record.progress

    @overload
    async def result(self, timeout: Duration = 30.0) -> T: ...
    @overload
    async def result(self, timeout: Duration = 30.0, *, returns: type[Named] | UnionType) -> Named: ...
    async def result(self, timeout: Duration = 30.0, *, returns: Any = None) -> Any:
        """Wait for what the handler returns; the store's watch wakes it.

        Args:
            timeout: the longest time to wait.
            returns: the type that the result becomes; default: as the task says, else as it was decoded.

        Raises:
            HandlerError: the message was given up, or cancelled (kind ``Canceled``), or its result cannot be kept.
            RequestTimeoutError: it has not ended in time.
            UnsupportedError: the queue keeps no results.
            PolicyDeniedError: the application may not read them. DriverError: the store cannot be reached.
        """
        live, queue = self._live()
        if queue.policy.result is None:
            raise UnsupportedError(
                f"queue {self.queue!r} keeps no results: write result: 1h at it (result='1h' in code)",
                driver=queue.driver.name,
                queue=self.queue,
            )
        seconds, record = parse_duration(timeout), await read(live, self.queue, self.id)
        if record is None or not record.is_final:
            try:
                async with asyncio.timeout(seconds):
                    record = await self._ended(live, queue)
            except TimeoutError:
                record = await read(live, self.queue, self.id)
        if record is None or not record.is_final:
            status = "has not started" if record is None or record.status == "waiting" else f"is {record.status}"
            text = f"message {self.id} of queue {self.queue!r} {status} after {format_duration(seconds)}"
            raise RequestTimeoutError(text)
        return _value(queue, record, self._returns if returns is None else returns)

    async def _ended(self, live: Assembly, queue: Queue) -> JobRecord | None:
        """The last record, as soon as the store has it; None: the store was closed."""
        store = await needed_state(live, self.queue, "the result of a message").store()
        return await _last_record(store, result_key(queue.spec.name, self.id))

    def _live(self) -> tuple[Assembly, Queue]:
        app: App = self._app
        live = app._runtime.live()
        guard = live.rights.application
        if guard is not None:
            guard.require("queue.result.queue", self.queue, f"not allowed to see jobs of queue: {self.queue}")
        return live, live.queue(self.queue)


class SyncJob(_OfQueue[T], Generic[T], frozen=True, eq=False, gc=True):
    """A :class:`Job` for code without an event loop: the same verbs, which block until they are done."""

    @property
    def _awaited(self) -> Job[T]:
        return Job(*_fields(self))

    @property
    def _run(self) -> Run:
        run: Run = self._app.sync.run
        return run

    cancel = blocking(Job[Any].cancel)
    status = blocking(Job[Any].status)
    progress = blocking(Job[Any].progress)

    @overload
    def result(self, timeout: Duration = 30.0) -> T: ...
    @overload
    def result(self, timeout: Duration = 30.0, *, returns: type[Named] | UnionType) -> Named: ...
    def result(self, timeout: Duration = 30.0, *, returns: Any = None) -> Any:
        """See :meth:`Job.result`."""
        return self._run(self._awaited.result(timeout, returns=returns))


J = TypeVar("J", bound=_OfQueue[Any])


def sync_job(job: _OfQueue[T]) -> SyncJob[T]:
    """The same job for code without an event loop."""
    return SyncJob(*_fields(job))


def returning(job: J, returns: Any) -> J:
    """The job whose result becomes this type; None: it stays as it was decoded."""
    return job if returns is None else msgspec.structs.replace(job, _returns=returns)


def _fields(job: _OfQueue[Any]) -> tuple[Any, ...]:
    return tuple(getattr(job, name) for name in _OfQueue.__struct_fields__)


async def read(live: Assembly, queue: str, id: str) -> JobRecord | None:
    """The record of a message; None: there is none. Raises UnsupportedError: its queue has no state; DriverError."""
    state = needed_state(live, queue, "the status of a message")
    found = await (await state.store()).get(result_key(live.queue(queue).spec.name, id))
    return None if found is None else decode(found.value)


async def _last_record(store: Store, key: str) -> JobRecord | None:
    async with aclosing(store.watch(key)) as changes:  # type: ignore[type-var]
        async for change in changes:
            if change is CURRENT or change.key != key or change.value is None:
                continue
            record = decode(change.value)
            if record is not None and record.is_final:
                return record
    return None


def _value(queue: Queue, record: JobRecord, returns: Any) -> Any:
    """The result. Raises HandlerError: there is none."""
    if record.status == "cancelled":
        raise HandlerError("the message was cancelled", kind="Canceled", retryable=False)
    if (error := record.error) is not None and record.is_given_up:
        names = [error.type] if error.type else []
        raise HandlerError(error.text, kind=error.kind, retryable=False, details={"reason": error.reason}, names=names)
    if record.value is None:
        raise HandlerError(f"the result cannot be kept: {record.problem}", kind="Internal", retryable=False)
    codec = queue.codecs.get(record.codec) or queue.codec
    return make_decoder(codec, returns)(record.value)


class AppJobs:
    """The published messages of an open app, whichever process published them."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._runtime = app._runtime

    def get(self, id: str, *, queue: str | QueueHandle[Any] = "") -> Job[Any]:
        """A message by its id, published by any process. Raises LifecycleError, QueueNotFoundError."""
        if not isinstance(id, str) or not queue:
            raise TypeError(
                "app.jobs.get(id, queue=queue) is a message by its id and the queue that it was published to; as a "
                "decorator write '@queue.consumer'"
            )
        live = self._runtime.live().queue(self._runtime.full_id(queue))
        return Job(id, live.durability, queue=live.id, _app=self._app)

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

        live = self._runtime.live()
        guard = live.rights.application
        if queue is None:
            return await cancel_anywhere(live, guard, id)
        return await live.cancel_from(guard, self._runtime.full_id(queue), id)

    async def cancel_many(self, ids: Iterable[str], *, queue: str | QueueHandle[Any]) -> Cancellation:
        """Cancel many messages of one queue; see ``cancel``. Returns how many were where."""
        from tasuki.app.state.cancelling import cancel_in

        live = self._runtime.live()
        return await cancel_in(live, live.rights.application, self._runtime.full_id(queue), ids)

    async def explain(self, queue: str | QueueHandle[Any] | None, id: str) -> Explanation:
        """Why a message does not run now: the first cause that holds, then the others, each with what changes it.

        It reads the first 10,000 waiting messages, and asks the workers for their latest events; they have two seconds
        to answer.

        Args:
            queue: by id, name or handle; None: all queues are searched, and the first one that knows it counts. One
                that cannot be reached is a cause then: ``away``.
            id: of the message.

        Raises:
            QueueNotFoundError: there is no such queue. PolicyDeniedError: the application may not see it, or look into
                it. DriverError: the broker or the store of the queue that was named cannot be reached.
        """
        from tasuki.app.explain.looking import explain_in, search

        live = self._runtime.live()
        if queue is not None:
            return await explain_in(live, self._runtime.clock, self._runtime.full_id(queue), id)
        if not live.queues:
            raise QueueNotFoundError("the project has no queue", queue="")
        return await search(live, self._runtime.clock, list(live.queues), id)

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
        from tasuki.dead.reading import attempts_of

        live = self._runtime.live()
        return await attempts_of(live, live.queue_of_application(self._runtime.full_id(queue)), id)

    async def dry_run(
        self, queue: str | QueueHandle[Any], id: str, *, limit: Duration = 30.0, actor: str | None = None
    ) -> DryRun:
        """Call the handler of a waiting message or a dead letter, and record what it would do; nothing is settled.

        The app is loaded in its own process, with a store in memory in the place of each broker: what the handler
        publishes, requests, writes to stores, signals, cancels and measures is recorded there, and its transactions are
        rolled back. The message stays as it is, for consumers too. Calls that the code makes itself (HTTP, SQL outside
        Tasuki) really happen.

        Args:
            queue: the queue that the message is in.
            id: of the message.
            limit: after which the process is ended.
            actor: who, for the log; default the actor of the application, or the user and the host.

        Raises:
            LookupError: no such message waits there. HandlerError: no consumer of this project gets it.
            LifecycleError: the app is not at the top level of a module, so no other process can load it.
            PolicyDeniedError: the application may not. DriverError: a broker refuses.
        """
        from tasuki.app.dry_run.run import dry_run, entries, loading_of, trial_of
        from tasuki.dead.walk import letter_of

        live, source, loading = self._runtime.live(), self._runtime.full_id(queue), loading_of(self._runtime)
        guard = live.rights.application
        if guard is not None:
            guard.require("queue.admin.dry_run", source, f"not allowed to dry-run messages of queue: {source}")
        message = await letter_of(live.queue(source), id, self._runtime.clock)
        who = actor or (user_and_host() if guard is None or guard.actor is None else guard.actor.id)
        trial = trial_of(live, loading, message, source, self._runtime.clock.time())
        return await dry_run(trial, partial(entries, live), actor=who, limit=parse_duration(limit))
