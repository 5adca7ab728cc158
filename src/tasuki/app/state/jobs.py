"""Jobs: what has become of a published message, and what its handler returned."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

import msgspec

from tasuki.app.guesses import OF_JOB, Guessed
from tasuki.app.state.fate import know
from tasuki.app.state.finding import needed_state
from tasuki.contracts.state.jobs import CancelOutcome, JobStatus, Progress
from tasuki.contracts.state.store import CURRENT, Store
from tasuki.errors import HandlerError, RequestTimeoutError, UnsupportedError
from tasuki.handlers.body import make_decoder
from tasuki.queues.queue import Queue
from tasuki.queues.result import Confirmed
from tasuki.state.job_records import JobRecord, decode, result_key
from tasuki.state.job_status import status_of
from tasuki.system.threads import Run, blocking
from tasuki.units import Duration, format_duration, parse_duration

if TYPE_CHECKING:
    from types import UnionType

    from tasuki.app.app import App
    from tasuki.app.assembly import Assembly
    from tasuki.app.typed.options import Named

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
