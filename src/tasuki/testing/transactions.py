"""Transactions of handlers in tests: on the test's own connection, or on none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import Any

from tasuki.drivers.toolkit.given import opened_by


@asynccontextmanager
async def on_connection(connection: Any) -> AsyncIterator[Any]:
    """The connection of the caller's, committed at the end of the block if it can be; None stays None."""
    is_opener = callable(connection) and not hasattr(connection, "commit")
    if is_opener:
        async with opened_by(connection) as opened:
            yield opened
        return
    try:
        yield connection
    except BaseException:
        await _end(connection, "rollback")
        raise
    await _end(connection, "commit")


async def _end(connection: Any, how: str) -> None:
    end: Callable[[], Any] | None = getattr(connection, how, None)
    if end is not None:
        done = end()
        if isawaitable(done):
            await done


class RecordedTransaction:
    """A transaction without a broker. See :class:`tasuki.contracts.state.jobs.OpenTransaction`."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.remembered: Any = None

    def remember(self, result: object) -> None:
        """Keep it for the test."""
        self.remembered = result
