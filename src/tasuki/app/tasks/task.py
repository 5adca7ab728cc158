"""Task: a function that a queue's workers run, called by messages with its arguments; and ``@queue.task``."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from msgspec.structs import replace

from tasuki.app.guesses import OF_TASK, Guessed
from tasuki.app.tasks.options import INJECT, OF_SENDER, REQUEST, RULES, SENDING, refuse_unknown
from tasuki.contracts.handler import Context
from tasuki.errors import LifecycleError, PublishError, TasukiError
from tasuki.handlers.signature import result_of
from tasuki.message import MESSAGE_TYPE, HeaderValue, Message
from tasuki.observe.tracebacks import for_user

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.app.app import App
    from tasuki.app.flow.planned import Planned
    from tasuki.app.jobs import Job, SyncJob
    from tasuki.app.tasks.options import TaskOptions, TaskRules
    from tasuki.handlers.arguments import TaskArguments

P = ParamSpec("P")
"""The parameters of a message: the function's without those that are injected."""

Q = ParamSpec("Q")
"""All parameters of the function."""

R = TypeVar("R")
"""What a call of the function returns."""

T = TypeVar("T")
"""What its run ends with: the awaited result of an async function."""


class Sender(Guessed, Generic[P, T]):
    """Sends calls of one task as messages; ``with_options`` gives one that sends with other options.

    Each method raises, before anything is sent:
        BodyTypeError: an argument is missing, unknown or of another type; the text names it, and the call.
    """

    _guesses = OF_TASK

    def __init__(self, task: _Declared, options: TaskOptions) -> None:
        self._task = task
        self._options = options

    @property
    def name(self) -> str:
        """The name that its messages carry in the header ``message_type``."""
        return self._task.name

    @property
    def queue(self) -> str:
        """Id of its queue."""
        return self._task.queue

    def with_options(self, **options: Unpack[TaskOptions]) -> Sender[P, T]:
        """The same task, sent with these options and those given before.

        Args:
            options: ``headers``, and the options of :meth:`tasuki.queues.queue.Queue.publish`: delay, at, ttl,
                priority, key, id, handler_timeout, retries, unique, unique_for, on_conflict, unique_max,
                publish_timeout, connection; for ``request`` also reply_timeout.

        Raises:
            TypeError: an option that does not exist.
        """
        refuse_unknown("with_options(…)", options, OF_SENDER)
        return Sender(self._task, {**self._options, **options})

    async def publish(self, /, *args: P.args, **kwargs: P.kwargs) -> Job[T]:
        """Publish a call and wait for the broker's confirmation; raises what ``Queue.publish`` raises.

        The ``result`` of the job is what the function returns, as its annotation says.
        """
        from tasuki.app.jobs import returning

        body, headers, options = self._message("publish", args, kwargs)
        refuse_unknown("publish(…)", options, SENDING)
        job = await self._task.app.publish(self._task.queue, body, headers, **options)
        return returning(job, self._task.returns)

    def send(self, /, *args: P.args, **kwargs: P.kwargs) -> SyncJob[T]:
        """Publish from code without an event loop; see :meth:`publish` and ``app.sync``."""
        from tasuki.app.jobs import returning

        body, headers, options = self._message("send", args, kwargs)
        refuse_unknown("send(…)", options, SENDING)
        with suppress(RuntimeError):  # there is none
            asyncio.get_running_loop()
            name = self._task.name
            remedy = self._task.app.sync.remedy or f"write await {name}.publish(…)"
            raise LifecycleError(f"{name}.send(…) would block the event loop: {remedy}")
        job = self._task.app.sync.publish(self._task.queue, body, headers, **options)
        return returning(job, self._task.returns)

    async def request(self, /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Publish a call and wait for the function's result, as its annotation says; see :meth:`tasuki.App.request`."""
        body, headers, options = self._message("request", args, kwargs)
        refuse_unknown("request(…)", options, REQUEST)
        result = await self._task.app.request(self._task.queue, body, headers, returns=self._task.returns, **options)
        return cast("T", result)

    def message(self, /, *args: P.args, **kwargs: P.kwargs) -> Planned:
        """The message of a call, for ``app.group``, ``then``, ``on_error`` or ``publish_many`` of its queue.

        It takes neither ``publish_timeout`` nor ``connection``.
        """
        from tasuki.app.flow.planned import planned

        body, headers, options = self._message("message", args, kwargs)
        return planned(self._task.queue, body, headers, options)

    def filled(self, /, *args: Any, **kwargs: Any) -> Planned:
        """The message of a call whose first argument is the result that it follows, for ``then`` and ``on_error``.

        Args:
            args: the arguments after the first one.
            kwargs: others, by name.

        Raises:
            PublishError: the task has no argument, or needs another one than these.
            BodyTypeError: an argument is unknown, given twice or of another type.
        """
        from tasuki.app.flow.planned import planned

        names = self._task.arguments.names
        given = {*names[1 : len(args) + 1], *kwargs}
        if not names or set(names[1:]) - given - self._task.arguments.defaults.keys():
            raise PublishError(
                f"task {self.name!r} is given one argument, the result; it takes {', '.join(names) or 'none'}: "
                f"write then={self.name}.message(…), or {self.name}.filled(…) with the arguments after the first one"
            )
        body = self._task.arguments.bind_rest(f"{self.name}.filled(…)", args, kwargs)
        options: dict[str, Any] = dict(self._options)
        headers = {**(options.pop("headers", None) or {}), MESSAGE_TYPE: self._task.name}
        return replace(planned(self._task.queue, body, headers, options), fill=names[0])

    def _message(
        self, verb: str, args: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, HeaderValue], dict[str, Any]]:
        """Body, headers and options."""
        try:
            body = self._task.arguments.bind(f"{self._task.name}.{verb}(…)", args, named)
        except TasukiError as error:
            raise for_user(error) from None
        options: dict[str, Any] = dict(self._options)
        headers = options.pop("headers", None) or {}
        return body, {**headers, MESSAGE_TYPE: self._task.name}, options


class _Declared:
    """What a task is, for all senders of it."""

    def __init__(self, app: App, queue: str, name: str, function: Callable[..., object]) -> None:
        self.app = app
        self.queue = queue
        self.name = name
        self.function = function

    @functools.cached_property
    def arguments(self) -> TaskArguments:
        """Read when it is first needed: annotations may name what the module defines later."""
        from tasuki.handlers.arguments import TaskArguments

        return TaskArguments(self.function, self.app._runtime.source.declared.provided())

    @functools.cached_property
    def returns(self) -> Any:
        """The type of the result; None: it stays as it was decoded."""
        type_ = result_of(self.function)
        return None if type_ in (Any, None, type(None), object) else type_


class Task(Sender[P, T], Generic[P, Q, R, T]):
    """A function declared on a queue. Calling it calls the function here and now, as before it was decorated."""

    def __init__(self, app: App, queue: str, name: str, function: Callable[Q, R]) -> None:
        super().__init__(_Declared(app, queue, name, function), {})
        functools.update_wrapper(self, function)
        self.function = function
        """The decorated function."""

    def __call__(self, /, *args: Q.args, **kwargs: Q.kwargs) -> R:
        """Call the function itself; nothing is sent."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task {self.name} of {self.queue}>"


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
