"""Places that workers keep: no message starts on one that others have, or may have by now."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.clock import SystemClock
from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.fetching.limited import LEASE, LeasedPlaces
from tasuki.contracts.driver import Limit, Received
from tasuki.contracts.handler import Context
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.state.shared import SharedState
from tests.support.narrow import present
from tests.unit.consumers.parts import Gate, clock_of_loop
from tests.unit.consumers.test_limited import KEY, Here, Shop

pytestmark = pytest.mark.anyio


async def test_a_lost_place_lets_no_other_message_start(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    shop = Shop(Limit(concurrency=1), run=gate)
    store = await shop.open(workers=1)
    await shop.publish(3)
    while not shop.running:
        await asyncio.sleep(0.01)
    shop.away = True
    await asyncio.sleep(2 * LEASE)
    shop.away = False
    assert await store.hold(KEY, "other", places=1, lease=10 * LEASE) is not None
    await asyncio.sleep(LEASE)
    gate.open.set()
    await asyncio.sleep(LEASE)
    assert len(shop.starts) == 1, "the place is the other's"
    lost = [record.getMessage() for record in caplog.records if "a place was lost" in record.getMessage()]
    assert lost == ["a place was lost, as its lease could not be renewed in time: more than 1 messages may be held"]
    await store.release(KEY, "other")
    await shop.handled(3)
    await shop.close()


async def test_so_does_one_that_ended_while_the_worker_stood_still(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stands_still(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("tasuki.consumers.fetching.limited.LeasedPlaces._renew", stands_still)
    gate = Gate()
    shop = Shop(Limit(concurrency=1), run=gate, options=ConsumerOptions(concurrency=1, prefetch=1))
    store = await shop.open(workers=1)
    await shop.publish(3)
    while not shop.running:
        await asyncio.sleep(0.01)
    await asyncio.sleep(LEASE + 0.5)
    assert await store.hold(KEY, "other", places=1, lease=10 * LEASE) is not None
    gate.open.set()
    await asyncio.sleep(LEASE)
    assert len(shop.starts) == 1, "the place is the other's"
    await shop.close()


async def test_the_places_that_were_kept_are_used_on() -> None:
    gates = Gate(), Gate()

    async def work(body: int, context: Context) -> None:
        if body < 2:
            await gates[body](body, context)

    shop = Shop(Limit(concurrency=2), run=work, options=ConsumerOptions(concurrency=2, prefetch=2))
    store = await shop.open(workers=1)
    await shop.publish(10)
    while shop.running < 2:
        await asyncio.sleep(0.01)
    places = present(present(shop.benches[0].run.fetcher.limited).places)
    await store.release(KEY, next(iter(places._held)))
    assert await store.hold(KEY, "other", places=2, lease=100 * LEASE) is not None
    await asyncio.sleep(LEASE)
    gates[0].open.set()
    await asyncio.sleep(1.0)
    assert len(shop.starts) == 2, "the place that is left is for the message that runs"
    gates[1].open.set()
    await shop.handled(10)
    await shop.close()


@pytest.mark.parametrize("slow", ["hold", "receive"])
async def test_no_place_is_given_away_that_is_being_taken_for_a_message(slow: str) -> None:
    async def work(body: int, context: Context) -> None:
        await asyncio.sleep((body * 7 % 13) * 0.01)

    shop = Shop(Limit(concurrency=8), run=work, options=ConsumerOptions(concurrency=8, prefetch=8))
    store = await shop.open(workers=3)
    hold, receive = store.hold, shop.driver.receive

    async def slow_hold(*args: Any, **options: Any) -> Any:
        await asyncio.sleep(0.009)
        return await hold(*args, **options)

    async def slow_receive(queue: str, limit: int, wait: float) -> list[Received]:
        await asyncio.sleep(0.05)
        return await receive(queue, limit, wait)

    if slow == "hold":
        store.hold = slow_hold  # type: ignore[method-assign]
    else:
        shop.driver.receive = slow_receive  # type: ignore[method-assign]
    await shop.publish(500)
    await shop.handled(500)
    assert 6 <= shop.most <= 8
    await shop.close()


async def test_a_place_whose_taking_was_interrupted_is_given_back() -> None:
    driver = MemoryDriver("app:driver", clock=clock_of_loop())
    await driver.open()
    store = await SharedState(driver, "state", clock_of_loop()).store()
    places = LeasedPlaces(KEY, 2, clock_of_loop(), thread=Here)
    assert await places.take(store, 1) == 1
    hold = store.hold

    async def answer_lost(*args: Any, **options: Any) -> Any:
        await hold(*args, **options)
        await asyncio.Event().wait()

    store.hold = answer_lost  # type: ignore[method-assign]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(places.take(store, 1), 1.0)
    await asyncio.sleep(0.1)
    assert await hold(KEY, "other", places=2, lease=1.0) is not None
    store.hold = hold  # type: ignore[method-assign]
    await places.close()
    await driver.close()


@pytest.mark.parametrize("count", [1, 2])
async def test_places_that_are_given_back_while_one_is_renewed_are_free(count: int) -> None:
    """A renewal that follows the release would take a place again, for no message."""
    driver = MemoryDriver("app:driver", clock=clock_of_loop())
    await driver.open()
    store = await SharedState(driver, "state", clock_of_loop()).store()
    places = LeasedPlaces(KEY, count, clock_of_loop(), thread=Here)
    assert await places.take(store, count) == count
    hold, renewing = store.hold, asyncio.Event()

    async def slow(*args: Any, **options: Any) -> Any:
        renewing.set()
        await asyncio.sleep(1.0)
        return await hold(*args, **options)

    store.hold = slow  # type: ignore[method-assign]
    await renewing.wait()
    places.give(count)
    await asyncio.sleep(3.0)
    assert None not in [await hold(KEY, f"{number}", places=count, lease=1.0) for number in range(count)]
    await places.close()
    await driver.close()


def test_a_thread_of_its_own_releases_places() -> None:
    async def check() -> None:
        driver = MemoryDriver("app:driver", clock=SystemClock())
        await driver.open()
        store = await SharedState(driver, "state", SystemClock()).store()
        places = LeasedPlaces(KEY, 2, SystemClock())
        assert await places.take(store, 3) == len(places) == 2
        places.give(1)
        await places.close()
        assert None not in [await store.hold(KEY, f"{number}", places=2, lease=1.0) for number in range(2)]
        await places.close()
        await driver.close()

    asyncio.run(check())
