from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tasuki.backoff import UNTIL_BACK
from tasuki.consumers.fetching.fetcher import Fetcher
from tasuki.consumers.fetching.window import MOST_PARKED, MOST_PARKED_BYTES, DeliveryWindow, Keeping
from tasuki.contracts.driver import Received
from tasuki.errors import BrokerUnavailableError, DriverError, QueueNotFoundError
from tasuki.observe.events import EventRing
from tasuki.observe.metrics import ConsumerMetrics
from tests.unit.consumers.model import ModelBroker, ModelDriver
from tests.unit.consumers.parts import clock_of_loop, make_queue, now

pytestmark = pytest.mark.anyio


class Rig:
    def __init__(self, prefetch: int = 10, lease: float = 30.0) -> None:
        self.broker = ModelBroker(clock_of_loop())
        self.driver = ModelDriver(self.broker, trouble=self.trouble)
        self.queue = make_queue(self.driver, lease=lease)
        self.window = DeliveryWindow(prefetch)
        self.buffered = 0
        self.accepted: list[tuple[list[str], float]] = []
        self.errors: list[Exception] = []
        keeper = SimpleNamespace(check=lambda: None)
        consumer: Any = SimpleNamespace(
            id="app:consumer",
            queue=self.queue,
            keeper=keeper,
            clock=clock_of_loop(),
            metrics=ConsumerMetrics(consumer="app:consumer", queue="app:tasks", driver="app:broker"),
            events=EventRing(),
        )
        self.fetcher = Fetcher(consumer, window=self.window, buffered=lambda: self.buffered, accept=self.accept)

    def accept(self, received: list[Received], asked_at: float) -> None:
        self.window.held += len(received)
        self.accepted.append(([one.id for one in received], asked_at))

    async def trouble(self, verb: str, when: str) -> None:
        if verb == "receive" and self.errors:
            raise self.errors.pop(0)

    async def fill(self, count: int) -> None:
        await self.driver.declare(self.queue.spec)
        await self.queue.publish_many(list(range(count)))

    @property
    def limits(self) -> list[Any]:
        return [what for verb, what in self.driver.calls if verb == "receive"]

    def ids(self) -> list[int]:
        return [len(ids) for ids, _ in self.accepted]


async def running(rig: Rig, until: Callable[[], bool]) -> asyncio.Task[None]:
    task = asyncio.create_task(rig.fetcher.run())
    while not until():
        await asyncio.sleep(0.01)
    return task


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_asks_for_what_there_is_room_for_and_no_more_than_a_batch() -> None:
    rig = Rig(prefetch=10)
    await rig.fill(20)
    task = await running(rig, lambda: rig.window.held == 10)
    assert rig.limits == [7, 3]
    assert rig.ids() == [7, 3]
    await asyncio.sleep(60)
    assert rig.limits == [7, 3]
    await end(task)


async def test_asks_again_when_there_is_room() -> None:
    rig = Rig(prefetch=4)
    await rig.fill(20)
    task = await running(rig, lambda: rig.window.held == 4)
    rig.window.held, rig.buffered = 3, 4
    rig.window.prefetch = 8
    rig.window.held = 7
    rig.fetcher.room_made()  # too little while the buffer has work
    await asyncio.sleep(1)
    assert len(rig.accepted) == 1
    rig.buffered = 0
    rig.fetcher.room_made()
    rig.fetcher.room_made()
    await asyncio.sleep(1)
    assert rig.ids() == [4, 1]
    await end(task)


async def test_room_is_made_while_nobody_waits_for_it() -> None:
    rig = Rig()
    rig.fetcher.room_made()
    await rig.fill(0)
    task = await running(rig, lambda: bool(rig.limits))
    rig.fetcher.room_made()
    await end(task)


async def test_a_stop_between_room_and_its_news() -> None:
    rig = Rig(prefetch=1)
    await rig.fill(5)
    task = await running(rig, lambda: rig.window.held == 1)
    await end(task)
    rig.window.held = 0
    rig.fetcher.room_made()
    assert len(rig.accepted) == 1


async def test_the_time_is_that_before_it_asked() -> None:
    rig = Rig()
    await rig.fill(0)
    task = await running(rig, lambda: now() > 5)
    await rig.queue.publish(1)
    await asyncio.sleep(1)
    ((_, asked_at),) = rig.accepted
    assert asked_at <= 5
    await end(task)


@pytest.mark.parametrize(("lease", "wait"), [(300.0, 60.0), (1.0, 0.5)])
async def test_waits_no_longer_than_leaves_half_of_the_lease(lease: float, wait: float) -> None:
    rig = Rig(lease=lease)
    await rig.fill(0)
    task = await running(rig, lambda: now() >= 10 * wait)
    assert len(rig.limits) == pytest.approx(10, abs=2)
    await end(task)


async def test_the_waits_of_many_consumers_end_at_the_same_times(monkeypatch: pytest.MonkeyPatch) -> None:
    rig, ends = Rig(), []
    await rig.fill(0)
    receive = rig.driver.receive

    async def noted(queue: str, limit: int, wait: float) -> list[Received]:
        ends.append(round(now() + wait, 6))
        return await receive(queue, limit, wait)

    monkeypatch.setattr(rig.driver, "receive", noted)
    tasks = []
    for _ in range(100):
        tasks.append(asyncio.create_task(rig.fetcher.run()))
        await asyncio.sleep(0.01)
    await asyncio.sleep(100)
    for task in tasks:
        await end(task)
    assert len(ends) > 600
    assert len(set(ends)) < 20, "a driver ends and begins many of them at once"


async def test_a_broker_that_is_away_is_waited_for_less_and_less_often_and_its_return_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig()
    await rig.fill(3)
    rig.errors = [BrokerUnavailableError("away") for _ in range(9)]
    caplog.set_level(logging.INFO, "tasuki.consumer")
    task = await running(rig, lambda: rig.fetcher.failures == 9)
    assert not rig.accepted
    started = now()
    assert 3 < started < 12
    await asyncio.sleep(UNTIL_BACK.max_delay)
    assert rig.ids() == [3]
    assert rig.fetcher.failures == 0
    levels = [record.levelname for record in caplog.records]
    assert levels.count("WARNING") == 2
    assert caplog.records[-1].getMessage() == "consuming again"
    await end(task)


@pytest.mark.parametrize("error", [QueueNotFoundError("gone"), DriverError("odd"), KeyError("defect")])
async def test_what_trying_again_cannot_mend_is_raised(error: Exception) -> None:
    rig = Rig()
    await rig.fill(1)
    rig.errors = [error]
    with pytest.raises(type(error)):
        await rig.fetcher.run()


async def test_a_stop_that_comes_too_late_for_a_receive() -> None:
    rig = Rig(prefetch=20)
    await rig.fill(20)

    async def deaf(verb: str, when: str) -> None:
        if verb == "receive":
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                pass

    rig.driver.trouble = deaf
    task = asyncio.create_task(rig.fetcher.run())
    await asyncio.sleep(0.5)
    rig.fetcher.stop()
    task.cancel()
    await task
    assert rig.ids() == [7]


def held(prefetch: int, count: int) -> DeliveryWindow:
    window = DeliveryWindow(prefetch)
    window.held = count
    return window


@pytest.mark.parametrize(
    ("prefetch", "count", "buffered", "wanted"),
    [(10, 0, 0, 10), (10, 10, 0, 0), (10, 11, 0, 0), (12, 10, 1, 0), (12, 9, 1, 3), (12, 11, 0, 1), (1, 0, 0, 1)],
)
def test_any_room_is_used_and_with_work_in_the_buffer_a_quarter_at_once(
    prefetch: int, count: int, buffered: int, wanted: int
) -> None:
    assert held(prefetch, count).wanted(buffered=buffered) == wanted


@pytest.mark.parametrize(("begin", "end", "each"), [("kept", "ended", 10), ("owed", "paid", 0)])
def test_as_many_kept_or_owed_ones_as_the_prefetch_take_no_place(begin: Keeping, end: Keeping, each: int) -> None:
    """A kept delivery is held, too; one that is owed for has been acked."""
    window = held(10, each)
    for _ in range(10):
        assert window.keep(begin, 1)
    assert (window.wanted(buffered=0), window.is_filled_by_kept) == (10, False)
    window.held += each
    for _ in range(10):
        window.keep(begin, 1)
    assert (window.wanted(buffered=0), window.is_filled_by_kept) == (0, True)
    for _ in range(20):
        window.keep(end, 1)
    assert not window.is_filled_by_kept
    assert (window.kept, window.owed) == (0, 0)


def test_parked_ones_take_no_place_at_all() -> None:
    window = held(10, 300)
    for _ in range(300):
        window.keep("kept", 5)
        assert window.keep("parked", 5)
    assert (window.wanted(buffered=0), window.parked_bytes, window.is_filled_by_kept) == (10, 1500, False)
    for _ in range(300):
        window.keep("unparked", 5)
    assert (window.parked, window.parked_bytes, window.kept) == (0, 0, 0)


def test_neither_more_than_a_thousand_nor_more_than_64_mib_are_parked() -> None:
    window = held(10, 2000)
    window.kept = 2000
    assert window.keep("parked", MOST_PARKED_BYTES)
    assert not window.keep("parked", 1)
    window.keep("unparked", MOST_PARKED_BYTES)
    assert all(window.keep("parked", 1) for _ in range(MOST_PARKED))
    assert not window.keep("parked", 1)
