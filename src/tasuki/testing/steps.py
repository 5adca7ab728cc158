"""MemorySteps: the steps of a handler in a test, kept in a dict."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from tasuki.errors import HandlerError
from tasuki.flow.records import check_name
from tasuki.handlers.store.values import packed

T = TypeVar("T")


def at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits, as a verb of a store in memory. Raises HandlerError: it waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    work.close()
    raise HandlerError("a test of a plain function needs a store that never waits: memory_store", kind="Invalid")


class MemorySteps:
    """See :class:`tasuki.contracts.state.step_context.Steps`; ``done``: the results by name."""

    def __init__(self, done: dict[str, Any]) -> None:
        self._done = done
        self._numbers: dict[str, int] = {}

    async def begin(self, name: str) -> tuple[Any] | None:
        """The result of a step that is done."""
        check_name(name, self._numbers, self._done)
        self._numbers[name] = len(self._numbers)
        return (self._done[name],) if name in self._done else None

    async def end(self, name: str, result: object) -> None:
        """Keep a result."""
        packed(name, result)
        self._done[name] = result

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine, which never waits."""
        result: T = at_once(work)
        return result
