"""``shared_task``: a task of a reusable app, on the one queue that the project has for such tasks; and its calls."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, overload

from django.db.models import Model

from tasuki.app.tasks.options import refuse_unknown
from tasuki.contracts.context import Retries
from tasuki.contracts.handler import Context
from tasuki.contrib.django.celery.eager import EagerResult, is_eager, run_now
from tasuki.contrib.django.celery.queue import shared_queue
from tasuki.contrib.django.celery.request import OUTSIDE, Request, current_request, requested
from tasuki.contrib.django.celery.running import give_up, run
from tasuki.contrib.django.celery.signals import before_task_publish
from tasuki.message import new_id

if TYPE_CHECKING:
    from tasuki.app.flow.planned import Planned
    from tasuki.app.tasks.task import Task as OwnTask
    from tasuki.queues.result import Confirmed

_CONTEXT = "tasuki_context"
"""The injected parameter of the function that runs a task."""
_RETRYING = ("autoretry_for", "max_retries", "retry_backoff", "retry_backoff_max", "default_retry_delay")
_WITHOUT_EFFECT = ("ignore_result", "throws", "retry_jitter", "acks_late", "track_started", "serializer")
"""Options that say what Tasuki does anyway, or that have nothing to change here."""
_OPTIONS = ("name", "bind", "time_limit", *_RETRYING, *_WITHOUT_EFFECT)
_MAX_RETRIES, _DELAY, _LONGEST = 3, 180.0, 600.0
"""Celery's defaults; times in seconds."""
tasks: dict[str, Task] = {}
"""All tasks of this process by name."""


class Task:
    """A function that workers run. Calling it calls the function here and now, as before it was decorated."""

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        if inspect.iscoroutinefunction(function):
            raise TypeError(
                f"{function.__qualname__} is async: declare it on a queue, with tasuki.contrib.django.queue"
            )
        functools.update_wrapper(self, function)
        self.function = function
        self.name: str = options.get("name") or f"{function.__module__}.{function.__qualname__}"
        self.autoretry_for: tuple[type[BaseException], ...] = tuple(options.get("autoretry_for", ()))
        self._is_bound = bool(options.get("bind"))
        self._models: dict[str, type[Model]] = {}
        """Parameters that are models: their messages carry primary keys."""
        self.own: OwnTask[..., ..., Any, Any] = shared_queue().task(
            name=self.name,
            retry=retries_of(options),
            handler_timeout=options.get("time_limit"),
            on_give_up=self._end(),
        )(self._wire())
        tasks[self.name] = self

    @property
    def request(self) -> Request:
        """The request that this thread runs."""
        return current_request()

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself; nothing is sent, and ``self.request.id`` is None."""
        with requested(OUTSIDE):
            return self.call(*args, **kwargs)

    def call(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function in the current request."""
        return self.function(self, *args, **kwargs) if self._is_bound else self.function(*args, **kwargs)

    def delay(self, /, *args: Any, **kwargs: Any) -> Confirmed | EagerResult:
        """Publish a call, as a part of the transaction that is open; the result's ``id`` is the task's.

        Raises:
            BodyTypeError: an argument is missing, unknown or of another type; nothing was sent.
        """
        return self.s(*args, **kwargs).delay()

    def apply_async(
        self,
        args: tuple[Any, ...] | list[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        countdown: float | None = None,
        eta: datetime | None = None,
        expires: float | timedelta | None = None,
        task_id: str | None = None,
        priority: int | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> Confirmed | EagerResult:
        """As ``delay``, with options.

        Args:
            args: by position.
            kwargs: by name.
            countdown: seconds until it may run.
            eta: when it may run, with a time zone.
            expires: seconds until it is dropped.
            task_id: default a new one.
            priority: 9 first.
            headers: of its message.
        """
        given = {"delay": countdown, "at": eta, "ttl": expires, "id": task_id, "priority": priority, "headers": headers}
        options = {name: value for name, value in given.items() if value is not None}
        return self.s(*args, **(kwargs or {})).publish(options)

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

    def _end(self) -> Callable[..., None]:
        def end(error: Any, context: Context) -> None:
            give_up(self, error, context)

        return end


class Signature:
    """One call of a task, for later. An immutable one (``task.si``) ignores the result that it follows."""

    def __init__(
        self, task: Task, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, immutable: bool = False
    ) -> None:
        self.task = task
        self.args = args
        self.kwargs = dict(kwargs)
        self.immutable = immutable

    def delay(self) -> Confirmed | EagerResult:
        """Publish it, as a part of the transaction that is open."""
        return self.publish({})

    apply_async = delay

    def publish(self, options: Mapping[str, Any]) -> Confirmed | EagerResult:
        """Publish it with options of Tasuki's ``with_options``."""
        if is_eager():
            return run_now(self)
        id = self.task.announce(self.args, self.kwargs, options)
        args, kwargs = self._plain()
        return self.task.own.with_options(**{**options, "id": id}).send(*args, **kwargs)

    def member(self) -> Planned:
        """Its message, for a group that is published now."""
        id = self.task.announce(self.args, self.kwargs, {})
        args, kwargs = self._plain()
        return self.task.own.with_options(id=id).message(*args, **kwargs)

    def following(self, then: Planned | None = None) -> Planned:
        """Its message, after another one whose result it is given."""
        options: Any = {} if then is None else {"then": then}
        sender = self.task.own.with_options(**options)
        args, kwargs = self._plain()
        return sender.message(*args, **kwargs) if self.immutable else sender.filled(*args, **kwargs)

    def on_failure(self) -> Planned:
        """Its message, after a failure: its first argument is the error as a dict, the next two are None."""
        args, kwargs = self._plain()
        sender = self.task.own
        return sender.message(*args, **kwargs) if self.immutable else sender.filled(None, None, *args, **kwargs)

    def _plain(self) -> tuple[list[Any], dict[str, Any]]:
        plain = self.task.plain
        return [plain(each) for each in self.args], {name: plain(each) for name, each in self.kwargs.items()}


@overload
def shared_task(function: Callable[..., Any], /) -> Task: ...
@overload
def shared_task(**options: Any) -> Callable[[Callable[..., Any]], Task]: ...
def shared_task(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Declare the decorated function as a task, with or without options; it becomes a :class:`Task`.

    An error ends the task, and its message is a dead letter, unless ``autoretry_for`` lists the error. A worker that
    dies ends nothing: the message comes again, as often as the queue's ``max_attempts`` says.

    Args:
        function: the decorated function, if the decorator has no parentheses.
        options: ``name``: default the module and the function's name. ``bind``: the first parameter is the task, whose
            ``request`` has ``id``, ``retries`` and ``headers``. ``autoretry_for``, ``max_retries``, ``retry_backoff``,
            ``retry_backoff_max``, ``default_retry_delay``: as Celery reads them. ``time_limit``: seconds.

    Raises:
        TypeError: an option that does not exist, an ``async def``, or a function with ``*args`` or ``**kwargs``.
    """
    refuse_unknown("shared_task(…)", options, _OPTIONS)
    return Task(function, options) if function is not None else lambda function: Task(function, options)


def retries_of(options: Mapping[str, Any]) -> Retries:
    """The retry rules that the options of a task mean."""
    errors = tuple(options.get("autoretry_for", ()))
    if not errors:
        return Retries(never=(Exception,))
    most, backoff = options.get("max_retries", _MAX_RETRIES), options.get("retry_backoff", False)
    if not backoff:
        delay = options.get("default_retry_delay", _DELAY)
        return Retries(None if most is None else most + 1, on=errors, backoff=delay, max_delay=delay)
    longest = options.get("retry_backoff_max", _LONGEST)
    return Retries(None if most is None else most + 1, on=errors, backoff=float(backoff), max_delay=longest)


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
