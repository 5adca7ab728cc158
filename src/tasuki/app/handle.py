"""QueueHandle: a declared queue for the user's code, which works once the app is open."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from types import UnionType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, overload

from tasuki.app.guesses import NOT_A_DECORATOR, OF_QUEUE, Guessed, answer_guesses
from tasuki.app.tasks.options import SENDING, refuse_unknown

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.app.app import App
    from tasuki.app.flow.planned import Planned
    from tasuki.app.jobs import Job
    from tasuki.app.measuring.history import Passed
    from tasuki.app.schedules.declaring import ScheduleDecorator, ScheduleOptions
    from tasuki.app.tasks.task import TaskDecorator
    from tasuki.app.typed.entries import ConsumerFields
    from tasuki.app.typed.options import BatchOptions, ChainOptions, Headers, Named, RequestOptions
    from tasuki.contracts.driver import Depth
    from tasuki.message import Message
    from tasuki.queues.queue import Envelope
    from tasuki.queues.result import PublishResult
    from tasuki.units import Duration

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


class QueueHandle(Guessed, Generic[T]):
    """Publish bodies of type T to a queue, inspect it, and declare its consumers."""

    _guesses = OF_QUEUE

    def __init__(self, app: App, id: str) -> None:
        self._app = app
        self.id = id

    def __repr__(self) -> str:
        return f"<queue {self.id}>"

    if not TYPE_CHECKING:  # a type checker reports the call itself

        def __call__(self, *args: object, **options: object) -> NoReturn:
            """Refuse ``@app.queue("jobs")`` above a function."""
            raise TypeError(f"{self!r} {NOT_A_DECORATOR}")

    @overload
    def consumer(self, function: F, /) -> F: ...
    @overload
    def consumer(self, /, *, name: str | None = None, **fields: Unpack[ConsumerFields]) -> Callable[[F], F]: ...
    def consumer(
        self, function: F | None = None, /, *, name: str | None = None, **fields: Unpack[ConsumerFields]
    ) -> F | Callable[[F], F]:
        """Declare the decorated function as a handler of this queue; the function itself stays as it is.

        Works with and without parentheses.

        Args:
            function: the decorated function, if the decorator has no parentheses.
            name: the consumer's name; default the function's name and ``.consumer``.
            fields: the fields of ``queue.consumer``: concurrency, prefetch, batch, auto_ack, handler_timeout, retry,
                idempotency, lifecycle (``auto_start`` is on). With ``batch={"size": 100}`` the function takes a list of
                bodies.
        """
        if function is not None and not callable(function):
            raise TypeError(f"consumer() takes options by name only, as in consumer(name={function!r})")

        def declare(function: F) -> F:
            self._app._runtime.source.declared.add_consumer(self.id, function, name, fields)
            answer_guesses(function)
            return function

        return declare if function is None else declare(function)

    @property
    def task(self) -> TaskDecorator:
        """Declare the decorated function as a task: messages call it by its name, with its arguments.

        ``@jobs.task`` or ``@jobs.task(name=…, retry=Retries(5), handler_timeout="30m", on_give_up=…)``; all tasks of a
        queue are handled by one consumer, whose options are given with ``task_consumer``. The decorated function is a
        :class:`tasuki.Task`: ``await send.publish(url)`` publishes a call, ``send(url)`` calls it here and now.
        """
        from tasuki.app.tasks.task import TaskDecorator

        return TaskDecorator(self._app, self.id, {})

    def every(self, interval: Duration, /, **options: Unpack[ScheduleOptions]) -> ScheduleDecorator:
        """Run the decorated function, or task, at each interval, on this queue's workers; as ``App.every``."""
        return self._app.every(interval, queue=self, **options)

    def cron(self, expression: str, /, *, tz: str = "UTC", **options: Unpack[ScheduleOptions]) -> ScheduleDecorator:
        """Run the decorated function, or task, at each time of a cron expression; as ``App.cron``."""
        return self._app.cron(expression, tz=tz, queue=self, **options)

    def task_consumer(self, **fields: Unpack[ConsumerFields]) -> str:
        """Give the consumer of this queue's tasks its options; returns its id, ``<queue>.workers``.

        Args:
            fields: the fields of ``queue.consumer``: concurrency, prefetch, auto_ack, handler_timeout, retry,
                idempotency, lifecycle (``auto_start`` is on).

        Raises:
            InvalidEntryError: it has options already.
        """
        return self._app._runtime.source.tasks.add_workers(self.id, fields)

    def message(self, body: T, headers: Headers = None, **options: Unpack[ChainOptions]) -> Planned:
        """A message for ``app.group``, ``then``, ``on_error`` or ``publish_many``; takes no time and no connection."""
        from tasuki.app.flow.planned import planned

        return planned(self.id, body, headers, options)

    def filled(self) -> Planned:
        """The message whose body is the result that it follows."""
        from tasuki.app.flow.planned import Planned

        return Planned(queue=self.id, body=None, fill="")

    async def publish(self, body: T, headers: Headers = None, **options: Unpack[ChainOptions]) -> Job[Any]:
        """Publish one message; see :meth:`tasuki.App.publish`."""
        try:
            return await self._app.publish(self.id, body, headers, **options)
        except TypeError:  # raised here, the traceback shows less of ours
            refuse_unknown("publish(…)", options, SENDING)
            raise

    async def publish_many(
        self, items: Sequence[T | Envelope[T]], **options: Unpack[BatchOptions]
    ) -> list[PublishResult]:
        """Publish many bodies or envelopes, one result each; see :meth:`tasuki.queues.queue.Queue.publish_many`."""
        return await (await self._app._runtime.ready_queue(self.id)).publish_many(items, **options)

    async def request(
        self,
        body: T,
        headers: Headers = None,
        *,
        returns: type[Named] | UnionType | None = None,
        **options: Unpack[RequestOptions],
    ) -> Named:
        """Publish, and wait for what the handler returns; see :meth:`tasuki.App.request`."""
        return await self._app.request(self.id, body, headers, returns=returns, **options)

    async def history(self) -> list[Passed]:
        """The last 60 minutes of a queue, the oldest first; the last one is not over yet.

        Each process writes its minutes into the state of the queue some seconds after their end. Processes that publish
        fewer than 50 messages and end within a minute are missing, and so are the waits until a worker knows that they
        are wanted: about a minute after the first call.

        Raises:
            QueueNotFoundError: there is no such queue. PolicyDeniedError: the application may not see it.
            DriverError: its store cannot be reached.
        """
        from tasuki.app.measuring.history import past_of

        return await past_of(self._app._runtime, self.id)

    async def depth(self) -> Depth:
        """The number of messages in the queue."""
        return await (await self._app._runtime.ready_queue(self.id)).depth()

    async def info(self) -> dict[str, Any]:
        """Ids and counts; see :meth:`tasuki.queues.queue.Queue.info`."""
        return await (await self._app._runtime.ready_queue(self.id)).info()

    async def peek(self, limit: int = 10, after: int = 0) -> list[Message]:
        """Show waiting messages without taking them."""
        return await (await self._app._runtime.ready_queue(self.id)).peek(limit, after)

    async def purge(self) -> int:
        """Remove all messages that no consumer holds; returns how many."""
        return await (await self._app._runtime.ready_queue(self.id)).purge()

    async def remove(self, ids: Collection[str]) -> int:
        """Remove the messages of these ids that no consumer holds; returns how many."""
        return await (await self._app._runtime.ready_queue(self.id)).remove(ids)


def id_of(queue: str | QueueHandle[Any]) -> str:
    """The id or name of a queue, given as text or as a handle. Raises TypeError: it is neither."""
    if isinstance(queue, str):
        return queue
    if not isinstance(queue, QueueHandle):
        raise TypeError(f"a queue is given as its name, its id or its handle, not as {type(queue).__name__}")
    return queue.id
