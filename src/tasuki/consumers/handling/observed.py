"""A handler whose start and end are reported to observers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tasuki.consumers.handling.middleware import Handle
from tasuki.contracts.handler import Context
from tasuki.contracts.observer import Observer
from tasuki.queues.observing import tell


def observed(observers: Sequence[Observer], handle: Handle, monotonic: Callable[[], float]) -> Handle:
    """The handler that also reports; the handler itself if no observer hears of starts and ends."""
    on_start, on_end = tell(observers, "on_start") or _nothing, tell(observers, "on_end") or _nothing
    if on_start is on_end:
        return handle

    async def run(body: Any, context: Context) -> Any:
        facts, started = context.facts, monotonic()
        on_start(facts)
        try:
            result = await handle(body, context)
        except BaseException as error:
            on_end(facts, monotonic() - started, error)
            raise
        on_end(facts, monotonic() - started, None)
        return result

    return run


def _nothing(*args: object) -> None:
    """No observer hears of this."""
