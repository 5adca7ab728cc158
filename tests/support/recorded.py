"""Spans that an app has made, in memory, and how they belong together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Sampler

OWN = f"00-{'4b' * 16}-{'0a' * 8}-01"
"""A trace of another program, as a message carries it."""
UNSAMPLED = OWN[:-1] + "0"
"""The same, of a program that does not record it."""


class Recorded:
    """A provider for an app, and the spans that have ended."""

    def __init__(self, sampler: Sampler = DEFAULT_ON) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """All of them, in the order of their ends."""
        return self._exporter.get_finished_spans()

    @property
    def names(self) -> list[str]:
        """Their names, sorted."""
        return sorted(span.name for span in self.spans)

    def named(self, name: str) -> list[ReadableSpan]:
        """The spans of a name."""
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only span of a name."""
        (span,) = self.named(name)
        return span

    async def until(self, *names: str) -> None:
        """Wait until a span of each name has ended; a name twice: two spans."""
        await self.wait(lambda: not [name for name in set(names) if len(self.named(name)) < names.count(name)])

    @staticmethod
    async def wait(is_so: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(60):
            while not is_so():
                await asyncio.sleep(0.01)


def trace_of(span: ReadableSpan) -> str:
    """The id of its trace."""
    return f"{span.context.trace_id:032x}"


def id_of(span: ReadableSpan) -> str:
    """Its id."""
    return f"{span.context.span_id:016x}"


def parent_of(span: ReadableSpan) -> str | None:
    """The id of its parent."""
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def links_of(span: ReadableSpan) -> list[str]:
    """The ids of the spans that it links to."""
    return [f"{link.context.span_id:016x}" for link in span.links]


def traceparent_of(span: ReadableSpan) -> str:
    """As a header."""
    return f"00-{trace_of(span)}-{id_of(span)}-{span.context.trace_flags:02x}"


def attribute(span: ReadableSpan, name: str) -> object:
    """An attribute; None: it has none of this name."""
    return (span.attributes or {}).get(name)
