"""Jobs: what has become of a published message, and what its handler returned."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tasuki.app.state.finding import needed_state
from tasuki.contracts.state.jobs import CancelOutcome, JobStatus, Progress
from tasuki.errors import HandlerError, QueueNotFoundError, RequestTimeoutError, UnsupportedError
from tasuki.handlers.body import make_decoder
from tasuki.queues.queue import Queue
from tasuki.queues.result import Confirmed
from tasuki.state.cancelling import is_cancelled
from tasuki.state.results import JobRecord, decode, result_key
from tasuki.units import Duration, format_duration, parse_duration

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.app.messaging import Messaging

_PAUSE = 0.02
_LONGEST_PAUSE = 0.5
"""Seconds between two reads of a result that is waited for."""
_MOST_SEARCHED = 1000
"""Messages of a queue that are looked through for one without a record."""


def _told(confirmed: Confirmed) -> tuple[object, ...]:
    return confirmed.id, confirmed.durability, confirmed.outcome, confirmed.instead_of


class Job(Confirmed, frozen=True, eq=False, gc=True):
    """A published message by its id, and what becomes of it.

    ``status``, ``progress`` and ``result`` read what its worker has written, in a queue with ``result``.
    """

    queue: str = ""
    """Id of its queue."""
    _app: Any = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Confirmed) and _told(self) == _told(other)

    def __hash__(self) -> int:
        return hash(self.id)

    async def cancel(self) -> CancelOutcome:
        """Cancel the message; see :meth:`tasuki.App.cancel`."""
        app: Messaging = self._app
        return await app.cancel(self.id, queue=self.queue)

    async def status(self) -> JobStatus:
        """``waiting``, ``running``, ``done``, ``failed`` (given up), ``cancelled`` or ``unknown``.

        Without ``result`` at the queue, and after its time, only ``waiting`` and ``cancelled`` are known.

        Raises:
            UnsupportedError: the queue has no state. DriverError: its store or its broker cannot be reached.
        """
        live, queue = self._live()
        record = await read(live, self.queue, self.id)
        if record is not None:
            return record.status
        state = needed_state(live, self.queue, "the status of a message")
        if await is_cancelled(state, queue.spec.name, self.id):
            return "cancelled"
        return "waiting" if await _waits(queue, self.id) else "unknown"

    async def progress(self) -> Progress | None:
        """What the handler has said last with ``context.progress``; None: nothing. Raises as ``status``."""
        live, _ = self._live()
        record = await read(live, self.queue, self.id)
        return None if record is None else record.progress

    async def result(self, timeout: Duration = 30.0, *, returns: Any = Any) -> Any:
        """Wait for what the handler returns.

        Args:
            timeout: the longest time to wait.
            returns: the type that the result becomes; default: as it was decoded.

        Raises:
            HandlerError: the message was given up, or cancelled (kind ``Canceled``), or its result cannot be kept.
            RequestTimeoutError: it has not ended in time.
            UnsupportedError: the queue keeps no results.
            PolicyDeniedError: the application may not read them. DriverError: the store cannot be reached.
        """
        live, queue = self._live()
        if queue.policy.result is None:
            raise UnsupportedError(
                f"queue {self.queue!r} keeps no results: write 'result: {{ttl: 1h}}' at it",
                driver=queue.driver.name,
                queue=self.queue,
            )
        seconds, loop, pause = parse_duration(timeout), asyncio.get_running_loop(), _PAUSE
        until = loop.time() + seconds
        while True:
            record = await read(live, self.queue, self.id)
            if record is not None and record.is_final:
                return _value(queue, record, returns)
            if loop.time() >= until:
                status = "has not started" if record is None else f"is {record.status}"
                raise RequestTimeoutError(
                    f"message {self.id} of queue {self.queue!r} {status} after {format_duration(seconds)}"
                )
            await asyncio.sleep(min(pause, max(until - loop.time(), 0.0)))
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _live(self) -> tuple[Assembly, Queue]:
        app: Messaging = self._app
        live = app.live_assembly()
        guard = live.rights.application
        if guard is not None:
            guard.require("queue.result.queue", self.queue, f"not allowed to see jobs of queue: {self.queue}")
        return live, live.queue(self.queue)


async def read(live: Assembly, queue: str, id: str) -> JobRecord | None:
    """The record of a message; None: there is none. Raises UnsupportedError: its queue has no state; DriverError."""
    state = needed_state(live, queue, "the status of a message")
    found = await (await state.store()).get(result_key(live.queue(queue).spec.name, id))
    return None if found is None else decode(found.value)


def _value(queue: Queue, record: JobRecord, returns: Any) -> Any:
    """The result. Raises HandlerError: there is none."""
    if record.status == "cancelled":
        raise HandlerError("the message was cancelled", kind="Canceled", retryable=False)
    if (error := record.error) is not None and record.status == "failed":
        names = [error.type] if error.type else []
        raise HandlerError(error.text, kind=error.kind, retryable=False, details={"reason": error.reason}, names=names)
    if record.value is None:
        raise HandlerError(f"the result cannot be kept: {record.problem}", kind="Internal", retryable=False)
    codec = queue.codecs.get(record.codec) or queue.codec
    return make_decoder(codec, returns)(record.value)


async def _waits(queue: Queue, id: str) -> bool:
    """Whether the message is among the first that wait."""
    if not queue.driver.capabilities.peek:
        return False
    try:
        found = await queue.driver.peek(queue.spec.name, _MOST_SEARCHED)
    except QueueNotFoundError:
        return False
    return any(message.id == id for message in found)
