"""Line: a queue with its dead-letter queue and consumers, on the driver of a case; handlers are plain coroutines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from tasuki.app.request_reply.reply_queues import ForeignReplyQueues
from tasuki.app.request_reply.requests import Requests
from tasuki.backoff import Backoff
from tasuki.clock import Clock, SystemClock
from tasuki.consumers.consumer import Consumer
from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.fetching.keeper import Keeper
from tasuki.consumers.settling.verdict import RetryPolicy
from tasuki.contracts.driver import Driver, QueueSpec
from tasuki.contracts.handler import Context, Handler
from tasuki.errors import HandlerError
from tasuki.queues.messages.codec import Codecs
from tasuki.queues.queue import Queue, QueuePolicy
from tasuki.testing.conformance.rig import Rig

Handle = Callable[[Any, Context], Awaitable[Any]]

Ask = Callable[..., Awaitable[Any]]


def recorder() -> tuple[list[Any], Handle]:
    """A list, and a handler that appends each body to it."""
    seen: list[Any] = []

    async def handle(body: Any, context: Context) -> None:
        seen.append(body)

    return seen, handle


class _Function(Handler):
    def __init__(self, handle: Handle) -> None:
        super().__init__("app:handle")
        self._handle = handle

    async def start(self) -> None:
        return

    async def handle(self, body: Any, context: Context) -> Any:
        return await self._handle(body, context)


class _NoOthers:
    """The rest of a project with one function: it has nothing but the reply queues of requests."""

    def __init__(self, clock: Clock) -> None:
        self._reply_queues = ForeignReplyQueues(clock)

    def reply_queue(self, name: str, request: Queue, guard: object) -> AbstractAsyncContextManager[Queue]:
        return self._reply_queues.lend(name, request)

    def __getattr__(self, name: str) -> Any:
        raise HandlerError("this project has one function only", kind="NotFound")


class Line:
    """``queue`` and ``dead`` of one case; ``spec`` holds options of QueueSpec, ``policy`` options of QueuePolicy."""

    def __init__(self, rig: Rig, *, spec: Mapping[str, Any] | None = None, **policy: Any) -> None:
        self.rig = rig
        self.clock = SystemClock()
        self.keeper = Keeper(self.clock)
        self._spec = {"lease": rig.suite.real_seconds * 2, **(spec or {})}
        self._policy = {
            "retry": Backoff(max(0.1, rig.suite.delay_grain), 60.0, 2.0, 0.0),
            "dead_letter": "app:dead",
            **policy,
        }

    async def open(self) -> Line:
        """Declare both queues on the rig's driver."""
        self.queue = await self.queue_on(self.rig.driver)
        self.dead = await self._declared(self.rig.driver, "app:dead", QueueSpec(self.rig.other), QueuePolicy())
        return self

    async def publish(self, *bodies: Any) -> None:
        """Publish one after the other."""
        for body in bodies:
            await self.queue.publish(body)

    async def queue_on(self, driver: Driver) -> Queue:
        """The queue, on another driver of the same broker."""
        spec = self.rig.spec(**self._spec)
        return await self._declared(driver, "app:tasks", spec, QueuePolicy(**self._policy))

    async def _declared(self, driver: Driver, id: str, spec: QueueSpec, policy: QueuePolicy) -> Queue:
        await driver.declare(spec)
        codecs = Codecs()
        codec = codecs.get("json/plain")
        assert codec is not None
        return Queue(id, driver=driver, spec=spec, codec=codec, codecs=codecs, policy=policy, clock=self.clock)

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[Ask]:
        """A function that sends a request to the queue, with a timeout in seconds, and returns the result."""
        requests = Requests(self.clock)

        async def ask(body: Any, timeout: float = self.rig.suite.patience * 4) -> Any:
            return await requests.ask(self.queue, body, {"h": True}, reply_to=None, timeout=timeout, options={})

        try:
            yield ask
        finally:
            await requests.close(self.rig.driver)

    @asynccontextmanager
    async def consumer(
        self, handle: Handle, *, queue: Queue | None = None, stop_timeout: float = 10.0, **options: Any
    ) -> AsyncIterator[Consumer]:
        """A consumer that runs within the block; ``options`` are fields of ConsumerOptions."""
        queue = queue or self.queue
        policy = queue.policy
        consumer = Consumer(
            "app:consumer",
            queue=queue,
            handler=_Function(handle),
            host=_NoOthers(self.clock),
            keeper=self.keeper,
            policy=RetryPolicy(policy.retry, policy.max_attempts, policy.dead_letter is not None, policy.drop_expired),
            options=ConsumerOptions(**options),
            dead_letters=self.dead if policy.dead_letter else None,
            clock=self.clock,
        )
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop(stop_timeout)

    async def until(self, condition: Callable[[], object], *, patience: float = 1.0) -> None:
        """Wait until something holds, for ``patience`` times the suite's own."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.rig.suite.patience * patience):
                while not condition():  # noqa: ASYNC110 - any condition, of whatever the case looks at
                    await asyncio.sleep(0.005)
        assert condition(), "waited in vain"
