"""QueueTracing: the spans of the messages that are published to one queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from tasuki.contracts.driver import Answers, Merged, Outgoing
from tasuki.errors import DriverError
from tasuki.message import DEAD_LETTER_REASON, TRACE, TRACEPARENT, TRACESTATE
from tasuki.observe.trace import APART, CURRENT, Headers, hand_on, is_unsampled, stamp, traceparent_of
from tasuki.tracing.deciding import NOT_RECORDED, TraceOptions, is_chosen, unrecorded
from tasuki.tracing.names import Target, error_type
from tasuki.tracing.spans import Context, Open, SpanKind, Spans, is_within_span, sampled_in

Put = Callable[[], Awaitable[Answers]]
"""Gives the messages to the driver."""


class QueueTracing:
    """Of one queue; ``send`` and ``forward`` stand around the publish of messages that are built."""

    def __init__(self, spans: Spans, options: TraceOptions, target: Target) -> None:
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

    def _parent(self, now: Headers | None, messages: Sequence[Outgoing]) -> tuple[Context | None, Headers | None]:
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

    async def _send(self, messages: Sequence[Outgoing], put: Put, parent: Context | None) -> Answers:
        """Publish within one span, whose context, or the context of its own span, goes into each message."""
        given: list[Headers] = [each.headers for each in messages if TRACEPARENT in each.headers]
        is_origin = not self._options.create and len(given) < len(messages)
        if self._options.create:
            given += self._create(messages, parent)
        span = self._begin(messages, parent, given, SpanKind.PRODUCER if is_origin else SpanKind.CLIENT)
        if is_origin:
            self._hand_on(span.headers, messages)
        return await _ended_with([(span, None)], put)

    def _create(self, messages: Sequence[Outgoing], parent: Context | None) -> list[Headers]:
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
        self, messages: Sequence[Outgoing], parent: Context | None, after: Sequence[Headers], kind: SpanKind
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
                _conclude(span, answers if number is None else answers[number : number + 1])
        return answers
    finally:
        for span, _ in opened:
            span.end()


def _conclude(span: Open, answers: Answers) -> None:
    failed = [each for each in answers if isinstance(each, DriverError)]
    if failed:
        span.failed(error_type(failed[0]))
    outcomes = {_outcome(each) for each in answers} or {"confirmed"}
    span.says("tasuki.outcome", outcomes.pop() if len(outcomes) == 1 else "mixed")


def _outcome(answer: DriverError | Merged | None) -> str:
    if answer is None:
        return "confirmed"
    return answer.outcome if isinstance(answer, DriverError) else answer.how
