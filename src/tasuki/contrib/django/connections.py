"""Closes the broken and old database connections of a worker, as Django does in a web server.

Django closes them at the start and the end of each request, in the thread of the request. A worker has no requests: it
would keep a connection that the database has closed, and each message after that would fail.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections, reset_queries


def closing_connections(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that closes broken connections, and those past CONN_MAX_AGE, before and after the given one."""
    if inspect.iscoroutinefunction(function):
        return _closing_async(function)

    @functools.wraps(function)
    def run(*args: Any, **named: Any) -> Any:
        _begin()
        try:
            return function(*args, **named)
        finally:
            close_old_connections()

    return run


def _closing_async(function: Callable[..., Any]) -> Callable[..., Any]:
    # Django's own async methods use the database in the one thread of sync_to_async.
    @functools.wraps(function)
    async def run(*args: Any, **named: Any) -> Any:
        await sync_to_async(_begin)()
        try:
            return await function(*args, **named)
        finally:
            await sync_to_async(close_old_connections)()

    return run


def _begin() -> None:
    reset_queries()  # with DEBUG on each connection remembers its queries
    close_old_connections()
