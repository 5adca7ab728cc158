"""JobContext: the message as a job, for its handler: cancels and progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasuki.contracts.state.handler_metrics import HandlerMetrics
from tasuki.contracts.state.jobs import MAX_NOTE
from tasuki.message import is_request
from tasuki.observe.trace import current_traceparent

if TYPE_CHECKING:
    from tasuki.contracts.context import Facts, Reach, Settling


def wants_result(context: JobContext) -> bool:
    """Whether what the handler returns is used: for a reply, or as its queue keeps results."""
    return context.delivery.keeps_result or is_request(context.delivery.message)


class JobContext:
    """The half of a handler's context that is about the job itself."""

    __slots__ = ()
    delivery: Facts
    _settling: Settling
    _reach: Reach[Any]

    @property
    def cancelled(self) -> bool:
        """Whether the message is cancelled: end soon; it is not redelivered. Of a batch, whether all of them are."""
        return self.delivery.cancelled

    @property
    def metrics(self) -> HandlerMetrics:
        """Counters, gauges and histograms of this handler's own: ``context.metrics.count("orders")``."""
        return HandlerMetrics(self.delivery.function, self._reach.measure)

    @property
    def trace(self) -> str | None:
        """The ``traceparent`` of the trace that runs now, which each publish continues; None: there is none."""
        return current_traceparent()

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Say how far the work is, for ``job.progress()``; only where the queue keeps results, else it does nothing.

        The store hears of it once a second at most, and of the last one always. Safe in a plain handler's thread.
        """
        self._settling.progress(done, total, str(note)[:MAX_NOTE])

    async def signal(self, event: str, key: str | int, value: Any = True) -> bool:
        """Give the value that messages wait for with ``wait_for``; see :meth:`tasuki.App.signal`.

        Raises:
            PolicyDeniedError: the actor may not.
            HandlerError: kind Invalid: the value is no plain data, or larger than 64 KiB.
            UnsupportedError: no queue has a state.
            DriverError: the store cannot be reached; signal again.
        """
        return await self._reach.signal(event, key, value)
