"""Kinds of entries for OpenTelemetry: metrics and traces."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tasuki.fields.types import Config, Flag, Kind
from tasuki.tracing.rules import TraceOptions


class MetricsConfig(Config):
    """What happens to metrics without a request for them; at most one such entry."""

    opentelemetry: Flag = False
    """Give them to OpenTelemetry's meters. Needs the extra tasuki[metrics]."""


class TracesConfig(Config):
    """Spans of messages with OpenTelemetry; at most one such entry. Needs the extra tasuki[traces]."""

    other_names: ClassVar = {"ratio": "did you mean 'sample'?", "rate": "did you mean 'sample'?"}

    sample: Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)] = 1.0
    """The share of the traces beginning here that is recorded, from 0 to 1; 1 leaves the choice to OpenTelemetry."""
    attach: Flag = False
    """Attach OpenTelemetry's context around handlers of messages that are not recorded too."""
    create: Flag = False
    """A separate span for each message of a publish; the message carries its context."""
    receive: Flag = False
    """A span for each receive that brings a recorded message."""
    baggage: Flag = False
    """Hand on the header baggage too."""
    body_size: Flag = False
    """Say in spans of one message how many bytes its body has."""
    process: Literal["child", "link"] = "child"
    """The span of a handler is a child of the span that has sent its message, or a new trace with a link to it."""

    def options(self) -> TraceOptions:
        """As the spans are made with."""
        return TraceOptions(**dict(self))


KINDS = (Kind("metrics.config", MetricsConfig), Kind("traces.config", TracesConfig))
