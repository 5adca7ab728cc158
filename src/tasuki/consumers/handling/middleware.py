"""Middleware of a consumer: functions around its handler, composed once in each life of the consumer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tasuki.contracts.handler import Context

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
