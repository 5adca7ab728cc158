"""Spans: OpenTelemetry behind the few calls that messages need; the one module that imports it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from tasuki.errors import text_of
from tasuki.message import BAGGAGE, TRACEPARENT, TRACESTATE
from tasuki.observe.redact import redact
from tasuki.observe.trace import MAX_BAGGAGE, Headers, fit_tracestate, traceparent_of
from tasuki.observe.tracebacks import format_error
from tasuki.tracing.rules import Attributes, error_type, obeys_the_flag

__all__ = ["Context", "Open", "SpanKind", "Spans", "attach", "detach"]

_log = logging.getLogger("tasuki.tracing")

_EMPTY = Context()
_MOST_STACK = 8000
_baggage = W3CBaggagePropagator()
_told: set[str] = set()
"""The kinds of errors of OpenTelemetry that were logged: a processor that fails does so with each span."""


def _tell(error: Exception) -> None:
    """Log what a sampler, processor or exporter has raised: a span less is no reason to fail a message."""
    if (kind := error_type(error)) not in _told:
        _told.add(kind)
        _log.error("traces: OpenTelemetry has failed, and spans may be missing; further %s are not logged", kind,
                   exc_info=error)  # fmt: skip


@dataclass(slots=True, eq=False)
class Open:
    """A span under way; see :class:`tasuki.observe.trace.OpenSpan`."""

    span: Span
    headers: Mapping[str, str]

    @property
    def is_recorded(self) -> bool:
        """Whether it is of any use to say something about it."""
        return self.span.is_recording()

    def event(self, name: str, attributes: Mapping[str, str | float]) -> None:
        """Note that something has happened."""
        try:
            self.span.add_event(name, dict(attributes))
        except Exception as problem:  # of a span that is not the SDK's
            _tell(problem)

    def says(self, name: str, value: str | int) -> None:
        """Set an attribute."""
        try:
            self.span.set_attribute(name, value)
        except Exception as problem:
            _tell(problem)

    def failed(self, error: BaseException | str) -> None:
        """Note the error that it ends with, or what kind of error."""
        try:
            self._fail(error)
        except Exception as problem:  # or of an error whose text or causes raise
            _tell(problem)

    def _fail(self, error: BaseException | str) -> None:
        if isinstance(error, str):
            self.span.set_attribute("error.type", error)
            self.span.set_status(Status(StatusCode.ERROR))
            return
        text, kind = redact(text_of(error)), error_type(error)
        stack = redact(format_error(error))[-_MOST_STACK:]
        self.event("exception", {"exception.type": kind, "exception.message": text, "exception.stacktrace": stack})
        self.span.set_attribute("error.type", kind)
        self.span.set_status(Status(StatusCode.ERROR, text))

    def end(self) -> None:
        """It is over."""
        try:
            self.span.end()
        except Exception as error:  # of a processor; the message is handled, published or settled all the same
            _tell(error)


class Spans:
    """Begins spans with one tracer.

    ``provider``: default the global one, also if it is set later. ``version``: of Tasuki.
    """

    def __init__(
        self, provider: trace.TracerProvider | None = None, *, version: str = "", with_baggage: bool = False
    ) -> None:
        self._own = provider
        self._tracer = trace.get_tracer("tasuki", version, provider)
        self._with_baggage = with_baggage
        self._sampler: object = None
        self.obeys_the_flag = True
        """Whether nothing is recorded of a trace whose parent is not; checked again with each span."""
        self._look_at_sampler()

    def _look_at_sampler(self) -> None:
        provider = trace.get_tracer_provider() if self._own is None else self._own
        sampler = getattr(provider, "sampler", None)
        if isinstance(provider, trace.ProxyTracerProvider):
            self.obeys_the_flag = False  # until one is set: each message looks again
        elif sampler is not self._sampler or sampler is None:
            self._sampler = sampler
            self.obeys_the_flag = sampler is None or obeys_the_flag(str(sampler.get_description()))

    def begin(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        parent: Context | None = None,
        links: Iterable[SpanContext] = (),
        start: int | None = None,
    ) -> Open:
        """Begin a span, below the span of a context or as the first of a trace; ``start``: nanoseconds since 1970.

        If a sampler or processor raises, the span is not recorded, and the trace goes on without it.
        """
        context = _EMPTY if parent is None else parent
        try:
            self._look_at_sampler()
            span = self._tracer.start_span(
                name, context, kind, attributes, [Link(each) for each in links], start, record_exception=False
            )
        except Exception as error:
            _tell(error)
            span = NonRecordingSpan(trace.get_current_span(context).get_span_context())
        return Open(span, self.headers_of(span.get_span_context(), context))

    def headers_of(self, found: SpanContext, context: Context = _EMPTY) -> Mapping[str, str]:
        """The headers that continue a trace from a span; none: there is no trace."""
        if not found.is_valid:
            return {}
        headers = {TRACEPARENT: f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"}
        if found.trace_state and (state := fit_tracestate(found.trace_state.to_header())) is not None:
            headers[TRACESTATE] = state
        if self._with_baggage:
            _baggage.inject(headers, context)
            if len(headers.get(BAGGAGE, "")) > MAX_BAGGAGE:
                del headers[BAGGAGE]
        return headers

    def context_of(self, headers: Headers) -> Context | None:
        """The context below the span that headers name; None: they name none."""
        context = context_of(headers)
        if (
            context is not None
            and self._with_baggage
            and isinstance(text := headers.get(BAGGAGE), str)
            and len(text) <= MAX_BAGGAGE
            and text.isascii()  # else it is not valid, and a lone surrogate cannot be handed on
        ):
            context = _baggage.extract({BAGGAGE: text}, context)
        return context

    @staticmethod
    def within(span: Span, parent: Context | None) -> Context:
        """The context within a span."""
        return trace.set_span_in_context(span, _EMPTY if parent is None else parent)

    @staticmethod
    def ambient(trace_id: str | None = None) -> tuple[Context, SpanContext] | None:
        """The context of the code that runs now, and its span; None: it is in none, or in none of this trace."""
        found = trace.get_current_span().get_span_context()
        if not found.is_valid or (trace_id is not None and f"{found.trace_id:032x}" != trace_id):
            return None
        return get_current(), found


def is_within_span() -> bool:
    """Whether the code that runs now is within a span. An empty context is the common case, and quick to see."""
    return bool(get_current()) and trace.get_current_span() is not trace.INVALID_SPAN


def context_of(headers: Headers) -> Context | None:
    """The context below the span that headers name, without baggage; None: they name none."""
    found = span_context_of(headers)
    return None if found is None else trace.set_span_in_context(NonRecordingSpan(found), _EMPTY)


def span_context_of(headers: Headers) -> SpanContext | None:
    """The span that headers name, as one of another process; None: they name none."""
    found = traceparent_of(headers.get(TRACEPARENT))
    if found is None:
        return None
    state = fit_tracestate(headers.get(TRACESTATE))
    return SpanContext(
        int(found.trace_id, 16),
        int(found.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(found.flags),
        trace_state=TraceState.from_header([state]) if state else None,
    )


def sampled_in(headers: Sequence[Headers]) -> list[SpanContext]:
    """The recorded spans that headers name, each once."""
    found = (span_context_of(each) for each in headers)
    sampled = {(each.trace_id, each.span_id): each for each in found if each is not None and each.trace_flags.sampled}
    return list(sampled.values())
