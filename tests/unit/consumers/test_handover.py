"""Dead letters and replies that go out together with the ack."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tasuki.consumers.delivery import Delivery
from tasuki.consumers.settling.handover import Moves
from tasuki.consumers.settling.settler import Settler
from tasuki.consumers.settling.verdict import Verdict
from tasuki.contracts.driver import Answers, Move, Outgoing, Receipt, Settlement
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerTimeoutError, DriverError
from tasuki.observe.events import EventRing
from tasuki.observe.metrics import ConsumerMetrics
from tests.unit.consumers.parts import clock_of_loop, make_queue

pytestmark = pytest.mark.anyio

HOLDER = SimpleNamespace(give_up=None, id="app:consumer", queue_id="app:tasks")
DEAD = Verdict("dead_letter", reason="rejected", error="no")
Results = Sequence[DriverError | None]


class Counting(MemoryDriver):
    """Counts its round trips, as a driver with a server would make them."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.trips: list[tuple[str, int]] = []
        self._is_moving = False

    async def _trip(self, verb: str, size: int) -> None:
        self.trips.append((verb, size))
        await asyncio.sleep(0)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        if not self._is_moving:
            await self._trip("publish", len(batch))
        return await super().publish(queue, batch)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        if not self._is_moving:
            await self._trip("settle", len(batch))
        return await super().settle(queue, batch)

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        await self._trip("move", len(batch))
        self._is_moving = True
        try:
            return await super().move(queue, batch)
        finally:
            self._is_moving = False


class Rig:
    def __init__(self, dead_on: Counting | None = None, driver: Counting | None = None, **dead_options: Any) -> None:
        self.driver = driver or Counting("one")
        self.dead_on = dead_on or self.driver
        self.queue = make_queue(self.driver, lease=30.0)
        self.dead = make_queue(self.dead_on, "dead", **dead_options)
        self.metrics = ConsumerMetrics(consumer="c", queue="q", driver="d")
        self.settled: list[Settlement] = []
        consumer: Any = SimpleNamespace(
            state=None,
            id="app:consumer",
            queue=self.queue,
            dead_letters=self.dead,
            metrics=self.metrics,
            events=EventRing(),
            clock=clock_of_loop(),
        )
        self.settler = Settler(
            consumer,
            on_settled=lambda batch, stale: self.settled.extend(batch),
            on_kept=lambda delivery, change: True,
        )

    async def hold(self, count: int) -> list[Delivery]:
        for queue in (self.queue, self.dead):
            await queue.driver.open()
            await queue.driver.declare(queue.spec)
        await self.queue.publish_many(list(range(count)))
        held = [Delivery(one, HOLDER, 0.0) for one in await self.driver.receive("tasks", count, 0)]
        self.driver.trips.clear()
        return held

    async def give_up(self, *deliveries: Delivery) -> None:
        task = asyncio.create_task(self.settler.run())
        for delivery in deliveries:
            self.settler.settle(delivery, DEAD)
        assert await self.settler.finish(5)
        task.cancel()
        await asyncio.wait([task])


async def test_a_dead_letter_is_one_round_trip() -> None:
    rig = Rig()
    (delivery,) = await rig.hold(1)
    await rig.give_up(delivery)
    assert rig.driver.trips == [("move", 1)]
    assert [message.id for message in await rig.driver.peek("dead", 9)] == [delivery.received.id]
    assert (len(rig.settled), rig.metrics.dead_lettered, rig.dead.metrics.published) == (1, 1, 1)


async def test_many_at_once_share_their_round_trips() -> None:
    rig = Rig()
    await rig.give_up(*await rig.hold(100))
    assert rig.driver.trips == [("move", 100)]


async def test_on_another_driver_the_ack_comes_after() -> None:
    other = Counting("other")
    rig = Rig(other)
    (delivery,) = await rig.hold(1)
    await rig.give_up(delivery)
    assert (other.trips, rig.driver.trips) == ([("publish", 1)], [("settle", 1)])


async def test_what_is_another_s_already_is_left_to_it(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    (delivery,) = await rig.hold(1)
    await rig.driver.close()
    await rig.driver.open()
    await rig.give_up(delivery)
    assert await rig.driver.peek("dead", 9) == []
    assert (len(rig.settled), rig.metrics.stale, rig.metrics.dead_lettered, rig.metrics.released) == (1, 1, 0, 0)
    assert "settled too late" in caplog.text


async def test_a_move_whose_answer_was_lost_is_no_late_settlement(caplog: pytest.LogCaptureFixture) -> None:
    class Unanswered(Counting):
        async def move(self, queue: str, batch: Sequence[Move]) -> Results:
            results = await super().move(queue, batch)
            if len(self.trips) == 1:
                raise BrokerTimeoutError("no answer", outcome="unknown")
            return results

    rig = Rig(driver=Unanswered("one"))
    (delivery,) = await rig.hold(1)
    await rig.give_up(delivery)
    assert rig.driver.trips == [("move", 1), ("move", 1)]
    assert [message.id for message in await rig.driver.peek("dead", 9)] == [delivery.received.id]
    assert (len(rig.settled), rig.metrics.stale, rig.metrics.dead_lettered) == (1, 0, 1)
    assert "settled too late" not in caplog.text


async def test_a_move_that_was_not_sent_before_the_stop_is_not_sent() -> None:
    rig = Rig(max_length=1)
    one, two = await rig.hold(2)
    await rig.give_up(one, two)
    assert [message.id for message in await rig.driver.peek("dead", 9)] == [one.received.id]
    assert (rig.metrics.dead_lettered, rig.metrics.released) == (1, 1)
    assert len(await rig.driver.receive("tasks", 9, 0)) == 1


async def test_too_few_results_of_a_driver_are_an_error_of_each_move() -> None:
    """Else their callers would wait forever, and hold the messages."""

    class Short(Counting):
        async def move(self, queue: str, batch: Sequence[Move]) -> Results:
            return [DriverError("no")]

    driver = Short("one")
    moves = Moves(make_queue(driver))
    sent = [asyncio.ensure_future(moves.move(Move(number, "dead", ()))) for number in range(2)]
    async with asyncio.timeout(60.0):
        results = await asyncio.gather(*sent, return_exceptions=True)
    assert [str(result) for result in results] == ["the driver returned 1 results for 2 moves"] * 2
