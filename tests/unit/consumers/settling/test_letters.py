"""A dead letter leaves out what it can do without, until its queue takes it; one that no queue takes is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tasuki.consumers.fetching.window import MOST_PARKED
from tasuki.contracts.driver import Outgoing
from tasuki.contracts.handler import Context
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import DriverError, MessageTooLargeError, QueueNotFoundError
from tasuki.message import LEFT_OUT
from tasuki.queues.dead_letter import redriven
from tasuki.state.shared import SharedState
from tests.unit.consumers.model import ModelBroker, ModelDriver
from tests.unit.consumers.parts import Bench, clock_of_loop, make_bench

pytestmark = pytest.mark.anyio


class Small(ModelDriver):
    """Its dead-letter queue takes messages of so many bytes, headers included; or it is gone."""

    def __init__(self, most: int) -> None:
        super().__init__(ModelBroker(clock_of_loop()))
        self.most, self.is_gone = most, False
        self.tries = 0

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        if queue != "dead":
            return await super().publish(queue, batch)
        self.tries += 1
        if self.is_gone:
            return [QueueNotFoundError("the queue was deleted")] * len(batch)
        if any(len(each.body) + len(str(each.headers)) > self.most for each in batch):
            return [MessageTooLargeError(f"more than {self.most} bytes")] * len(batch)
        return await super().publish(queue, batch)


async def fail(body: Any, context: Context) -> None:
    raise ValueError("boom " * 500)


async def bench_of(most: int, **options: Any) -> tuple[Bench, Small]:
    driver = Small(most)
    return await make_bench(fail, driver=driver, max_attempts=1, **options), driver


@pytest.mark.parametrize(
    ("most", "left_out"),
    [
        (100_000, None),
        (6500, "attempts"),
        (5000, "attempts traceback"),
        (3000, "attempts traceback error"),
        (800, "attempts traceback error headers"),
    ],
)
async def test_a_letter_shrinks_until_it_fits(most: int, left_out: str | None) -> None:
    shelf = MemoryDriver("app:state", clock=clock_of_loop())
    await shelf.open()
    bench, driver = await bench_of(most, state=SharedState(shelf, "state", clock_of_loop()))
    async with bench:
        await bench.queue.publish(1, {"note": "n" * 1500, "message_type": "send"}, id="m", key="k")
        async with asyncio.timeout(60):
            while not driver.broker.ids("dead"):
                await asyncio.sleep(0.01)
        (stored,) = driver.broker.queues["dead"].stored
        await bench.empty()
    assert stored.headers.get(LEFT_OUT) == left_out
    assert (stored.body, stored.headers["x_dead_letter_reason"], stored.headers["x_original_queue"]) == (
        b"1", "max_attempts", "app:tasks",
    )  # fmt: skip
    assert ("note" in stored.headers) == (left_out is None or "headers" not in left_out)
    again = redriven(Outgoing(stored.id, stored.body, stored.headers))
    assert (again.key, again.headers["message_type"], LEFT_OUT in again.headers) == ("k", "send", False)


async def test_a_letter_that_no_queue_takes_leaves_its_place_to_other_messages(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench, driver = await bench_of(100_000)
    driver.is_gone = True
    handled: list[int] = []

    async def run(body: int, context: Context) -> None:
        handled.append(body)
        if body < 30:
            raise ValueError("boom")

    bench.handler.run = run
    async with bench:
        await bench.queue.publish_many(list(range(80)))
        async with asyncio.timeout(60):
            while len(handled) < 80:
                await asyncio.sleep(0.01)
        await asyncio.sleep(5)
        assert (bench.consumer.now.held, bench.run.window.parked, bench.consumer.now.unsettled) == (30, 30, 0)
        assert not bench.consumer.now.is_filled_by_kept
        driver.is_gone = False
        async with asyncio.timeout(31):
            while bench.consumer.now.held:
                await asyncio.sleep(0.01)
        assert len(driver.broker.ids("dead")) == 30
    assert handled == list(range(80))
    assert "cannot be dead-lettered yet, kept: QueueNotFoundError" in caplog.text


async def test_too_many_parked_letters_take_places_again() -> None:
    bench, driver = await bench_of(100_000)
    driver.is_gone = True
    async with bench:
        bench.run.window.parked = MOST_PARKED
        bench.run.window.held = MOST_PARKED
        await bench.queue.publish_many(list(range(100)))
        await asyncio.sleep(60)
        assert bench.consumer.now.is_filled_by_kept
        assert len(bench.handler.seen) == 20
        bench.run.window.parked = 0
        bench.run.window.held -= MOST_PARKED


async def test_a_letter_too_large_for_any_queue_is_kept_and_never_dropped() -> None:
    bench, driver = await bench_of(10)
    async with bench:
        await bench.queue.publish("x" * 100, id="m")
        await asyncio.sleep(60)
        assert (bench.run.window.parked, len(bench.handler.seen)) == (1, 1)
    assert driver.broker.ids("tasks") == ["m"]
