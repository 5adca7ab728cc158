"""Signature: one call of a task, for later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tasuki.contrib.django.celery.calls.eager import EagerResult, is_eager, run_now
from tasuki.contrib.django.celery.calls.running import EXPIRES, Runnable

if TYPE_CHECKING:
    from tasuki.app.flow.planned import Planned
    from tasuki.app.tasks.task import Task as OwnTask
    from tasuki.queues.result import Confirmed


class Called(Runnable, Protocol):
    """A task, as its calls need it."""

    own: OwnTask[..., ..., Any, Any]
    defaults: dict[str, Any]
    queue: str

    def announce(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> str:
        """Send ``before_task_publish`` for a call; returns the id that its message has."""

    def plain(self, value: Any) -> Any:
        """An argument as its message carries it."""


class Signature:
    """One call of a task, for later. An immutable one (``task.si``) ignores the result that it follows."""

    def __init__(
        self, task: Called, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, immutable: bool = False
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
        """Publish it with options of Tasuki's ``with_options``, and ``expires``: seconds."""
        if is_eager():
            return run_now(self)
        options = self._options(options)
        id = self.task.announce(self.args, self.kwargs, options)
        args, kwargs = self._plain()
        return self.task.own.with_options(**{**options, "id": id}).send(*args, **kwargs)

    def member(self) -> Planned:
        """Its message, for a group that is published now."""
        options = self._options({})
        id = self.task.announce(self.args, self.kwargs, options)
        args, kwargs = self._plain()
        return self.task.own.with_options(**{**options, "id": id}).message(*args, **kwargs)

    def following(self, then: Planned | None = None) -> Planned:
        """Its message, after another one whose result it is given."""
        options = self._options({} if then is None else {"then": then})
        sender = self.task.own.with_options(**options)
        args, kwargs = self._plain()
        return sender.message(*args, **kwargs) if self.immutable else sender.filled(*args, **kwargs)

    def on_failure(self) -> Planned:
        """Its message, after a failure: its first argument is the error as a dict, the next two are None."""
        args, kwargs = self._plain()
        sender = self.task.own
        return sender.message(*args, **kwargs) if self.immutable else sender.filled(None, None, *args, **kwargs)

    def _options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The options of its message: the task's, and the given ones; a header says when it expires."""
        options = {**self.task.defaults, **given}
        if (expires := options.pop("expires", None)) is not None:
            options["headers"] = {**(options.get("headers") or {}), EXPIRES: float(expires)}
        return options

    def _plain(self) -> tuple[list[Any], dict[str, Any]]:
        plain = self.task.plain
        return [plain(each) for each in self.args], {name: plain(each) for name, each in self.kwargs.items()}
