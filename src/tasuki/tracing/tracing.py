"""Tracing: the spans of the messages that an app's queues publish, and its consumers receive, handle and settle."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from tasuki.contracts.driver import Ack, Answers, Merged, Nack, Outgoing, Receipt, Received, Settlement
from tasuki.contracts.handler import Context, Retry
from tasuki.errors import DriverError, UnsupportedError
from tasuki.message import DEAD_LETTER_REASON, TRACE, TRACEPARENT, TRACESTATE, Message
from tasuki.observe.trace import (
    APART,
    CURRENT,
    NOT_SAMPLED,
    Headers,
    OpenSpan,
    common,
    hand_on,
    is_unsampled,
    stamp,
    traceparent_of,
)
from tasuki.tracing.rules import (
    NOT_RECORDED,
    Attributes,
    HandlerCall,
    SpanTarget,
    TraceOptions,
    ending_of,
    error_type,
    is_chosen,
    is_interruption,
    target_of,
    unrecorded,
)
from tasuki.tracing.spans import Context as Within
from tasuki.tracing.spans import Open, SpanKind, Spans, attach, detach, is_within_span, sampled_in

Put = Callable[[], Awaitable[Answers]]
"""Gives the messages to the driver."""


class QueueTracing:
    """Of one queue; ``send`` and ``forward`` stand around the publish of messages that are built."""

    def __init__(self, spans: Spans, options: TraceOptions, target: SpanTarget) -> None:
        self._spans, self._options = spans, options
        self._target = target

    def for_replies(self, queue: str) -> QueueTracing:
        """The same for a temporary queue on the same driver."""
        return QueueTracing(self._spans, self._options, self._target.temporary(queue))

    def send(self, messages: Sequence[Outgoing], put: Put) -> Awaitable[Answers]:
        """Publish messages of one call; a message that has no trace yet continues the present one, or begins one."""
        now = CURRENT.get()
        if now is None and TRACEPARENT not in messages[0].headers and not is_within_span():
            return self._send_first(messages, put)
        if now is APART:
            return self._send_apart(messages, put)
        if now is NOT_RECORDED:
            CURRENT.set(now := {TRACEPARENT: unrecorded()})
        if now is not None and is_unsampled(now.get(TRACEPARENT)) and self._spans.obeys_the_flag:
            self._hand_on(now, messages)
            return put()
        parent, headers = self._parent(now, messages)
        if headers is not None and is_unsampled(headers.get(TRACEPARENT)) and self._spans.obeys_the_flag:
            self._hand_on(headers, messages)
            return put()
        if parent is None:
            return self._send_first(messages, put)
        return self._send(messages, put, parent)

    def _send_first(self, messages: Sequence[Outgoing], put: Put) -> Awaitable[Answers]:
        """Publish messages with which a trace begins."""
        if is_chosen(self._options.sample):
            return self._send(messages, put, None)
        found = unrecorded()
        for message in messages:  # as stamp, without its call
            if TRACEPARENT not in (headers := message.headers):
                headers.pop(TRACESTATE, None)
                headers[TRACEPARENT] = found
        return put()

    def _parent(self, now: Headers | None, messages: Sequence[Outgoing]) -> tuple[Within | None, Headers | None]:
        """The context below which the span begins, and the headers of its span; None: there is none.

        The code that publishes comes first, as far as it belongs to the trace that runs now; then that trace; then what
        the publisher of a single message has given to it.
        """
        spans = self._spans
        known = None if now is None else traceparent_of(now.get(TRACEPARENT))
        if (ambient := spans.ambient(None if known is None else known.trace_id)) is not None:
            return ambient[0], spans.headers_of(ambient[1], ambient[0])
        if known is not None and now is not None:
            return spans.context_of(now), now
        if len(messages) == 1 and (context := spans.context_of(messages[0].headers)) is not None:
            return context, messages[0].headers
        return None, None

    def _hand_on(self, headers: Headers, messages: Sequence[Outgoing]) -> None:
        hand_on(headers, messages, with_baggage=self._options.baggage)

    async def _send(self, messages: Sequence[Outgoing], put: Put, parent: Within | None) -> Answers:
        """Publish within one span, whose context, or the context of its own span, goes into each message."""
        given: list[Headers] = [each.headers for each in messages if TRACEPARENT in each.headers]
        is_origin = not self._options.create and len(given) < len(messages)
        if self._options.create:
            given += self._create(messages, parent)
        span = self._begin(messages, parent, given, SpanKind.PRODUCER if is_origin else SpanKind.CLIENT)
        if is_origin:
            self._hand_on(span.headers, messages)
        return await _ended_with([(span, None)], put)

    def _create(self, messages: Sequence[Outgoing], parent: Within | None) -> list[Headers]:
        """A span for each message that has none, over at once; the headers of each."""
        created: list[Headers] = []
        for message in messages:
            if TRACEPARENT not in message.headers:
                attributes = self._target.of_messages("create", [message], with_size=self._options.body_size)
                name = f"create {self._target.name}"
                span = self._spans.begin(name, SpanKind.PRODUCER, attributes, parent)
                self._hand_on(span.headers, [message])
                span.end()
                created.append(span.headers)
        return created

    def _begin(
        self, messages: Sequence[Outgoing], parent: Within | None, after: Sequence[Headers], kind: SpanKind
    ) -> Open:
        attributes = self._target.of_messages("send", messages, with_size=self._options.body_size)
        return self._spans.begin(f"send {self._target.name}", kind, attributes, parent, sampled_in(after))

    async def _send_apart(self, messages: Sequence[Outgoing], put: Put) -> Answers:
        """Publish messages together of which each begins a trace: the ticks of schedules."""
        opened: list[tuple[Open, int | None]] = []
        for number, message in enumerate(messages):
            if TRACEPARENT not in message.headers:
                if not is_chosen(self._options.sample):
                    stamp({TRACEPARENT: unrecorded()}, [message])
                    continue
                span = self._begin([message], None, (), SpanKind.PRODUCER)
                self._hand_on(span.headers, [message])
                opened.append((span, number))
        return await _ended_with(opened, put)

    def forward(self, messages: Sequence[Outgoing], after: Sequence[Headers], put: Put) -> Awaitable[Answers]:
        """Publish dead letters, or send them back; each in its own trace, linked to the span that it follows."""
        found = [
            (number, message, after[number] if after else {})
            for number, message in enumerate(messages)
            if (parent := traceparent_of(message.headers.get(TRACEPARENT))) is not None and parent.is_sampled
        ]
        return self._forward(found, put) if found else put()

    async def _forward(self, found: Sequence[tuple[int, Outgoing, Headers]], put: Put) -> Answers:
        opened: list[tuple[Open, int | None]] = []
        for number, message, follows in found:
            parent = self._spans.context_of(message.headers)
            is_other = follows.get(TRACEPARENT) != message.headers[TRACEPARENT]
            span = self._begin([message], parent, [follows] if is_other else [], SpanKind.CLIENT)
            opened.append((span, number))
            if DEAD_LETTER_REASON in message.headers and TRACEPARENT in span.headers:
                message.headers[TRACE] = span.headers[TRACEPARENT]
        return await _ended_with(opened, put)


async def _ended_with(opened: Sequence[tuple[Open, int | None]], put: Put) -> Answers:
    """Publish, and end the spans, each with what has become of its message; None: of all messages."""
    try:
        answers = await put()
    except BaseException as error:
        for span, _ in opened:
            span.failed(error)
        raise
    else:
        for span, number in opened:
            if span.is_recorded:
                _conclude_publish(span, answers if number is None else answers[number : number + 1])
        return answers
    finally:
        for span, _ in opened:
            span.end()


def _conclude_publish(span: Open, answers: Answers) -> None:
    failed = [each for each in answers if isinstance(each, DriverError)]
    if failed:
        span.failed(error_type(failed[0]))
    outcomes = {_publish_outcome(each) for each in answers} or {"confirmed"}
    span.says("tasuki.outcome", outcomes.pop() if len(outcomes) == 1 else "mixed")


def _publish_outcome(answer: DriverError | Merged | None) -> str:
    if answer is None:
        return "confirmed"
    return answer.outcome if isinstance(answer, DriverError) else answer.how


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
                _conclude_handling(span, result, error, is_late=is_late)
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
            attributes: Attributes = {
                **self._target.of_operation("settle"),
                "tasuki.outcome": _settlement_outcome(batch),
            }
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


def _conclude_handling(span: Open, result: Any, error: BaseException | None, *, is_late: bool) -> None:
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


def _settlement_outcome(batch: Sequence[Settlement]) -> str:
    found = {_NAMES.get(type(each), "release") for each in batch}
    return found.pop() if len(found) == 1 else "mixed"


class Tracing:
    """Makes the tracing of queues and consumers.

    ``provider``: of tracers; None: the global one. ``version``: of Tasuki.

    Raises:
        UnsupportedError: the provider makes no tracers.
    """

    def __init__(self, options: TraceOptions, provider: Any = None, version: str = "") -> None:
        if provider is not None and not hasattr(provider, "get_tracer"):
            raise UnsupportedError(f"traces: a tracer provider has get_tracer, and {type(provider).__name__} has not")
        self.options = options
        self.spans = Spans(provider, version=version, with_baggage=options.baggage)

    def of_queue(self, queue: str, driver: str, server: tuple[str, int | None] | None) -> QueueTracing:
        """Of one queue on a kind of driver; ``server``: host and port of its broker."""
        return QueueTracing(self.spans, self.options, target_of(queue, driver, server))

    def of_consumer(
        self, consumer: str, queue: str, driver: str, server: tuple[str, int | None] | None
    ) -> ConsumerTracing:
        """Of one consumer, on a queue of a kind of driver."""
        return ConsumerTracing(self.spans, self.options, target_of(queue, driver, server), consumer)
