"""Run async code that never suspends, in a thread without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


def at_once(work: Coroutine[Any, Any, T], refusal: Callable[[], Exception]) -> T:
    """The result of a coroutine that never suspends. Raises the ``refusal``: it does."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise refusal()


@contextmanager
def entered_at_once(block: AbstractAsyncContextManager[T], refusal: Callable[[], Exception]) -> Iterator[T]:
    """The same for the block of an async context manager."""
    value = at_once(_awaited(block.__aenter__()), refusal)
    try:
        yield value
    except BaseException as error:
        if not at_once(_awaited(block.__aexit__(type(error), error, error.__traceback__)), refusal):
            raise
    else:
        at_once(_awaited(block.__aexit__(None, None, None)), refusal)


async def _awaited(work: Any) -> Any:
    return await work
