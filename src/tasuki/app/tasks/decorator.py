"""The decorator ``@queue.task``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, overload

from tasuki.app.tasks.options import RULES, refuse_unknown
from tasuki.app.tasks.task import Task
from tasuki.contracts.handler import Context
from tasuki.message import Message

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.app.declaring import Declaring
    from tasuki.app.tasks.options import TaskRules

P = ParamSpec("P")
T = TypeVar("T")
I = TypeVar("I", Context, Message, logging.Logger)  # noqa: E741 - injected
J = TypeVar("J", Context, Message, logging.Logger)


class TaskDecorator:
    """Declares functions as tasks of one queue; works with and without parentheses.

    A type checker leaves up to two injected parameters out of the call, if they are the first ones.
    """

    def __init__(self, app: Declaring, queue: str, rules: TaskRules) -> None:
        self._app = app
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
    def __call__(self, function: Callable[..., Any] | None = None, /, **rules: Unpack[TaskRules]) -> Any:
        """Declare the decorated function; it stays callable.

        Args:
            function: the decorated function, if the decorator has no parentheses.
            rules: ``name``: of the task, default the function's; messages carry it, so keep it when you rename the
                function. ``retry``: a :class:`tasuki.Retries`. ``timeout``: longest time of one run. ``on_give_up``: a
                function that is called before a message is dead-lettered: it takes what it names of the task's
                parameters, ``error``, and injected parameters.

        Raises:
            InvalidEntryError: the queue has a task of this name already.
            TypeError: an option that does not exist.
        """
        if rules:
            refuse_unknown("task(…)", rules, RULES)
        if function is None:
            return TaskDecorator(self._app, self._queue, {**self._rules, **rules})
        if not callable(function):
            raise TypeError(f"task() takes options by name only, as in task(name={function!r})")
        name = self._app.declare_task(self._queue, function, self._rules)
        return Task(self._app, self._queue, name, function)
