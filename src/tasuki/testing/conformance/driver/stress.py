"""Cases of the whole way under stress: stops, a blocked loop, an unavailable broker, many keys at once."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from tasuki.app.flow.requests import ForeignReplyQueues, Requests
from tasuki.backoff import Backoff
from tasuki.clock import Clock, SystemClock
from tasuki.consumers.consumer import Consumer
from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.fetching.keeper import Keeper
from tasuki.consumers.settling.verdict import RetryPolicy
from tasuki.contracts.driver import Driver, Outgoing, QueueSpec
from tasuki.contracts.handler import Context, Handler
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, DriverError, HandlerError
from tasuki.queues.messages.codec import Codecs
from tasuki.queues.messages.message_builder import Envelope
from tasuki.queues.queue import Queue, QueuePolicy
from tasuki.queues.result import Confirmed, Rejected, Unknown
from tasuki.testing.conformance.rig import Rig, Suite, case, ids

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


class Stress(Suite):
    """Nothing is lost, nothing is handled by two at once, and nothing stands still."""

    @case()
    async def test_starting_and_stopping_again_and_again_loses_nothing(self, rig: Rig) -> None:
        line = await Line(rig).open()
        seen: Counter[int] = Counter()

        async def handle(body: int, context: Context) -> None:
            await asyncio.sleep(0)
            seen[body] += 1

        await line.publish(*range(200))
        rounds = 0
        while len(seen) < 200:
            rounds += 1
            async with line.consumer(handle, concurrency=3, prefetch=20):
                await asyncio.sleep(0.01 + rounds / 10_000)  # a busy machine gets on in the longer ones
        assert seen == Counter(range(200))
        await rig.nothing()

    @case()
    async def test_a_handler_that_blocks_the_loop_keeps_its_messages(self, rig: Rig) -> None:
        """No lease and no session may be lost while Python code holds the event loop for twice the lease."""
        lease = rig.suite.real_seconds
        line = await Line(rig, spec={"lease": lease}).open()
        seen: list[int] = []
        stolen: list[str] = []
        ended = threading.Event()
        thief = threading.Thread(target=lambda: stolen.extend(asyncio.run(self._steal(rig, ended))))

        async def handle(body: int, context: Context) -> None:
            seen.append(body)
            if body == 0:
                time.sleep(lease * 2)  # noqa: ASYNC251 - what the case is about

        await line.publish(*range(5))
        async with line.consumer(handle, prefetch=5) as consumer:
            await line.until(lambda: consumer.now.held == 5 or len(seen) == 5)
            if rig.driver.capabilities.multi_process:
                thief.start()
            await line.until(lambda: len(seen) == 5)
            await line.until(lambda: consumer.now.held == 0)
            ended.set()
        if thief.ident is not None:
            await asyncio.to_thread(thief.join)
        assert stolen == []
        assert sorted(seen) == [0, 1, 2, 3, 4]
        await rig.nothing()

    async def _steal(self, rig: Rig, ended: threading.Event) -> list[str]:
        """Receive what another process would get, until the consumer is done."""
        driver = rig.suite.make_driver(rig.place, rig.clock)
        got: list[str] = []
        try:
            await driver.open()
            await driver.declare(rig.spec(lease=rig.suite.real_seconds))
            while not ended.is_set():
                got += ids(await driver.receive(rig.queue, 5, 0.1))
        finally:
            await driver.close()
        return got

    @case()
    async def test_publishing_while_the_broker_is_away_is_decided_for_each_message(self, rig: Rig) -> None:
        line = await Line(rig).open()
        results: list[Any] = []
        doubtful: set[str] = set()
        async with rig.suite.broken(rig.place):
            began = time.monotonic()
            results += await line.queue.publish_many([1, 2, 3], publish_timeout=2.0)
            alone = (
                await asyncio.gather(line.queue.publish(4, id="alone", publish_timeout=2.0), return_exceptions=True)
            )[0]
            assert time.monotonic() - began < 4.0 + rig.suite.patience
        assert isinstance(alone, BrokerUnavailableError | BrokerTimeoutError)
        assert (alone.message_id, alone.retryable) == ("alone", True)
        if alone.outcome == "unknown":
            doubtful.add("alone")
        assert all(isinstance(result, Rejected | Unknown) for result in results), results
        doubtful |= {result.id for result in results if isinstance(result, Unknown)}
        confirmed = await self._publish_again(line)
        found = set(await rig.drain())
        assert {confirmed} <= found <= {confirmed, *doubtful}

    async def _publish_again(self, line: Line) -> str:
        """As soon as the broker is back; a driver may need a moment to notice."""
        end = time.monotonic() + line.rig.suite.patience * 2
        while True:
            (result,) = await line.queue.publish_many([Envelope(body="back", id="back")], publish_timeout=5.0)
            if isinstance(result, Confirmed):
                return result.id
            assert isinstance(result.error, DriverError), result
            assert result.error.retryable, result
            assert time.monotonic() < end, f"never back: {result}"
            await asyncio.sleep(0.05)

    @case()
    async def test_consuming_goes_on_after_the_broker_was_away(self, rig: Rig) -> None:
        line = await Line(rig).open()
        seen, handle = recorder()
        async with line.consumer(handle, concurrency=2, prefetch=5):
            await line.publish(*range(10))
            await line.until(lambda: len(set(seen)) == 10)
            async with rig.suite.broken(rig.place):
                await asyncio.sleep(0.3)
            await self._publish_again(line)
            await line.publish(*range(10, 20))
            await line.until(lambda: {*range(20), "back"} <= set(seen), patience=4)
        assert set(seen) == {*range(20), "back"}

    @case("ordering_key")
    async def test_order_per_key_holds_for_many_keys_and_consumers(self, rig: Rig) -> None:
        """10,000 messages over 100 keys, three consumers of 16 workers, and one of fifty deliveries fails."""
        await self._keyed(rig, rig.suite.many, keys=100, failing=0.02)

    async def _keyed(self, rig: Rig, many: int, *, keys: int, failing: float) -> None:
        retry = Backoff(max(0.01, rig.suite.delay_grain), 60.0, 1.0, 0.0)
        spec = {"ordering": "key", "lease": 30.0}
        line = await Line(rig, spec=spec, max_attempts=1000, retry=retry).open()
        dice, lock = random.Random(7), threading.Lock()  # noqa: S311
        done: dict[int, list[int]] = defaultdict(list)
        running: Counter[int] = Counter()
        wrong: list[str] = []

        async def handle(body: list[int], context: Context) -> None:
            key, number = body
            with lock:
                running[key] += 1
                if running[key] > 1:
                    wrong.append(f"two of key {key} at once")
                fails = dice.random() < failing
            await asyncio.sleep(0)
            with lock:
                running[key] -= 1
                if not fails:
                    done[key].append(number)
            if fails:
                raise RuntimeError("at random")

        for start in range(0, many, 500):
            batch = [
                Outgoing(f"{number}", b"[%d,%d]" % (number % keys, number // keys), {}, 0.0, 0, f"key{number % keys}")
                for number in range(start, min(start + 500, many))
            ]
            assert await line.queue.forward(batch, timeout=30.0) == [None] * len(batch)
        queues = [line.queue, *[await line.queue_on(await rig.elsewhere(**spec)) for _ in range(2)]]
        async with AsyncExitStack() as stack:
            for queue in queues:
                await stack.enter_async_context(line.consumer(handle, queue=queue, concurrency=16, prefetch=64))
            await line.until(lambda: wrong or sum(map(len, done.values())) >= many, patience=rig.suite.case_timeout)
        assert wrong == []
        for key in range(keys):
            assert done[key] == list(range(len(range(key, many, keys)))), f"key {key} is out of order"
