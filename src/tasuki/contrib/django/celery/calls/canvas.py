"""Chains, groups and chords: calls of tasks that are published one after the other, or together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tasuki.app.guesses import Guessed
from tasuki.contrib.django.celery.calls.eager import EagerResult, is_eager, run_chain, run_chord
from tasuki.contrib.django.celery.calls.signature import Signature
from tasuki.contrib.django.celery.names import OF_CALL
from tasuki.contrib.django.project import project_app

if TYPE_CHECKING:
    from tasuki.app.flow.planned import Planned
    from tasuki.contracts.state.following import StartedGroup
    from tasuki.queues.result import Confirmed


class chain(Guessed):  # noqa: N801 - Celery's name
    """Calls that run one after the other; each one gets the result of the one before as its first argument."""

    guesses: ClassVar[Mapping[str, str]] = OF_CALL

    def __init__(self, *calls: Signature | chain | Iterable[Signature | chain]) -> None:
        self.tasks = [each for call in _all(calls) for each in _steps(call)]

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


class group(Guessed):  # noqa: N801
    """Calls, chains and groups of them, that run side by side."""

    guesses: ClassVar[Mapping[str, str]] = OF_CALL

    def __init__(self, *calls: Signature | chain | group | Iterable[Signature | chain | group]) -> None:
        self.tasks: list[Signature | chain] = []
        for each in _all(calls):
            if not isinstance(each, Signature | chain | group):
                raise TypeError(f"{_named(each)} cannot be in a group, which takes calls of tasks: write task.s(…)")
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
            return run_chord(self.tasks, [] if self.body is None else _steps(self.body), self._on_error)
        then = None if self.body is None else self.body.following()
        failed = None if self._on_error is None else self._on_error.on_failure()
        members = [each.member() for each in self.tasks]
        return project_app().sync.group(members, then=then, on_error=failed)

    apply_async = delay

    def __call__(self, body: Signature | chain | None = None) -> StartedGroup | list[EagerResult]:
        """Publish the group, with this call after it."""
        self.body = self.body if body is None else body
        return self.delay()


def _all(calls: Iterable[Any]) -> list[Any]:
    """The arguments of a chain or a group, which may be one list of them."""
    found: list[Any] = []
    for each in calls:
        found += each if isinstance(each, Iterable) else [each]
    return found


def _steps(call: Any) -> list[Signature]:
    """The calls of a chain, one after the other. Raises TypeError: something else."""
    if isinstance(call, chain):
        return call.tasks
    if isinstance(call, Signature):
        return [call]
    hint = "write chord([task.s(…), …], other.s())" if isinstance(call, group) else "write task.s(…)"
    raise TypeError(f"{_named(call)} cannot be a step of a chain, which takes calls of one task each: {hint}")


def _members(calls: Iterable[Any]) -> list[Signature]:
    """The calls of the group of a chord. Raises TypeError: something else."""
    found = list(calls)
    for each in found:
        if not isinstance(each, Signature):
            raise TypeError(
                f"{_named(each)} cannot be a task of a chord, which takes calls of one task each: write task.s(…)"
            )
    return found


def _named(what: object) -> str:
    return f"a {type(what).__name__}"


def _following(calls: list[Signature]) -> Planned | None:
    """The message of the first of some calls, which the others follow; None: there is none."""
    then: Planned | None = None
    for each in reversed(calls):
        then = each.following(then)
    return then
