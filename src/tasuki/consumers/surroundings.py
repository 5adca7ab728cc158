"""What surrounds the way of a message through a run: one class for each feature, in one order at every seam.

Tracing is outermost, so that its span holds what all others do. Observers and reports come next: they see how a
message ends, whatever has ended it. The record of its result follows, which a key that is done has as well; then the
key, so that the user's middleware, innermost, does not run for work that is done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tasuki.consumers.batch import results_of
from tasuki.consumers.delivery import Delivery
from tasuki.consumers.settling.verdict import Verdict
from tasuki.contracts.context import Facts
from tasuki.contracts.handler import Context
from tasuki.contracts.observer import Observer
from tasuki.queues.middleware import OnSettled, tell, told_of_settled

if TYPE_CHECKING:
    from tasuki.tracing.rules import HandlerCall
    from tasuki.tracing.tracing import Accept, Flush

F = TypeVar("F")
Handle = Callable[[Any, Context], Awaitable[Any]]
"""The handler with the middleware inside of the present one: takes the decoded body and the context."""
ConsumeMiddleware = Callable[[Any, Context, Handle], Awaitable[Any]]
"""Awaits the given ``Handle`` once, or ends the message without it: by its result, by a signal or by an error."""
Settle = Callable[[Delivery, Verdict], None]


class Surrounding(Protocol):
    """One feature. Each method returns the function of its seam within the feature, or the same function."""

    @property
    def needs_context(self) -> bool:
        """Whether it reads the context of a call."""
        return False

    def around_accept(self, accept: Accept, monotonic: Callable[[], float]) -> Accept:
        """Takes received messages, with the time of the request."""
        return accept

    def around_handle(self, handle: Handle, call: HandlerCall) -> Handle:
        """Handles one message, or one batch."""
        return handle

    def around_settle(self, settle: Settle) -> Settle:
        """Takes the verdict on a delivery."""
        return settle

    def around_flush(self, flush: Flush) -> Flush:
        """Sends settlements to the broker."""
        return flush

    def around_settled(self, on_settled: OnSettled) -> OnSettled:
        """Takes the settlements that the broker has answered."""
        return on_settled


def within(parts: Sequence[Surrounding], seam: Callable[[Surrounding, F], F], function: F) -> F:
    """The function within all parts, the first one outermost."""
    for part in reversed(parts):
        function = seam(part, function)
    return function


class Middleware(Surrounding):
    """A function around the handler; the user's, or one of ours."""

    def __init__(self, layer: ConsumeMiddleware) -> None:
        self._layer = layer

    @property
    def needs_context(self) -> bool:
        """See Surrounding."""
        return True

    def around_handle(self, handle: Handle, call: HandlerCall) -> Handle:
        """See Surrounding."""
        layer = self._layer
        return lambda body, context: layer(body, context, handle)


class Observed(Surrounding):
    """Reports the starts, ends and settlements of messages to observers."""

    def __init__(self, observers: Sequence[Observer], consumer: str) -> None:
        self._observers, self._consumer = observers, consumer
        self._on_start, self._on_end = tell(observers, "on_start"), tell(observers, "on_end")

    @property
    def needs_context(self) -> bool:
        """See Surrounding."""
        return self._on_start is not None or self._on_end is not None

    def around_settled(self, on_settled: OnSettled) -> OnSettled:
        """See Surrounding."""
        return told_of_settled(on_settled, self._observers, self._consumer)

    def around_handle(self, handle: Handle, call: HandlerCall) -> Handle:
        """See Surrounding."""
        if not self.needs_context:
            return handle
        on_start, on_end, monotonic = self._on_start or _nothing, self._on_end or _nothing, call.monotonic

        async def run(body: Any, context: Context) -> Any:
            facts, started = context.delivery, monotonic()
            if facts.batch:
                return await _observed_batch(handle(body, context), facts.batch, on_start, on_end, monotonic)
            on_start(facts)
            try:
                result = await handle(body, context)
            except BaseException as error:
                on_end(facts, monotonic() - started, error)
                raise
            on_end(facts, monotonic() - started, None)
            return result

        return run


async def _observed_batch(
    handling: Awaitable[Any],
    batch: Sequence[Facts],
    on_start: Callable[..., None],
    on_end: Callable[..., None],
    monotonic: Callable[[], float],
) -> Any:
    """Report the start and the end of each message of a batch; its result may hold errors of single messages."""
    started = monotonic()
    for facts in batch:
        on_start(facts)
    try:
        result = await handling
        errors = results_of(result, len(batch)) if isinstance(result, list | tuple) else [None] * len(batch)
    except BaseException as error:
        for facts in batch:
            on_end(facts, monotonic() - started, error)
        raise
    for facts, found in zip(batch, errors, strict=True):
        on_end(facts, monotonic() - started, found if isinstance(found, BaseException) else None)
    return result


def _nothing(*args: object) -> None:
    """No observer listens."""
