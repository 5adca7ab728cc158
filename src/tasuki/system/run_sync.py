"""Async code for threads without an event loop: coroutines that never suspend, and faces that block.

A face has the verbs of an awaited object, one line for each, with their types: see :func:`blocking`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

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


P = ParamSpec("P")

R = TypeVar("R")

A = TypeVar("A")

A_co = TypeVar("A_co", covariant=True)


class Run(Protocol):
    """Runs a coroutine and waits for its result, in a thread without an event loop."""

    def __call__(self, work: Coroutine[Any, Any, R], /) -> R: ...  # noqa: D102


class HasAwaited(Protocol[A_co]):
    """Has an object with verbs to await, and runs them."""

    @property
    def _awaited(self) -> A_co: ...
    @property
    def _run(self) -> Run: ...


class Blocking(Generic[A]):
    """An object with the verbs of ``awaited``, which block their thread until they are done."""

    def __init__(self, awaited: A, run: Run) -> None:
        self._awaited = awaited
        self._run = run


def blocking(
    verb: Callable[Concatenate[A, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[HasAwaited[A], P], R]:
    """Make a verb of a face from the awaited one.

    In a class ``SyncStore(Blocking[Store])`` it is written ``get = blocking(Store.get)``.

    A verb that takes options by ``**`` writes ``self, /``, so that type checkers tell the two apart.
    """

    @wraps(verb)
    def block(self: HasAwaited[A], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._run(verb(self._awaited, *args, **kwargs))

    return block
