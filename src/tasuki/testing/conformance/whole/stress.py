"""Cases of the whole way under stress: stops, a blocked loop, an unavailable broker, many keys at once."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from typing import Any

from tasuki.backoff import Backoff
from tasuki.contracts.driver import Outgoing
from tasuki.contracts.handler import Context
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, DriverError
from tasuki.queues.messages.message_builder import Envelope
from tasuki.queues.result import Confirmed, Rejected, Unknown
from tasuki.testing.conformance.rig import Rig, Suite, case, ids
from tasuki.testing.conformance.whole.line import Line, recorder


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
