"""``shared_task``: a task of a reusable app, on a queue that the project has for such tasks; and its calls."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from types import MethodType
from typing import TYPE_CHECKING, Any, ClassVar, overload

from django.db.models import Model

from tasuki.app.guesses import Guessed
from tasuki.contracts.handler import Context, Retry
from tasuki.contrib.django.celery.calls.eager import EagerResult, run_now
from tasuki.contrib.django.celery.calls.request import (
    Request,
    Wanted,
    current_request,
    refuse_others,
    requested,
    signal_of,
)
from tasuki.contrib.django.celery.calls.running import HOOKS, Hooks, give_up, run
from tasuki.contrib.django.celery.calls.signature import Signature
from tasuki.contrib.django.celery.names import OF_TASK
from tasuki.contrib.django.celery.options import refuse_unknown_options, rules_of
from tasuki.contrib.django.celery.queue import shared_queue
from tasuki.contrib.django.celery.signals import before_task_publish
from tasuki.message import new_id

if TYPE_CHECKING:
    from tasuki.app.tasks.task import Task as OwnTask
    from tasuki.queues.result import Confirmed

_log = logging.getLogger("tasuki.django")

_CONTEXT = "tasuki_context"
"""The injected parameter of the function that runs a task."""
_ERROR = "error"
"""The parameter of the function that gives a task up."""
tasks: dict[str, Task] = {}
"""All tasks of this process by name."""


class Task(Hooks, Guessed):
    """A function that workers run; also the base class of classes for the option ``base``.

    Calling it calls the function here and now, as before it was decorated.
    """

    _guesses: ClassVar[Mapping[str, str]] = OF_TASK

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        if inspect.iscoroutinefunction(function):
            raise TypeError(
                f"{function.__qualname__} is async: declare it on a queue, with tasuki.contrib.django.queue"
            )
        functools.update_wrapper(self, function)
        rules = rules_of(f"{function.__module__}.{function.__qualname__}", options, type(self))
        self.function = self.run = function
        self.name = rules.name
        self.queue = rules.queue
        self.autoretry_for, self.dont_autoretry_for = rules.autoretry_for, rules.dont_autoretry_for
        self.max_retries, self.default_retry_delay = rules.max_retries, rules.delay
        self.has_soft_limit, self.defaults = rules.has_soft_limit, rules.defaults
        for hook in HOOKS:
            if hook in options:
                setattr(self, hook, MethodType(options[hook], self))
        self._is_bound = bool(options.get("bind"))
        self._models: dict[str, type[Model]] = {}
        """Parameters that are models: their messages carry primary keys."""
        wire = self._wire()
        self.own: OwnTask[..., ..., Any, Any] = shared_queue(rules.queue).task(
            name=self.name, retry=rules.retries, handler_timeout=rules.limit, on_give_up=self._end(wire)
        )(wire)
        tasks[self.name] = self

    def __repr__(self) -> str:
        return f"<task {self.name} of queue {self.queue}>"

    @property
    def request(self) -> Request:
        """The request that this thread runs."""
        return current_request()

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself; nothing is sent, and ``self.request.id`` is None."""
        request = current_request()
        if request.entering is self:
            request.entering = None
            return self.call(*args, **kwargs)
        with requested(Request(None, 0, {}, args, kwargs)):
            return self.call(*args, **kwargs)

    def enter(self, /, *args: Any, **kwargs: Any) -> Any:
        """See Runnable."""
        return self(*args, **kwargs)

    def call(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function in the current request."""
        return self.function(self, *args, **kwargs) if self._is_bound else self.function(*args, **kwargs)

    def tell(self, hook: str, *values: Any) -> None:
        """See Runnable."""
        try:
            getattr(self, hook)(*values)
        except Exception:
            _log.exception("%s of task %s failed", hook, self.name)

    def retry(
        self,
        args: tuple[Any, ...] | list[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        *,
        eta: datetime | None = None,
        countdown: float | timedelta | None = None,
        max_retries: int | None = None,
    ) -> Retry:
        """Raise the signal for another attempt, or return it, as in ``raise self.retry(exc=error)``.

        Args:
            args: the arguments of this run, or None.
            kwargs: the same.
            exc: the error, which is raised after the last retry; default the one that is being handled.
            throw: False: only return the signal.
            eta: when, with a time zone.
            countdown: seconds until then; default ``default_retry_delay`` of the task.
            max_retries: default the number of the task; a larger one has no effect.

        Raises:
            Retry: the signal. BaseException: ``exc``: there is no retry left.
            MaxRetriesExceededError: the same, and there is no error. TypeError: other arguments.
        """
        request, current = self.request, sys.exc_info()[1]
        refuse_others(self.name, request, args, kwargs)
        most = self.max_retries if max_retries is None else max_retries
        delay = self.default_retry_delay if countdown is None else countdown
        signal = signal_of(self.name, request, Wanted(current if exc is None else exc, delay, eta, most))
        if throw:
            raise signal
        return signal

    def delay(self, /, *args: Any, **kwargs: Any) -> Confirmed | EagerResult:
        """Publish a call, as a part of the transaction that is open; the result's ``id`` is the task's.

        Raises:
            BodyTypeError: an argument is missing, unknown or of another type; nothing was sent.
        """
        return self.s(*args, **kwargs).delay()

    def apply_async(
        self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Confirmed | EagerResult:
        """As ``delay``, with options.

        Args:
            args: by position.
            kwargs: by name.
            options: ``countdown``: seconds until it may run. ``eta``: when it may run, with a time zone. ``expires``:
                seconds or a timedelta after which it is not run any more, or when, with a time zone. ``task_id``:
                default a new one. ``priority``: 9 first. ``headers`` of its message.

        Raises:
            TypeError: an option that has no counterpart; it says what to write.
        """
        return self.s().apply_async(args, kwargs, **options)

    def apply(
        self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, *, throw: bool = False
    ) -> EagerResult:
        """Run it here and now, with its signals and its retries. Raises Exception: with ``throw``, of the task."""
        ran = run_now(self.s(*args, **(kwargs or {})))
        if throw:
            ran.get()
        return ran

    def s(self, /, *args: Any, **kwargs: Any) -> Signature:
        """A call for later; after another task it gets that task's result as its first argument."""
        return Signature(self, args, kwargs)

    def si(self, /, *args: Any, **kwargs: Any) -> Signature:
        """A call for later, as it is."""
        return Signature(self, args, kwargs, immutable=True)

    def announce(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> str:
        """Send ``before_task_publish`` for a call; returns the id that its message has."""
        id = options.get("id") or new_id()
        headers = {**(options.get("headers") or {}), "id": id, "task": self.name, "retries": 0}
        before_task_publish.tell(self.name, headers=headers, body=(args, dict(kwargs), {}))
        return str(id)

    def plain(self, value: Any) -> Any:
        """An argument as its message carries it: of a model the primary key."""
        is_model = isinstance(value, Model) and isinstance(value, tuple(self._models.values()))
        return value.pk if is_model else value

    def with_models(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a message, with the rows as they are now. Raises Model.DoesNotExist."""
        found = dict(arguments)
        for name, model in self._models.items():
            if found.get(name) is not None:
                found[name] = model._base_manager.get(pk=found[name])  # noqa: SLF001 - Django's documented name
        return found

    def _wire(self) -> Callable[..., Any]:
        """The function that workers run for this task: with the parameters of its messages, and the context."""

        def wire(**arguments: Any) -> Any:
            context = arguments.pop(_CONTEXT)
            return run(self, arguments, context)

        functools.update_wrapper(wire, self.function)
        own = list(inspect.signature(self.function).parameters.values())[1 if self._is_bound else 0 :]
        for each in own:
            if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
                raise TypeError(f"task {self.name}: {each.name!r} takes any number; give each argument a parameter")
        context = inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=Context)
        wire.__signature__ = inspect.Signature([*map(self._parameter, own), context])  # type: ignore[attr-defined]
        return wire

    def _parameter(self, parameter: inspect.Parameter) -> inspect.Parameter:
        """A parameter of the messages, in which a model is any value: its primary key."""
        found = _model_of(parameter.annotation, self.function)
        if found is None:
            return parameter
        self._models[parameter.name] = found
        return parameter.replace(annotation=Any)

    def _end(self, wire: Callable[..., Any]) -> Callable[..., None]:
        def end(**arguments: Any) -> None:
            error, context = arguments.pop(_ERROR), arguments.pop(_CONTEXT)
            give_up(self, error, arguments, context)

        functools.update_wrapper(end, self.function)
        of_wire = inspect.signature(wire).parameters.values()
        own = [each.replace(kind=each.KEYWORD_ONLY) for each in of_wire if each.name != _ERROR]
        error = inspect.Parameter(_ERROR, inspect.Parameter.KEYWORD_ONLY, annotation=Any)
        end.__signature__ = inspect.Signature([*own, error])  # type: ignore[attr-defined]
        return end


@overload
def shared_task(function: Callable[..., Any], /) -> Task: ...
@overload
def shared_task(**options: Any) -> Callable[[Callable[..., Any]], Task]: ...
def shared_task(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Declare the decorated function as a task, with or without options; it becomes a :class:`Task`.

    An error ends the task, and its message is a dead letter, unless ``autoretry_for`` lists the error. A worker that
    dies ends nothing: the message is redelivered, as often as the queue's ``max_attempts`` says.

    Args:
        function: the decorated function, if the decorator has no parentheses.
        options: ``name``: default the module and the function's name. ``bind``: the first parameter is the task, whose
            ``request`` has ``id``, ``retries`` and ``headers``. ``base``: a subclass of Task, whose ``on_failure`` and
            the like are called; they may be options too. ``queue``; ``expires``, ``priority`` of each message;
            ``autoretry_for``, ``dont_autoretry_for``, ``max_retries``, ``retry_kwargs``, ``retry_backoff``,
            ``retry_backoff_max``, ``default_retry_delay``: as Celery reads them. ``time_limit``, ``soft_time_limit``:
            seconds; the second raises SoftTimeLimitExceeded.

    Raises:
        TypeError: an option that does not exist, an ``async def``, or a function with ``*args`` or ``**kwargs``.
    """
    refuse_unknown_options(options)
    base = options.get("base") or Task
    if not (isinstance(base, type) and issubclass(base, Task)):
        raise TypeError(f"base={base!r} is no subclass of tasuki.contrib.django.celery.Task")
    return base(function, options) if function is not None else lambda function: base(function, options)


def _model_of(annotation: Any, function: Callable[..., Any]) -> type[Model] | None:
    """The model that an annotation names, also as an optional one."""
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, getattr(inspect.unwrap(function), "__globals__", {}))  # noqa: S307 - the author's
        except Exception:  # Tasuki reads it again when the whole module is loaded, and reports the mistake
            return None
    for each in (annotation, *typing.get_args(annotation)):
        if isinstance(each, type) and issubclass(each, Model):
            return each
    return None
