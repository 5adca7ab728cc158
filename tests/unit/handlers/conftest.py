"""Handlers of Python functions, stopped after each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tasuki.handlers.python import PythonHandler
from tasuki.message import Message
from tasuki.testing.context import RecordingContext

CONTEXT = RecordingContext(Message("1", b'{"id": 5}', {}))


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Any]]:
    """Make and start a handler; it is stopped after the test."""
    handlers = []

    async def start(target: Any = None, **options: Any) -> PythonHandler:
        handler = PythonHandler("app:f", target=target, **options)
        handlers.append(handler)
        await handler.start()
        return handler

    yield start
    for handler in handlers:
        await handler.stop()


Make = Callable[..., Any]


def raiser(error: BaseException, *, is_async: bool) -> Callable[..., Any]:
    async def async_raise(body: int) -> None:
        raise error

    def sync_raise(body: int) -> None:
        raise error

    return async_raise if is_async else sync_raise
