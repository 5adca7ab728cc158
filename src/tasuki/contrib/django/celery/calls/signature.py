"""Calls of tasks for later: one call, calls in a row (chain), calls that are published together (group, chord)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from tasuki.app.guesses import Guessed
from tasuki.contrib.django.celery.calls.eager import EagerResult, is_eager, run_chain, run_chord, run_now
from tasuki.contrib.django.celery.calls.running import EXPIRES, Runnable
from tasuki.contrib.django.celery.names import OF_CALL
from tasuki.contrib.django.celery.options import options_of_call
from tasuki.contrib.django.project import project_app

if TYPE_CHECKING:
    from tasuki.app.flow.planned import Planned
    from tasuki.app.tasks.task import Task as OwnTask
    from tasuki.contracts.state.following import StartedGroup
    from tasuki.queues.result import Confirmed


class Called(Runnable, Protocol):
    """A task, as its calls need it."""

    own: OwnTask[..., ..., Any, Any]
    defaults: dict[str, Any]
    queue: str

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function here and now."""

    def announce(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> str:
        """Send ``before_task_publish`` for a call; returns the id that its message has."""

    def plain(self, value: Any) -> Any:
        """An argument as its message carries it."""


class Signature(Guessed):
    """One call of a task, for later. An immutable one (``task.si``) ignores the result that it follows.

    ``options``: of its message, by Celery's names.
    """

    _guesses: ClassVar[Mapping[str, str]] = OF_CALL

    def __init__(
        self,
        task: Called,
        args: Iterable[Any],
        kwargs: Mapping[str, Any],
        *,
        immutable: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.task = task
        self.args = tuple(args)
        self.kwargs = dict(kwargs)
        self.immutable = immutable
        self._given = dict(options or {})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function here and now, these arguments first; nothing is sent."""
        call = self.clone(args, kwargs)
        return call.task(*call.args, **call.kwargs)

    def __or__(self, other: Any) -> chain:
        """A chain: the other call gets the result of this one."""
        return chain(self, other)

    def set(self, *, immutable: bool | None = None, **options: Any) -> Signature:
        """Give its message options of ``apply_async``; returns this call. Raises TypeError: one has no counterpart."""
        options_of_call(self.task.name, self.task.queue, options)
        self._given.update(options)
        self.immutable = self.immutable if immutable is None else immutable
        return self

    def clone(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Signature:
        """Another call with these arguments before its own ones; an immutable one takes none."""
        first = () if self.immutable else tuple(args)
        more = {} if self.immutable else dict(kwargs or {})
        given = {**self._given, **options}
        return Signature(
            self.task, (*first, *self.args), {**self.kwargs, **more}, immutable=self.immutable, options=given
        )  # fmt: skip

    def delay(self, *args: Any, **kwargs: Any) -> Confirmed | EagerResult:
        """Publish it, as a part of the transaction that is open; these arguments come first."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Confirmed | EagerResult:
        """As ``delay``, with options; see ``Task.apply_async``."""
        call = self.clone(args, kwargs, **options)
        return call.publish()

    def apply(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None) -> EagerResult:
        """Run it here and now, with its signals and its retries."""
        return run_now(self.clone(args, kwargs))

    def publish(self, then: Planned | None = None) -> Confirmed | EagerResult:
        """Publish it, with a message that follows it."""
        options = self._options(then)
        if is_eager():
            return run_now(self)
        id = self.task.announce(self.args, self.kwargs, options)
        args, kwargs = self._plain()
        return self.task.own.with_options(**{**options, "id": id}).send(*args, **kwargs)

    def member(self) -> Planned:
        """Its message, for a group that is published now."""
        options = self._options()
        id = self.task.announce(self.args, self.kwargs, options)
        args, kwargs = self._plain()
        return self.task.own.with_options(**{**options, "id": id}).message(*args, **kwargs)

    def following(self, then: Planned | None = None) -> Planned:
        """Its message, after another one whose result it is given."""
        sender = self.task.own.with_options(**self._options(then))
        args, kwargs = self._plain()
        return sender.message(*args, **kwargs) if self.immutable else sender.filled(*args, **kwargs)

    def on_failure(self) -> Planned:
        """Its message, after a failure: its first argument is the error as a dict, the next two are None."""
        sender = self.task.own.with_options(**self._options())
        args, kwargs = self._plain()
        return sender.message(*args, **kwargs) if self.immutable else sender.filled(None, None, *args, **kwargs)

    def _options(self, then: Planned | None = None) -> dict[str, Any]:
        """Tasuki's options of its message: the task's, and its own; a header says when it expires."""
        options = {**self.task.defaults, **options_of_call(self.task.name, self.task.queue, self._given)}
        if (expires := options.pop("expires", None)) is not None:
            options["headers"] = {**(options.get("headers") or {}), EXPIRES: float(expires)}
        return options if then is None else {**options, "then": then}

    def _plain(self) -> tuple[list[Any], dict[str, Any]]:
        plain = self.task.plain
        return [plain(each) for each in self.args], {name: plain(each) for name, each in self.kwargs.items()}


class chain(Guessed):  # noqa: N801 - Celery's name
    """Calls that run one after the other; each one gets the result of the one before as its first argument."""

    _guesses: ClassVar[Mapping[str, str]] = OF_CALL

    def __init__(self, *calls: Signature | chain | Iterable[Signature | chain]) -> None:
        self.tasks = [each for call in calls_of(calls) for each in steps(call)]

    def __or__(self, other: Any) -> chain:
        """A chain with one more call at its end."""
        return chain(self, other)

    def delay(self, *args: Any, **kwargs: Any) -> Confirmed | EagerResult:
        """Publish the first one; the others follow. Raises TypeError: there is none."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Confirmed | EagerResult:
        """As ``delay``, with arguments and options of the first one; see ``Task.apply_async``."""
        if not self.tasks:
            raise TypeError("a chain needs a task")
        first = self.tasks[0].clone(args, kwargs, **options)
        if is_eager():
            return run_chain([first, *self.tasks[1:]])
        return first.publish(_following(self.tasks[1:]))

    __call__ = delay

    def following(self) -> Planned:
        """The message of its first call, after another one whose result it is given. Raises TypeError: it has none."""
        if (found := _following(self.tasks)) is None:
            raise TypeError("a chain needs a task")
        return found


def calls_of(calls: Iterable[Any]) -> list[Any]:
    """The arguments of a chain or a group, which may be one list of them."""
    found: list[Any] = []
    for each in calls:
        found += each if isinstance(each, Iterable) else [each]
    return found


def steps(call: Any) -> list[Signature]:
    """The calls of a chain, one after the other. Raises TypeError: something else."""
    if isinstance(call, chain):
        return call.tasks
    if isinstance(call, Signature):
        return [call]
    raise TypeError(
        f"a {type(call).__name__} cannot be a step of a chain, which takes calls of one task each: write task.s(…); "
        "after a group, chord([task.s(…), …], other.s())"
    )


def _following(calls: list[Signature]) -> Planned | None:
    """The message of the first of some calls, which the others follow; None: there is none."""
    then: Planned | None = None
    for each in reversed(calls):
        then = each.following(then)
    return then


class group(Guessed):  # noqa: N801
    """Calls, chains and groups of them, that run side by side."""

    _guesses: ClassVar[Mapping[str, str]] = OF_CALL

    def __init__(self, *calls: Signature | chain | group | Iterable[Signature | chain | group]) -> None:
        self.tasks: list[Signature | chain] = []
        for each in calls_of(calls):
            if not isinstance(each, Signature | chain | group):
                raise TypeError(
                    f"a {type(each).__name__} cannot be in a group, which takes calls of tasks: write task.s(…)"
                )
            self.tasks += each.tasks if isinstance(each, group) else [each]

    def __or__(self, body: Signature | chain) -> chord:
        """A chord, whose end is the other call."""
        return chord(self, body)

    def delay(self, *args: Any, **kwargs: Any) -> list[Confirmed | EagerResult]:
        """Publish all of them, as a part of the transaction that is open."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> list[Confirmed | EagerResult]:
        """As ``delay``, with options of each of them; see ``Task.apply_async``."""
        args = tuple(args)
        return [each.apply_async(args, kwargs, **options) for each in self.tasks]

    __call__ = delay


class chord:  # noqa: N801
    """A group, and one call when all of its tasks are done; with ``on_error``, another one when one is given up."""

    def __init__(self, header: group | Iterable[Signature], body: Signature | chain | None = None) -> None:
        self.tasks = _members(header.tasks if isinstance(header, group) else header)
        self.body = body
        self._on_error: Signature | None = None

    def __or__(self, other: Signature | chain) -> chord:
        """This chord, with one more call at its end."""
        self.body = other if self.body is None else chain(self.body, other)
        return self

    def on_error(self, errback: Signature) -> chord:
        """Call a task when the first task of the group is given up; returns this chord."""
        self._on_error = errback
        return self

    def delay(self) -> StartedGroup | list[EagerResult]:
        """Publish the group, as a part of the transaction that is open; its calls have the options: ``set(…)``."""
        if is_eager():
            return run_chord(self.tasks, [] if self.body is None else steps(self.body), self._on_error)
        then = None if self.body is None else self.body.following()
        failed = None if self._on_error is None else self._on_error.on_failure()
        members = [each.member() for each in self.tasks]
        return project_app().sync.group(members, then=then, on_error=failed)

    apply_async = delay

    def __call__(self, body: Signature | chain | None = None) -> StartedGroup | list[EagerResult]:
        """Publish the group, with this call after it."""
        self.body = self.body if body is None else body
        return self.delay()


def _members(calls: Iterable[Any]) -> list[Signature]:
    """The calls of the group of a chord. Raises TypeError: something else."""
    found = list(calls)
    for each in found:
        if not isinstance(each, Signature):
            raise TypeError(
                f"a {type(each).__name__} cannot be a task of a chord, which takes calls of one task: write task.s(…)"
            )
    return found
