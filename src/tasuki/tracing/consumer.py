"""ConsumerTracing: the spans of one consumer: what it receives, processes and settles."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from tasuki.contracts.driver import Ack, Nack, Receipt, Received, Settlement
from tasuki.contracts.handler import Context, Retry
from tasuki.message import TRACEPARENT, Message
from tasuki.observe.trace import CURRENT, NOT_SAMPLED, Headers, OpenSpan, common, is_unsampled
from tasuki.tracing.deciding import NOT_RECORDED, HandlerCall, TraceOptions, is_chosen
from tasuki.tracing.names import Attributes, SpanTarget, ending_of, is_interruption
from tasuki.tracing.spans import Context as Within
from tasuki.tracing.spans import Open, SpanKind, Spans, attach, detach, sampled_in

S = TypeVar("S")
Handle = Callable[[Any, Context], Awaitable[Any]]
Accept = Callable[[list[Received], float], None]
Flush = Callable[[list[Settlement]], Awaitable[None]]
OnSettled = Callable[[list[Settlement], Collection[Receipt]], None]


class TracedDelivery(Protocol):
    """A delivery, or a batch of some."""

    own_span: OpenSpan

    @property
    def received(self) -> Received: ...  # noqa: D102
    @property
    def deliveries(self) -> Sequence[TracedDelivery]: ...  # noqa: D102
    @property
    def attempt(self) -> int: ...  # noqa: D102


class ConsumerTracing:
    """Of one consumer; each method makes, of a function of its run, the same within spans."""

    def __init__(self, spans: Spans, options: TraceOptions, target: SpanTarget, consumer: str) -> None:
        self._spans, self._options = spans, options
        self._target = target
        self._consumer = consumer
        self._open: dict[Receipt, Open] = {}
        """The spans of the deliveries that are not settled yet, as far as they are recorded."""
        self._settling: object = None
        """The batch whose settling is under way."""

    @property
    def needs_context(self) -> bool:
        """See :class:`tasuki.consumers.surroundings.Surrounding`; the same for the methods below."""
        return False

    def around_settle(self, settle: S) -> S:
        """A verdict has no span; the settlement has."""
        return settle

    def around_handle(self, handle: Handle, call: HandlerCall) -> Handle:
        """The handler within the span of its message, or batch."""
        if call.is_batch:
            return partial(self._batch, handle, call)
        share, spans, unrecorded, has_context = self._options.sample, self._spans, handle, call.has_context
        if self._options.attach:
            unrecorded = partial(self._attached, handle)

        def run(body: Any, context: Any) -> Awaitable[Any]:
            facts = context.delivery if has_context else context
            headers: Headers = facts.received.headers
            text = headers.get(TRACEPARENT)
            # As is_unsampled says, without its call.
            if text.__class__ is str and text[52:] in NOT_SAMPLED and spans.obeys_the_flag:
                return unrecorded(body, context)
            parent = None if text is None else spans.context_of(headers)
            if parent is None and not is_chosen(share):
                CURRENT.set(NOT_RECORDED)  # each message sets it again
                return handle(body, context)
            return self._process(partial(handle, body, context), facts, parent, call)

        return run

    async def _attached(self, handle: Handle, body: Any, context: Context) -> Any:
        """Handle a message that is not recorded so that other instrumentation knows that it is not."""
        within = self._spans.context_of(CURRENT.get() or {})
        if within is None:
            return await handle(body, context)
        token = attach(within)
        try:
            return await handle(body, context)
        finally:
            detach(token)

    async def _process(
        self, handle: Callable[[], Awaitable[Any]], delivery: Any, parent: Within | None, call: HandlerCall
    ) -> Any:
        is_linked = self._options.process == "link"
        links = [delivery.received.headers] if is_linked else []
        span = self._begin([delivery], None if is_linked else parent, links)
        return await self._within(span, parent, handle, delivery, call)

    async def _batch(self, handle: Handle, call: HandlerCall, body: Any, context: Context) -> Any:
        """Handle a batch within one span, with a link to the context of each message."""
        batch: Any = context.delivery
        all_of_them: list[Headers] = [each.received.headers for each in batch.deliveries]
        shared = common(all_of_them) if self._options.process == "child" else None
        if not self._is_worth_it(all_of_them):
            if shared is None:
                CURRENT.set(NOT_RECORDED)
            return await handle(body, context)
        parent = None if shared is None else self._spans.context_of(shared)
        span = self._begin(batch.deliveries, parent, all_of_them)
        return await self._within(span, parent, partial(handle, body, context), batch, call)

    def _is_worth_it(self, messages: Sequence[Headers]) -> bool:
        """Whether a message of a batch is recorded; if none names a trace, a coin says."""
        if not self._spans.obeys_the_flag or sampled_in(messages):
            return True
        return all(not is_unsampled(each.get(TRACEPARENT)) for each in messages) and is_chosen(self._options.sample)

    def _begin(self, deliveries: Sequence[TracedDelivery], parent: Within | None, links: Sequence[Headers]) -> Open:
        messages: list[Message] = [each.received for each in deliveries]
        attributes = self._target.of_messages("process", messages, with_size=self._options.body_size)
        attributes["messaging.consumer.group.name"] = self._consumer
        attributes["tasuki.attempt"] = max(each.attempt for each in deliveries)
        return self._spans.begin(
            f"process {self._target.name}", SpanKind.CONSUMER, attributes, parent, sampled_in(links)
        )

    async def _within(
        self, span: Open, parent: Within | None, handle: Callable[[], Awaitable[Any]], facts: Any, call: HandlerCall
    ) -> Any:
        if span.is_recorded:
            for delivery in {facts, *facts.deliveries}:
                delivery.own_span = span
                if not delivery.settled:
                    self._open[delivery.received.receipt] = span
        mark, token = CURRENT.set(span.headers), attach(self._spans.within(span.span, parent))
        started = call.monotonic()
        result: Any = None
        error: BaseException | None = None
        try:
            result = await handle()
            return result
        except BaseException as raised:
            error = raised
            raise
        finally:
            if span.is_recorded:
                is_late = call.monotonic() - started > call.seconds - _CLOSE
                _conclude(span, result, error, is_late=is_late)
            span.end()
            detach(token)
            CURRENT.reset(mark)
            for delivery in facts.deliveries:
                if delivery.lost:  # no settling of it is reported
                    self._open.pop(delivery.received.receipt, None)

    def around_flush(self, flush: Flush) -> Flush:
        """The settling of a batch within a span, if one of its messages is recorded; linked to the span of each."""

        async def settle(batch: list[Settlement]) -> None:
            spans = self._open
            found = [one.receipt for one in batch if one.receipt in spans] if spans else []
            if not found:
                await flush(batch)
                return
            settled = list(dict.fromkeys(map(spans.pop, found)))
            attributes: Attributes = {**self._target.of_operation("settle"), "tasuki.outcome": _outcome(batch)}
            attributes["messaging.batch.message_count"] = len(batch)
            name, parent = f"settle {self._target.name}", self._spans.within(settled[0].span, None)
            links = [each.span.get_span_context() for each in settled]
            span = self._spans.begin(name, SpanKind.CLIENT, attributes, parent, links)
            self._settling = batch
            try:
                await flush(batch)
            except BaseException as error:
                span.failed(error)
                raise
            finally:
                span.end()

        return settle

    def around_settled(self, on_settled: OnSettled) -> OnSettled:
        """The same function; from then on the deliveries are forgotten here too."""

        def forget(batch: list[Settlement], stale: Collection[Receipt]) -> None:
            on_settled(batch, stale)
            if self._open and batch is not self._settling:
                for settlement in batch:
                    self._open.pop(settlement.receipt, None)

        return forget

    def around_accept(self, accept: Accept, monotonic: Callable[[], float]) -> Accept:
        """The same function, after a span of the receive, if such spans are wanted."""
        if not self._options.receive:
            return accept

        def received(messages: list[Received], asked_at: float) -> None:
            links = [each.headers for each in messages]
            if sampled_in(links):
                start = time.time_ns() - int((monotonic() - asked_at) * 1e9)
                attributes = self._target.of_messages("receive", messages, with_size=self._options.body_size)
                attributes["messaging.consumer.group.name"] = self._consumer
                name = f"receive {self._target.name}"
                self._spans.begin(name, SpanKind.CLIENT, attributes, None, sampled_in(links), start).end()
            accept(messages, asked_at)

        return received


def _conclude(span: Open, result: Any, error: BaseException | None, *, is_late: bool) -> None:
    """Say how a handler has ended."""
    ended = ending_of(result, error)
    span.says("tasuki.outcome", ended.outcome)
    if error is not None and is_late and is_interruption(error):
        span.event("timeout", {})
    if isinstance(error, Retry) and error.due is not None:
        span.event("retry", {"due": str(error.due)})
    if ended.has_failed:
        span.failed("false" if error is None else error)


_CLOSE = 0.001
"""Seconds before its limit at which an interruption counts as a timeout: differences of clock times are not exact."""
_NAMES: Mapping[type, str] = {Ack: "ack", Nack: "nack"}


def _outcome(batch: Sequence[Settlement]) -> str:
    found = {_NAMES.get(type(each), "release") for each in batch}
    return found.pop() if len(found) == 1 else "mixed"
