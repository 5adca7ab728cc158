"""Declaring hooks: one decorator for each moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from tasuki.app.declare import name_of
from tasuki.app.handle import QueueHandle, id_of
from tasuki.contracts.observer import Moment, MomentName

if TYPE_CHECKING:
    from tasuki.app.source import Source
    from tasuki.app.tasks.task import Task

H = TypeVar("H", bound=Callable[[], object] | Callable[[Moment], object])
S = TypeVar("S", bound=Callable[[], object] | Callable[[Moment], object])


class MomentDecorator:
    """Declares the decorated function as ``hook.python`` for one moment of messages; works without parentheses too."""

    def __init__(self, source: Source, moment: MomentName) -> None:
        self._source = source
        self._moment = moment

    @overload
    def __call__(self, function: H, /) -> H: ...
    @overload
    def __call__(
        self, /, *, queue: str | QueueHandle[Any] | None = None, task: str | Task[..., ..., Any, Any] | None = None
    ) -> Callable[[H], H]: ...
    def __call__(
        self,
        function: H | None = None,
        /,
        *,
        queue: str | QueueHandle[Any] | None = None,
        task: str | Task[..., ..., Any, Any] | None = None,
    ) -> H | Callable[[H], H]:
        """Declare a function that takes a :class:`tasuki.Moment`, or nothing; it stays as it is.

        Args:
            function: the decorated function, if the decorator has no parentheses.
            queue: only for messages of this queue, by name, id or handle.
            task: only for messages of this task, by name or as the task itself.
        """
        fields: dict[str, Any] = {"moment": self._moment}
        if queue is not None:
            fields["queue"] = id_of(queue)
        if task is not None:
            fields["task"] = task if isinstance(task, str) else task.name
            if not isinstance(task, str):
                fields.setdefault("queue", task.queue)

        def declare(function: H) -> H:
            declared = self._source.declared
            declared.add(declared.free_name(f"{name_of(function)}.{self._moment}"), "hook.python", fields,
                         target=function)  # fmt: skip
            return function

        return declare if function is None else declare(function)


class Moments:
    """``app.on``: one decorator for each moment."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def start(self, function: S) -> S:
        """Call the decorated function when a worker starts, before it receives. It takes nothing, or the moment."""
        return MomentDecorator(self._source, "start")(function)

    def stop(self, function: S) -> S:
        """Call the decorated function when a worker has stopped, after its last message; see ``start``."""
        return MomentDecorator(self._source, "stop")(function)

    @property
    def publish(self) -> MomentDecorator:
        """Call the decorated function when a broker has answered for a message: with ``error`` if it refused it."""
        return MomentDecorator(self._source, "publish")

    @property
    def begin(self) -> MomentDecorator:
        """Call the decorated function when the handler of a message starts."""
        return MomentDecorator(self._source, "begin")

    @property
    def done(self) -> MomentDecorator:
        """Call the decorated function when a message was handled, with ``seconds``."""
        return MomentDecorator(self._source, "done")

    @property
    def failed(self) -> MomentDecorator:
        """Call the decorated function when a message failed and is redelivered after ``delay``, with its ``error``."""
        return MomentDecorator(self._source, "failed")

    @property
    def give_up(self) -> MomentDecorator:
        """Call the decorated function when a message goes to its dead-letter queue, with ``error`` and ``reason``."""
        return MomentDecorator(self._source, "give_up")

    @property
    def discard(self) -> MomentDecorator:
        """Call the decorated function when a message expired, with ``reason``."""
        return MomentDecorator(self._source, "discard")
