"""Results: what the handlers of one run return, kept in the store before their messages are acked."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tasuki.consumers.batch import results_of
from tasuki.consumers.delivery import Delivery
from tasuki.consumers.handling.idempotency import AlreadyDone
from tasuki.consumers.settling.insisting import Write
from tasuki.consumers.settling.verdict import Verdict
from tasuki.consumers.surroundings import Handle, Middleware, Settle
from tasuki.contracts.handler import Context, Interrupted
from tasuki.contracts.state.jobs import JobStatus, Progress
from tasuki.contracts.state.store import MAX_PAGE
from tasuki.errors import (
    BrokerUnavailableError,
    DriverError,
    ResultError,
    StoreFullError,
    StoreLimitError,
    TasukiError,
    nature_of,
)
from tasuki.handlers.threads import is_from_outside
from tasuki.observe.events import PROGRESS
from tasuki.state.job_records import JobError, JobRecord, encode, result_key

if TYPE_CHECKING:
    from tasuki.consumers.definition import Definition
    from tasuki.consumers.jobs.steps import FollowedRun
    from tasuki.consumers.jobs.timeouts import OffClock
    from tasuki.queues.policy import ResultPolicy
    from tasuki.state.shared import SharedState

_log = logging.getLogger("tasuki.consumer")

_EVERY = 1.0
"""Seconds between two records of the progress of a message."""

_PATIENCE = 1.0
"""Seconds that a handler waits for the record of its start."""

_MOST_BYTES = 2**20
"""Of the values that are written together: few enough for the timeout of a store, and for those that wait."""


class _Job:
    """A message whose handler runs, or has just ended."""

    def __init__(self) -> None:
        self.value: tuple[Any] | None = None
        """What the handler returned; None: it runs, or has failed."""
        self.has_ended = False
        """Its handler has; what settles it until then is the handler itself."""
        self.problem = ""
        """Why there is no result although the handler has succeeded."""
        self.progress: Progress | None = None
        self.writing: asyncio.Task[None] | None = None
        self.written_at = float("-inf")


class _Put(NamedTuple):
    """A record on its way to the store."""

    key: str
    value: bytes
    ttl: float
    done: asyncio.Future[None]


class JoinedPuts:
    """Puts of one event loop; those that come while the store writes others are written together.

    A caller puts a key again only after its last put of it has ended: their order holds for one ttl alone.
    What the store refuses, or has no room for, is raised to its own caller alone. One whose caller has gone before it
    was sent is left out.
    """

    def __init__(self, state: SharedState) -> None:
        self._state = state
        self._waiting: list[_Put] = []
        self._writing: asyncio.Task[None] | None = None

    async def put(self, key: str, value: bytes, ttl: float) -> None:
        """As the put of a store without a version."""
        loop = asyncio.get_running_loop()
        put = _Put(key, value, ttl, loop.create_future())
        self._waiting.append(put)
        if self._writing is None:
            self._writing = loop.create_task(self._write(), name="results")
        await put.done

    async def _write(self) -> None:
        try:
            while puts := self._take():
                if not await self._write_together(puts):
                    for put in puts:
                        await self._write_together([put])
        finally:
            self._writing = None

    def _take(self) -> list[_Put]:
        """The next ones of a ttl, as many as fit into a write; the first of these fits always."""
        self._waiting = [put for put in self._waiting if not put.done.done()]
        same = [put for put in self._waiting if put.ttl == self._waiting[0].ttl][:MAX_PAGE]
        sizes = accumulate(len(put.value) for put in same)
        puts = same[: max(sum(size <= _MOST_BYTES for size in sizes), 1)]
        taken = set(map(id, puts))
        self._waiting = [put for put in self._waiting if id(put) not in taken]
        return puts

    async def _write_together(self, puts: list[_Put]) -> bool:
        """Whether their callers have an answer: several may be refused because of one, or as there is room for few."""
        failed: Exception | None = None
        try:
            store = await self._state.store()
            if len(puts) == 1:
                await store.put(puts[0].key, puts[0].value, ttl=puts[0].ttl)
            else:
                await store.put_all([(put.key, put.value) for put in puts], ttl=puts[0].ttl)
        except Exception as error:
            if len(puts) > 1 and (nature_of(error) == "final" or isinstance(error, StoreFullError)):
                return False
            failed = error
        except asyncio.CancelledError as error:
            if is_from_outside(error):
                raise
            failed = BrokerUnavailableError("its client has cancelled the write", driver=self._state.driver.name)
        for put in puts:
            if not put.done.done():
                put.done.set_result(None) if failed is None else put.done.set_exception(failed)
        return True


class Results(Middleware):
    """A layer around the handler, and one around the settling of its deliveries."""

    def __init__(
        self, run: FollowedRun, consumer: Definition, state: SharedState, policy: ResultPolicy, off_clock: OffClock
    ) -> None:
        super().__init__(self.layer)
        self._run = run
        self._queue = consumer.queue
        self._clock, self._events = consumer.clock, consumer.events
        self._is_batch = consumer.options.batch is not None
        self._puts = JoinedPuts(state)
        self._policy = policy
        self._off_clock = off_clock
        self._jobs: dict[Delivery, _Job] = {}

    async def layer(self, body: Any, context: Context, inner: Handle) -> Any:
        """Record that the handler runs, and remember what it returns."""
        facts: Any = context.delivery
        deliveries: list[Delivery] = list(facts.deliveries)
        for each in deliveries:
            self._jobs[each] = _Job()
        with self._off_clock(), suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await asyncio.gather(*(self._try_to_put(each, self._record("running", each)) for each in deliveries))
        is_cut_off = False
        try:
            try:
                result = await inner(body, context)
            except AlreadyDone as done:
                result = done.result
            self._note(deliveries, result)
        except ResultError as unfit:
            for each in deliveries:
                if each in self._jobs:
                    self._jobs[each].problem = str(unfit)
            raise
        except (asyncio.CancelledError, Interrupted):
            is_cut_off = facts.stopping
            raise
        finally:
            for each in deliveries:
                if each in self._jobs:
                    self._jobs[each].has_ended = True
                if each.settled:
                    await self._end_early(each, is_cut_off=is_cut_off)
        return result

    def _note(self, deliveries: list[Delivery], result: Any) -> None:
        if not self._is_batch:
            values: list[Any] = [result]
        elif isinstance(result, list | tuple):
            values = list(results_of(result, len(deliveries)))
        else:
            values = [None] * len(deliveries)
        for each, value in zip(deliveries, values, strict=True):
            if each in self._jobs and not isinstance(value, BaseException):
                self._jobs[each].value = (value,)

    async def _end_early(self, delivery: Delivery, *, is_cut_off: bool) -> None:
        """Its message was settled before its handler ended: what it returned is kept all the same."""
        job = self._jobs.pop(delivery, None)
        if job is None or not delivery.was_acked:
            return
        await self._stop_writing(job)
        if job.value is not None or (job.problem and not self._is_batch):
            record = self._done(delivery, job)
        elif delivery.cancelled:
            record = self._record("cancelled", delivery, job)
        elif is_cut_off and self._run.settler.owes(delivery):
            record = self._record("waiting", delivery, job)  # it is released, and is redelivered
        else:
            error = JobError("the handler failed; its message was acked before")
            record = self._record("failed", delivery, job, error=error)
        write = Write(partial(self._put_end, delivery, record), "kept as the result of an acked message", is_late=True)
        settler = self._run.settler
        settler.begin(settler.late(delivery, write), "late result")

    def around_settle(self, settle: Settle) -> Settle:
        """``settle``, after the record of the end is confirmed."""

        def kept(delivery: Delivery, verdict: Verdict) -> None:
            job = self._jobs.get(delivery)
            if job is not None and not job.has_ended and verdict.action == "ack" and verdict.reason != "cancelled":
                if verdict.answer is None:
                    settle(delivery, verdict)  # by the handler itself, which goes on
                    return
                job.value = (verdict.answer.body,)  # of work that was committed by an earlier delivery
            self._jobs.pop(delivery, None)
            if job is None and verdict.action in ("release", "nack"):
                settle(delivery, verdict)  # it has not started
                return
            record = self._ended(delivery, verdict, job)

            async def write() -> None:
                if job is not None:
                    await self._stop_writing(job)
                await self._put_end(delivery, record)

            settler = self._run.settler
            settler.begin(settler.settle_after(write, delivery, verdict), "result")

        return kept

    def note(self, delivery: Delivery, progress: Progress) -> bool:
        """See :class:`tasuki.consumers.delivery.ResultKeeper`."""
        if (job := self._jobs.get(delivery)) is None:
            return False
        job.progress = progress
        return True

    def write_note(self, delivery: Delivery) -> None:
        """See :class:`tasuki.consumers.delivery.ResultKeeper`."""
        if (job := self._jobs.get(delivery)) is None:
            return
        if job.writing is None or job.writing.done():
            work = self._write_progress(delivery, job)
            job.writing = asyncio.get_running_loop().create_task(work, name="progress of a message")

    async def _write_progress(self, delivery: Delivery, job: _Job) -> None:
        written: Progress | None = None
        while written is not job.progress:
            if (wait := job.written_at + _EVERY - self._clock.monotonic()) > 0:
                await asyncio.sleep(wait)
            written, job.written_at = job.progress, self._clock.monotonic()
            if written is not None:
                of = "" if written.total is None else f" of {written.total:g}"
                self._events.add(PROGRESS, delivery.received.id, delivery.received.attempt, f"{written.done:g}{of}")
            await self._try_to_put(delivery, self._record("running", delivery, job))

    @staticmethod
    async def _stop_writing(job: _Job) -> None:
        """Let no earlier record follow the last one."""
        if job.writing is not None:
            job.writing.cancel()
            await asyncio.wait([job.writing])

    def _ended(self, delivery: Delivery, verdict: Verdict, job: _Job | None) -> JobRecord:
        if verdict.reason == "cancelled":
            return self._record("cancelled", delivery, job)
        if verdict.action == "ack" and job is not None:
            return self._done(delivery, job)
        if verdict.action == "release":
            return self._record("waiting", delivery, job, delay=verdict.delay)
        kind = verdict.kind or ("Timeout" if verdict.reason == "expired" else "Internal")
        type_ = "" if verdict.cause is None else type(verdict.cause).__name__
        is_final = verdict.action != "nack"
        given_up: JobStatus = "failed" if self._queue.policy.dead_letter is None else "dead"
        text = verdict.error or "its time to live has passed"  # a queue that drops what expires says nothing
        error = JobError(text, type_, kind, verdict.reason if is_final else "")
        if not is_final:
            return self._record("waiting", delivery, job, error, verdict.delay)
        is_dropped = verdict.action == "ack"  # a queue drops only what has expired
        return self._record("expired" if is_dropped or verdict.reason == "expired" else given_up, delivery, job, error)

    def _done(self, delivery: Delivery, job: _Job) -> JobRecord:
        record = self._record("done", delivery, job)
        if job.value is None:
            return msgspec.structs.replace(record, problem=job.problem)
        try:
            value = self._queue.codec.encode(job.value[0])
        except TasukiError as error:
            problem = str(error)
        else:
            if len(value) <= self._policy.max_size:
                return msgspec.structs.replace(record, value=value, codec=self._queue.codec.name)
            problem = f"it has {len(value)} bytes, and max_size of the queue's result is {self._policy.max_size}"
        _log.warning("the result of the handler cannot be kept: %s", problem, extra=delivery.log_fields())
        return msgspec.structs.replace(record, problem=problem)

    def _record(
        self,
        status: JobStatus,
        delivery: Delivery,
        job: _Job | None = None,
        error: JobError | None = None,
        delay: float = 0.0,
    ) -> JobRecord:
        progress, now = None if job is None else job.progress, self._clock.time()
        due = now + delay if delay > 0 else None
        return JobRecord(status, now, delivery.received.attempt, error=error, progress=progress, due=due)

    async def _try_to_put(self, delivery: Delivery, record: JobRecord) -> None:
        """Put a record that may be missing, as another one follows."""
        try:
            await self._put_end(delivery, record)
        except DriverError as error:
            _log.debug("cannot keep the status of a message: %s", error, extra=delivery.log_fields())

    async def _put_end(self, delivery: Delivery, record: JobRecord) -> None:
        """Put the last record; without the result, if that is larger than the store takes."""
        try:
            await self._put(delivery, record)
        except StoreLimitError as error:
            if record.value is None:
                raise
            _log.warning("the result of the handler cannot be kept: %s", error, extra=delivery.log_fields())
            await self._put(delivery, msgspec.structs.replace(record, value=None, codec="", problem=str(error)))

    async def _put(self, delivery: Delivery, record: JobRecord) -> None:
        key = result_key(self._queue.spec.name, delivery.received.id)
        await self._puts.put(key, encode(record), record.ttl(self._policy.ttl))


def results_for(run: FollowedRun, consumer: Definition, off_clock: OffClock) -> Results | None:
    """The results of a run; None: its queue keeps none."""
    policy = consumer.queue.policy.result
    state = consumer.state
    return None if state is None or policy is None else Results(run, consumer, state, policy, off_clock)
