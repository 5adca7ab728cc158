"""Chains, groups and chords: calls of tasks that are published one after the other, or together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tasuki.contrib.django.celery.calls.eager import EagerResult, is_eager, run_chain, run_chord
from tasuki.contrib.django.celery.calls.signature import Signature
from tasuki.contrib.django.project import project_app

if TYPE_CHECKING:
    from tasuki.app.flow.planned import Planned
    from tasuki.contracts.state.following import StartedGroup
    from tasuki.queues.result import Confirmed


class chain:  # noqa: N801 - Celery's name
    """Calls that run one after the other; each one gets the result of the one before as its first argument."""

    def __init__(self, *signatures: Signature | Iterable[Signature]) -> None:
        self.tasks = _all(signatures)

    def delay(self) -> Confirmed | EagerResult:
        """Publish the first one; the others follow. Raises TypeError: there is none."""
        if not self.tasks:
            raise TypeError("a chain needs a task")
        if is_eager():
            return run_chain(self.tasks)
        then: Planned | None = None
        for each in reversed(self.tasks[1:]):
            then = each.following(then)
        return self.tasks[0].publish({} if then is None else {"then": then})

    apply_async = delay


class group:  # noqa: N801
    """Calls that run side by side."""

    def __init__(self, *signatures: Signature | Iterable[Signature]) -> None:
        self.tasks = _all(signatures)

    def delay(self) -> list[Confirmed | EagerResult]:
        """Publish all of them, as a part of the transaction that is open."""
        return [each.delay() for each in self.tasks]

    apply_async = delay


class chord:  # noqa: N801
    """A group, and one call when all of its tasks are done; with ``on_error``, another one when one is given up."""

    def __init__(self, header: group | Iterable[Signature], body: Signature | None = None) -> None:
        self.tasks = header.tasks if isinstance(header, group) else list(header)
        self.body = body
        self._on_error: Signature | None = None

    def on_error(self, errback: Signature) -> chord:
        """Call a task when the first task of the group is given up; returns this chord."""
        self._on_error = errback
        return self

    def delay(self) -> StartedGroup | list[EagerResult]:
        """Publish the group, as a part of the transaction that is open."""
        if is_eager():
            return run_chord(self.tasks, self.body, self._on_error)
        then = None if self.body is None else self.body.following()
        failed = None if self._on_error is None else self._on_error.on_failure()
        members = [each.member() for each in self.tasks]
        return project_app().sync.group(members, then=then, on_error=failed)

    apply_async = delay

    def __call__(self, body: Signature) -> StartedGroup | list[EagerResult]:
        """Publish the group, with this call after it."""
        self.body = body
        return self.delay()


def _all(signatures: Iterable[Signature | Iterable[Signature]]) -> list[Signature]:
    """The signatures of a call, which may be one list of them."""
    found: list[Signature] = []
    for each in signatures:
        found += [each] if isinstance(each, Signature) else each
    return found
