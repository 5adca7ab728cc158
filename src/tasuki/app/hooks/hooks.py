"""Hooks: the functions that are called at moments of queues, consumers and the worker, and never delay a message."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from typing import Any

from tasuki.consumers.delivery import Delivery
from tasuki.consumers.reports.reporting import name_of
from tasuki.consumers.settling.verdict import Verdict
from tasuki.contracts.driver import Outgoing
from tasuki.contracts.observer import Moment, MomentName, Observer
from tasuki.errors import DriverError, HandlerError, text_of
from tasuki.handlers.signature import is_async
from tasuki.handlers.threads import Threads, is_from_outside, run_on
from tasuki.kinds.check.functions import takes_moment
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.function import HookConfig
from tasuki.kinds.functions import load_function
from tasuki.message import MESSAGE_TYPE, Message
from tasuki.observe.trace import CURRENT
from tasuki.queues.queue import Queue
from tasuki.units import format_duration

_log = logging.getLogger("tasuki.hook")


LIMIT = 10.0
"""Seconds that one call may take."""


MOST = 10_000
"""Moments that wait for one hook; later ones are lost."""


_GRACE = 1.0
"""Seconds that a cancelled call has to end."""


class Hook:
    """Calls its function with one moment after the other; in a thread if it is no ``async def``."""

    def __init__(self, id: str, function: Callable[..., Any], *, queue: str | None, task: str | None) -> None:
        self.id = id
        self._function = function
        self._queue = queue
        self._task = task
        self._takes_moment = takes_moment(function)
        self._threads = Threads(f"tasuki-{id}", 1)
        self._waiting: deque[Moment] = deque()
        self._running: asyncio.Task[None] | None = None
        self._context = copy_context()
        """No variable of the handler in which a moment comes is set for the hook."""
        self._lost = 0

    def hears_of(self, queue: str, task: str) -> bool:
        """Whether it is for messages of this queue and task."""
        return (self._queue is None or self._queue == queue) and (self._task is None or self._task == task)

    def put(self, moment: Moment) -> None:
        """Call it soon; returns at once. In the event loop."""
        if len(self._waiting) >= MOST:
            self._lost += 1
            if self._lost == 1:
                _log.error("hook %s is too slow: %d moments wait for it, so it does not hear of others", self.id, MOST)
            return
        self._waiting.append(moment)
        if self._running is None:
            loop, context = asyncio.get_running_loop(), self._context.copy()
            self._running = loop.create_task(self._run(), name=f"hook {self.id}", context=context)

    async def _run(self) -> None:
        try:
            while self._waiting:
                moment = self._waiting.popleft()
                CURRENT.set(None if moment.message is None else moment.message.headers)
                await self.call(moment)
        finally:
            if self._running is asyncio.current_task():
                self._running = None

    async def call(self, moment: Moment) -> None:
        """Call it now, for at most ``LIMIT`` seconds; its errors are logged."""
        args = (moment,) if self._takes_moment else ()
        try:
            async with asyncio.timeout(LIMIT) as limit:
                if is_async(self._function):
                    await run_on(self._function(*args))
                else:
                    await self._threads.run(self._function, *args)
        except TimeoutError as error:
            if limit.expired():
                _log.error("hook %s was cancelled: it ran longer than %s", self.id, format_duration(LIMIT))
            else:
                self._complain(error)
        except BaseException as error:
            if is_from_outside(error):
                raise
            self._complain(error)

    def _complain(self, error: BaseException) -> None:
        _log.error("hook %s failed: %s", self.id, text_of(error), exc_info=error)

    async def finish(self, timeout: float) -> None:
        """Wait until all is called, or cancel it after this many seconds."""
        running = self._running
        if running is not None:
            _, late = await asyncio.wait([running], timeout=timeout)
            if late:
                left = len(self._waiting)
                self._waiting.clear()
                self._running = None  # it may not end: no later stop waits for it
                running.cancel()
                _log.error("hook %s was cancelled at the stop: it did not hear of %d more moments", self.id, left)
                await asyncio.wait([running], timeout=_GRACE)
        if self._lost:
            _log.error("hook %s did not hear of %d moments, as it was too slow", self.id, self._lost)
            self._lost = 0
        self._threads.close()


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
        name = name_of(verdict)
        if name is None or not (hooks := self._of(name, delivery.queue, delivery.received)):
            return
        moment = self._moment(name, delivery)
        moment.seconds = seconds
        if name == "discard":
            moment.reason = verdict.reason
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


def build_hooks(project: Project, queue: Callable[[str], Queue]) -> Hooks | None:
    """All hooks, imported; None: there are none. ``queue``: the queue of an id.

    Raises:
        HandlerError: one cannot be imported, or cannot be called with a moment.
    """
    configs = project.of(HookConfig)
    if not configs:
        return None
    hooks: dict[MomentName, list[Hook]] = {}
    for id, config in configs.items():
        hooks.setdefault(config.moment, []).append(_hook(project, id, config))
    return Hooks(hooks, queue)


def _hook(project: Project, id: str, config: HookConfig) -> Hook:
    function = load_function(project, id)
    try:
        return Hook(id, function, queue=config.queue, task=config.task)
    except TypeError as error:
        raise HandlerError(f"hook {id!r}: {error}", kind="Invalid") from error
