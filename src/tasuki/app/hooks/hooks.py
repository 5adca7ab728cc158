"""Hooks: all hooks of an app by their moments, told by its queues, its consumers and its worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from tasuki.app.hooks.hook import Hook
from tasuki.consumers.delivery import Delivery
from tasuki.consumers.reports.reporting import name_of
from tasuki.consumers.settling.verdict import Verdict
from tasuki.contracts.driver import Outgoing
from tasuki.contracts.observer import Moment, MomentName, Observer
from tasuki.errors import DriverError, HandlerError
from tasuki.message import MESSAGE_TYPE, Message
from tasuki.queues.queue import Queue

_FINISH = 5.0
"""Seconds that the hooks have to hear of all moments, at the end."""

OF_DELIVERIES: tuple[MomentName, ...] = ("begin", "done", "failed", "give_up", "discard")


class Hooks:
    """A report of deliveries; see :class:`tasuki.consumers.reports.reporting.DeliveryReport`.

    Args:
        hooks: by their moments.
        queue: the queue of an id, whose codec reads the bodies.
    """

    def __init__(self, hooks: Mapping[MomentName, Sequence[Hook]], queue: Callable[[str], Queue]) -> None:
        self._hooks = hooks
        self._queue = queue
        self.hears_of_deliveries = any(hooks.get(name) for name in OF_DELIVERIES)
        self.observers: list[Observer] = [_Publishes(self)] if hooks.get("publish") else []
        """What hears of publishes for them."""
        self.has_started = False
        """Whether the worker has started, so that its stop is a moment."""

    def begun(self, delivery: Delivery) -> None:
        """See Report."""
        if hooks := self._of("begin", delivery.queue, delivery.received):
            self._tell(hooks, self._moment("begin", delivery))

    def ended(self, delivery: Delivery, verdict: Verdict, seconds: float | None) -> None:
        """See Report."""
        name = name_of(verdict, has_begun=seconds is not None)
        if name is None or not (hooks := self._of(name, delivery.queue, delivery.received)):
            return
        moment = self._moment(name, delivery)
        moment.seconds = seconds
        if name == "discard":
            moment.reason = "cancelled" if verdict.reason == "cancelled" else "expired"
        elif name != "done":
            moment.error = verdict.cause or HandlerError(verdict.error, kind=verdict.kind, retryable=verdict.retryable)
            moment.reason = verdict.reason if name == "give_up" or verdict.kept else ""
            moment.delay = verdict.delay if name == "failed" else None
        self._tell(hooks, moment)

    def published(self, queue: str, message: Message, error: DriverError | None) -> None:
        """The broker has answered for one message."""
        if hooks := self._of("publish", queue, message):
            task, decode = _task_of(message), self._queue(queue).decode
            self._tell(hooks, Moment("publish", queue, task=task, message=message, error=error, decode=decode))

    async def start(self) -> None:
        """The worker starts: call these hooks before a consumer receives."""
        self.has_started = True
        for hook in self._hooks.get("start", ()):
            await hook.call(Moment("start"))

    async def stop(self) -> None:
        """Let all hooks hear of what has happened, then call those for the stop of a worker that has started."""
        hooks = {hook for group in self._hooks.values() for hook in group}
        if self.has_started:
            self.has_started = False
            await self.finish()
            for hook in self._hooks.get("stop", ()):
                await hook.call(Moment("stop"))
        await asyncio.gather(*(hook.finish(_FINISH) for hook in hooks))

    async def finish(self) -> None:
        """Let all hooks hear of what has happened."""
        await asyncio.gather(*(hook.finish(_FINISH) for group in self._hooks.values() for hook in group))

    def _of(self, name: MomentName, queue: str, message: Message) -> list[Hook]:
        task = _task_of(message)
        return [hook for hook in self._hooks.get(name, ()) if hook.hears_of(queue, task)]

    def _moment(self, name: MomentName, delivery: Delivery) -> Moment:
        received = delivery.received
        return Moment(
            name,
            delivery.queue,
            delivery.consumer,
            delivery.function,
            _task_of(received),
            received,
            received.attempt,
            decode=self._queue(delivery.queue).decode,
        )

    @staticmethod
    def _tell(hooks: Sequence[Hook], moment: Moment) -> None:
        for hook in hooks:
            hook.put(moment)


class _Publishes(Observer):
    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    def on_publish(self, queue: str, messages: Sequence[Outgoing], errors: Sequence[DriverError | None]) -> None:
        for message, error in zip(messages, errors, strict=True):
            self._hooks.published(queue, message, error)


def _task_of(message: Message) -> str:
    return str(message.headers.get(MESSAGE_TYPE, ""))
