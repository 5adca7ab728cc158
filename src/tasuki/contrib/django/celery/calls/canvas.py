"""Groups and chords: calls of tasks that are published together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tasuki.app.guesses import Guessed
from tasuki.contrib.django.celery.calls.eager import EagerResult, is_eager, run_chord
from tasuki.contrib.django.celery.calls.signature import Signature, calls_of, chain, steps
from tasuki.contrib.django.celery.names import OF_CALL
from tasuki.contrib.django.project import project_app

if TYPE_CHECKING:
    from tasuki.contracts.state.following import StartedGroup
    from tasuki.queues.result import Confirmed


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
