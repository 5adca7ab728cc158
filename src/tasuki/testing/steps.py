"""MemorySteps: the steps of a handler in a test, kept in a dict."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from tasuki.contracts.state.jobs import Waited
from tasuki.errors import HandlerError
from tasuki.flow.records import check_name
from tasuki.flow.signals import topic_of, wait_name
from tasuki.handlers.store_values import packed

T = TypeVar("T")
_NONE: Any = object()


def at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits, as a verb of a store in memory. Raises HandlerError: it waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    work.close()
    raise HandlerError("a test of a plain function needs a store that never waits: memory_store", kind="Invalid")


class MemorySteps:
    """See :class:`tasuki.contracts.state.jobs.Steps`; its sleeps are over at once.

    ``done``: the results by name. ``signals``: the values that it waits for, by event and key; without one a wait has
    waited in vain.
    """

    def __init__(self, done: dict[str, Any], signals: Mapping[tuple[str, str | int], Any] | None = None) -> None:
        self._done = done
        self._signals = {} if signals is None else signals
        self._numbers: dict[str, int] = {}
        self._sleeps = 0

    async def begin(self, name: str) -> tuple[Any] | None:
        """The result of a step that is done."""
        check_name(name, self._numbers, self._done)
        self._numbers[name] = len(self._numbers)
        return (self._done[name],) if name in self._done else None

    async def end(self, name: str, result: object) -> None:
        """Keep a result."""
        packed(name, result)
        self._done[name] = result

    async def sleep(self, name: str | None, seconds: float) -> float:
        """Note it as a step."""
        if name is None:
            self._sleeps += 1
            name = f"sleep {self._sleeps}"
        if await self.begin(name) is None:
            self._done[name] = None
        return 0.0

    async def wait(self, name: str | None, event: str, key: str | int, seconds: float) -> Waited:
        """The signal of the test, or none; as a step."""
        topic = topic_of(event, key)
        name = wait_name(topic) if name is None else name
        if await self.begin(name) is None:
            given = {(each, str(of)): value for (each, of), value in self._signals.items()}
            found = given.get((topic.name, topic.key), _NONE)
            self._done[name] = None if found is _NONE else [found]
        value = self._done[name]
        return Waited(0.0, None if value is None else (value[0],))

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine, which never waits."""
        result: T = at_once(work)
        return result
