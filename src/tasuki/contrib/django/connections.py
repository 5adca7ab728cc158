"""Closes the broken and old database connections of a worker, as Django does in a web server.

Django closes them at the start and the end of each request, in the thread of the request. A worker has no requests: it
would keep a connection that the database has closed, and each message after that would fail.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connections, reset_queries

from tasuki.handlers.threads import was_interrupted

_log = logging.getLogger("tasuki.django")


_running: set[object] = set()
"""The async handlers that run now."""


def closing_connections(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that closes broken connections, and those past CONN_MAX_AGE, before and after the given one.

    After an interruption it closes all of its thread: no error of the database says in which state they are.
    """
    if inspect.iscoroutinefunction(function):
        return _closing_async(function)

    @functools.wraps(function)
    def run(*args: Any, **named: Any) -> Any:
        if in_test_case():
            with _committing():
                return function(*args, **named)
        _begin()
        try:
            return function(*args, **named)
        finally:
            if was_interrupted():  # perhaps in the middle of a question to the database
                connections.close_all()
            else:
                close_old_connections()

    return run


def _closing_async(function: Callable[..., Any]) -> Callable[..., Any]:
    # Django's own async methods use the database in the one thread of sync_to_async, and with it one connection: its
    # age counts only while no other handler may be in the middle of a result (``aiterator``).
    @functools.wraps(function)
    async def run(*args: Any, **named: Any) -> Any:
        handler = object()
        is_first = not _running
        _running.add(handler)
        try:
            await sync_to_async(_begin if is_first else _close_broken)()
            return await function(*args, **named)
        finally:
            _running.discard(handler)
            await sync_to_async(_close_broken if _running else close_old_connections)()

    return run


def in_test_case() -> bool:
    """Whether this thread is in the transaction of a TestCase, and in none of the code under test.

    Its handlers run here where a TestApp has ``inline=True``.
    """
    return any(map(is_of_test_case, connections.all(initialized_only=True)))


def is_of_test_case(connection: Any) -> bool:
    """Whether a connection is in the transaction around a test, which never commits, and in no other one."""
    blocks = connection.atomic_blocks
    return bool(blocks) and all(block._from_testcase for block in blocks)  # noqa: SLF001 - as Django's ``durable`` does


def never_commits(connection: Any) -> bool:
    """Whether a connection is in the transaction around a test, and perhaps in others within it."""
    return any(block._from_testcase for block in connection.atomic_blocks)  # noqa: SLF001 - as above


@contextmanager
def _committing() -> Iterator[None]:
    """Call what the block leaves to ``on_commit``, in the transaction of a TestCase, whose commit never comes."""
    before = {each.alias: len(each.run_on_commit) for each in connections.all()}
    try:
        yield
    finally:
        for alias, count in before.items():
            while len(left := connections[alias].run_on_commit) > count:
                _, call, is_robust = left.pop(count)
                try:
                    call()
                except Exception:
                    if not is_robust:
                        raise
                    _log.exception("%s of on_commit(…, robust=True) failed", getattr(call, "__qualname__", call))


def _begin() -> None:
    reset_queries()  # with DEBUG on each connection remembers its queries
    close_old_connections()


def _close_broken() -> None:
    for connection in connections.all(initialized_only=True):
        if connection.errors_occurred:
            connection.close_if_unusable_or_obsolete()
