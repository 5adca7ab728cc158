"""The decorator ``@queue.task``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from tasuki.app.tasks.options import INJECT, RULES, refuse_unknown
from tasuki.app.tasks.task import Task
from tasuki.contracts.handler import Context
from tasuki.message import Message

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.app.app import App
    from tasuki.app.tasks.options import TaskRules

P = ParamSpec("P")
T = TypeVar("T")
I = TypeVar("I", Context, Message, logging.Logger)  # noqa: E741 - injected
J = TypeVar("J", Context, Message, logging.Logger)
A = TypeVar("A")
"""What the app provides."""
B = TypeVar("B")


class TaskDecorator:
    """Declares functions as tasks of one queue; works with and without parentheses.

    A type checker leaves up to two injected parameters out of the call, if they are the first ones. It cannot know what
    the app provides: ``inject`` tells it the types of these parameters.
    """

    def __init__(self, app: App, queue: str, rules: TaskRules, inject: tuple[object, ...] = ()) -> None:
        self._app = app
        self._inject = inject
        self._queue = queue
        self._rules = rules

    @overload
    def __call__(
        self, function: Callable[Concatenate[I, J, P], Coroutine[Any, Any, T]], /
    ) -> Task[P, Concatenate[I, J, P], Coroutine[Any, Any, T], T]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[I, P], Coroutine[Any, Any, T]], /
    ) -> Task[P, Concatenate[I, P], Coroutine[Any, Any, T], T]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> Task[P, P, Coroutine[Any, Any, T], T]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[I, J, P], T], /) -> Task[P, Concatenate[I, J, P], T, T]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[I, P], T], /) -> Task[P, Concatenate[I, P], T, T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> Task[P, P, T, T]: ...
    @overload
    def __call__(self, /, **rules: Unpack[TaskRules]) -> TaskDecorator: ...
    @overload
    def __call__(self, /, *, inject: type[A], **rules: Unpack[TaskRules]) -> GivenOne[A]: ...
    @overload
    def __call__(self, /, *, inject: tuple[type[A], type[B]], **rules: Unpack[TaskRules]) -> GivenTwo[A, B]: ...
    def __call__(
        self, function: Callable[..., Any] | None = None, /, *, inject: object = None, **rules: Unpack[TaskRules]
    ) -> Any:
        """Declare the decorated function; it stays callable.

        Args:
            function: the decorated function, if the decorator has no parentheses.
            inject: the type, or a tuple of the two types, of the first parameters, which the app provides; for type
                checkers, who then leave these parameters out of the call.
            rules: ``name``: of the task, default the function's; messages carry it, so keep it when you rename the
                function. ``retry``: a :class:`tasuki.Retries`. ``handler_timeout``: longest time of one run.
                ``on_give_up``: a function that is called before a message is dead-lettered: it takes what it names of
                the task's parameters, ``error``, and injected parameters. ``idempotency``: the key for which it is done
                once, ``"body.order"``, or ``{"key": …, "ttl": …}``.

        Raises:
            InvalidEntryError: the queue has a task of this name already.
            TypeError: an option that does not exist.
        """
        if rules:
            refuse_unknown("task(…)", rules, (*RULES, INJECT))
        if function is None:
            types = inject if isinstance(inject, tuple) else () if inject is None else (inject,)
            return TaskDecorator(self._app, self._queue, {**self._rules, **rules}, types or self._inject)
        if not callable(function):
            raise TypeError(f"task() takes options by name only, as in task(name={function!r})")
        name = self._app._runtime.source.tasks.add(self._queue, function, self._rules, self._inject)
        return Task(self._app, self._queue, name, function)


if TYPE_CHECKING:

    class GivenOne(Generic[A]):
        """A TaskDecorator for functions whose first parameter, or one of the first two, the app provides."""

        @overload
        def __call__(
            self, function: Callable[Concatenate[A, I, P], Coroutine[Any, Any, T]], /
        ) -> Task[P, Concatenate[A, I, P], Coroutine[Any, Any, T], T]: ...
        @overload
        def __call__(
            self, function: Callable[Concatenate[I, A, P], Coroutine[Any, Any, T]], /
        ) -> Task[P, Concatenate[I, A, P], Coroutine[Any, Any, T], T]: ...
        @overload
        def __call__(
            self, function: Callable[Concatenate[A, P], Coroutine[Any, Any, T]], /
        ) -> Task[P, Concatenate[A, P], Coroutine[Any, Any, T], T]: ...
        @overload
        def __call__(self, function: Callable[Concatenate[A, I, P], T], /) -> Task[P, Concatenate[A, I, P], T, T]: ...
        @overload
        def __call__(self, function: Callable[Concatenate[I, A, P], T], /) -> Task[P, Concatenate[I, A, P], T, T]: ...
        @overload
        def __call__(self, function: Callable[Concatenate[A, P], T], /) -> Task[P, Concatenate[A, P], T, T]: ...
        def __call__(self, function: Any, /) -> Any:
            """See TaskDecorator."""

    class GivenTwo(Generic[A, B]):
        """A TaskDecorator for functions whose first two parameters the app provides."""

        @overload
        def __call__(
            self, function: Callable[Concatenate[A, B, P], Coroutine[Any, Any, T]], /
        ) -> Task[P, Concatenate[A, B, P], Coroutine[Any, Any, T], T]: ...
        @overload
        def __call__(self, function: Callable[Concatenate[A, B, P], T], /) -> Task[P, Concatenate[A, B, P], T, T]: ...
        def __call__(self, function: Any, /) -> Any:
            """See TaskDecorator."""
