"""Given: transactions on connections of the caller's, or that a function of theirs opens, as ``engine.begin`` does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tasuki.errors import HandlerError, UnsupportedError


@asynccontextmanager
async def opened_by(opener: Callable[[], Any]) -> AsyncIterator[Any]:
    """The block of the context manager that the function returns, async or plain."""
    block = opener()
    if hasattr(block, "__aenter__"):
        async with block as opened:
            yield opened
    else:
        with block as opened:
            yield opened


def behind_proxy(connection: Any) -> Any:
    """The synchronous connection or session behind an asynchronous one of SQLAlchemy; else itself."""
    return getattr(connection, "sync_connection", None) or getattr(connection, "sync_session", connection)


def check_sqlalchemy(connection: Any) -> None:
    """Raise UnsupportedError unless a connection or session of SQLAlchemy is in a transaction.

    A connection of ``engine.connect`` is in none, and leaving its block rolls back whatever was begun in it.
    """
    if not connection.in_transaction():
        raise UnsupportedError(
            "the function begins no transaction, so the end of its block commits nothing: give engine.begin, or begin "
            "of a sessionmaker"
        )


def ended_within() -> HandlerError:
    """The error for a transaction that the handler itself has committed or rolled back."""
    problem = (
        "the handler has committed or rolled back the transaction within its block, so the message was not acked with "
        "it: leave that to the end of the block, and roll a part back with a savepoint"
    )
    return HandlerError(problem, kind="Invalid", retryable=False)
