"""The trace of a call within a child process."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from tasuki.observe.trace import CURRENT


def continue_trace(headers: Mapping[str, str]) -> None:
    """Continue a trace in the rest of this task, and in what it begins; without headers, none.

    Where the function uses OpenTelemetry, so do its spans: it has imported it, or there are none.
    """
    CURRENT.set(headers or None)
    if headers and "opentelemetry.trace" in sys.modules:
        from tasuki.tracing.spans import attach, context_of

        if (context := context_of(headers)) is not None:
            attach(context)
