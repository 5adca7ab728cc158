"""Transactions that a function of the caller's opens, as ``engine.begin`` of SQLAlchemy does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any


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
