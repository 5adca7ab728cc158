"""Helper threads that restart after a failure, and async code for threads without an event loop.

A thread that dies silently is the worst of failures: leases are not renewed any more, and everything looks fine. So the
log and health report it. A face for threads without a loop has the verbs of an awaited object, one line for each, with
their types: see :func:`blocking`.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from tasuki.backoff import Backoff

_log = logging.getLogger("tasuki.threads")


_PAUSES = Backoff(initial_delay=0.1, max_delay=1.0)


_all: weakref.WeakValueDictionary[int, HelperThread] = weakref.WeakValueDictionary()
"""Those that have begun and not ended, by object; a dictionary is read whole while other threads change it."""


class HelperThread:
    """A daemon thread that runs ``work`` until it returns, and restarts it when it raises.

    ``work`` is given this object, and calls its ``works`` each time that it has come so far that it is of use.
    """

    def __init__(self, name: str, work: Callable[[HelperThread], object], pauses: Backoff = _PAUSES) -> None:
        self.name = name
        self.problem = ""
        """Why it does not work now; empty while it does."""
        self._work = work
        self._pauses = pauses
        self._failures = 0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin. Raises RuntimeError when the system has no thread for it: its owner must try again."""
        thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        _all[id(self)] = self  # before it begins, and perhaps fails at once
        try:
            thread.start()
        except RuntimeError:
            _all.pop(id(self), None)
            raise
        self._thread = thread

    def works(self) -> None:
        """It is of use now."""
        if self.problem:
            _log.info("thread %r works again", self.name)
        self.problem, self._failures = "", 0

    def stop(self) -> None:
        """Do not begin again; ``work`` itself is ended by its owner."""
        self._stopped.set()
        _all.pop(id(self), None)

    def join(self) -> None:
        """Wait for the end of its thread."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._work(self)
            except BaseException as error:  # also what would end the thread without a word, as SystemExit does
                if self._stopped.is_set():
                    break
                self._failures += 1
                self.problem = f"{type(error).__name__}: {error}"
                delay = self._pauses.delay(self._failures)
                _log.error("thread %r failed, starts again in %.1f s: %s", self.name, delay, self.problem,
                           exc_info=error if self._failures == 1 else None)  # fmt: skip
                self._stopped.wait(delay)
            else:
                break
        _all.pop(id(self), None)


def problems() -> dict[str, str]:
    """The helper threads of this process that do not work now, by name, and why; for health."""
    helpers = [reference() for reference in _all.valuerefs()]
    return {helper.name: helper.problem for helper in helpers if helper is not None and helper.problem}


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
