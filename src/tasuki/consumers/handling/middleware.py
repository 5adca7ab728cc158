"""Functions around a handler: the middleware of its consumer, and the reports to observers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tasuki.consumers.batch import results_of
from tasuki.contracts.context import Facts
from tasuki.contracts.handler import Context
from tasuki.contracts.observer import Observer
from tasuki.queues.middleware import tell

Handle = Callable[[Any, Context], Awaitable[Any]]
"""The handler with the middleware inside of the present one: takes the decoded body and the context."""


ConsumeMiddleware = Callable[[Any, Context, Handle], Awaitable[Any]]
"""Awaits the given ``Handle`` once, or ends the message without it: by its result, by a signal or by an error."""


def around(layers: Sequence[ConsumeMiddleware], handle: Handle) -> Handle:
    """The handler within its layers, the first one outermost; without layers the handler itself."""
    for layer in reversed(layers):
        handle = _wrapped(layer, handle)
    return handle


def _wrapped(layer: ConsumeMiddleware, inner: Handle) -> Handle:
    return lambda body, context: layer(body, context, inner)


def observed(observers: Sequence[Observer], handle: Handle, monotonic: Callable[[], float]) -> Handle:
    """The handler that also reports; the handler itself if no observer hears of starts and ends."""
    on_start, on_end = tell(observers, "on_start") or _nothing, tell(observers, "on_end") or _nothing
    if on_start is on_end:
        return handle

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
    """No observer hears of this."""
