"""More cases: duplicates by id, and queues that are deleted."""

from __future__ import annotations

import asyncio
from unittest import SkipTest

from tasuki.contracts.driver import Ack, Nack, Release
from tasuki.errors import BrokerUnavailableError, QueueFullError, QueueNotFoundError
from tasuki.testing.conformance.rig import Rig, Suite, case, ended, ids


class Duplicates(Suite):
    """An id that was published before, and one that never was."""

    @case("dedup")
    async def test_an_id_may_come_again_after_the_window(self, rig: Rig) -> None:
        if rig.driver.capabilities.dedup_window:
            raise SkipTest("not applicable: the window of this broker is fixed, and too long to be waited for")
        await rig.declare(dedup_window=rig.long)
        await rig.publish(rig.message(id="a"))
        await rig.ack(await rig.one())
        await rig.advance(rig.long * 0.5)
        await rig.publish(rig.message(id="a"))
        await rig.nothing()
        await rig.advance(rig.long * 0.8)  # the window began with the first one, not with the duplicate
        await rig.publish(rig.message(id="a"))
        assert (await rig.one()).id == "a"

    @case("dedup")
    async def test_a_forced_duplicate_is_stored_each_time(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window)
        await rig.publish(rig.message(id="a"))
        await rig.publish(*(rig.message(id="a", deduplicate=False) for _ in range(2)))
        await rig.publish(rig.message(id="a", deduplicate=False))
        assert ids(await rig.take(4)) == ["a"] * 4

    @case("dedup")
    async def test_duplicates_within_one_batch(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window)
        await rig.publish(*(rig.message(id=id) for id in ("a", "b", "a", "c", "b", "a")))
        await rig.only("a", "b", "c")

    @case("dedup")
    async def test_a_duplicate_of_a_delivery_that_failed(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window)
        await rig.publish(rig.message(id="a"))
        for settlement in (Nack, Release):
            got = await rig.one()
            await rig.publish(rig.message(id="a"))
            await rig.driver.settle(rig.queue, [settlement(got.receipt)])
        await rig.ack(await rig.one())
        await rig.nothing()

    @case("dedup")
    async def test_ids_of_other_queues_are_not_known(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window)
        await rig.declare(name=rig.other, dedup_window=rig.window)
        await rig.publish(rig.message(id="a"))
        await rig.publish(rig.message(id="a"), queue=rig.other)
        assert len(await rig.take()) == len(await rig.take(queue=rig.other)) == 1

    @case("dedup")
    async def test_a_window_can_be_given_and_taken_away(self, rig: Rig) -> None:
        await rig.publish(rig.message(id="a"), rig.message(id="a"))
        await rig.declare(dedup_window=rig.window)
        await rig.publish(rig.message(id="b"), rig.message(id="b"))
        await rig.declare()
        await rig.publish(rig.message(id="b"))
        assert sorted(ids(await rig.take(4))) == ["a", "a", "b", "b"]

    @case("dedup", "max_length")
    async def test_a_rejected_message_is_not_known_and_a_duplicate_needs_no_room(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window, max_length=2)
        await rig.publish(rig.message(id="a"))
        results = await rig.results(*(rig.message(id=id) for id in ("a", "b", "c", "c")))
        assert [type(result) for result in results] == [type(None)] * 2 + [QueueFullError] * 2
        await rig.publish(rig.message(id="b"))
        await rig.ack(*await rig.take(2))
        await rig.publish(rig.message(id="c"))
        assert (await rig.one()).id == "c"

    @case("dedup", "multi_process")
    async def test_ids_are_known_after_a_restart(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.driver.capabilities.dedup_window or 600.0)
        await rig.publish(*(rig.message(id=id) for id in "ab"))
        await rig.ack(await rig.one())
        await rig.restart()
        await rig.publish(*(rig.message(id=id) for id in "abc"))
        await rig.only("b", "c")

    @case("dedup")
    async def test_the_same_ids_from_many_publishers_at_once(self, rig: Rig) -> None:
        spec = rig.spec(dedup_window=rig.window)
        drivers = [rig.driver]
        if rig.driver.capabilities.multi_process:
            drivers += [await rig.another(), await rig.another()]
        for driver in drivers:
            await driver.declare(spec)

        async def publish(number: int) -> None:
            for index in range(10):
                driver = drivers[(number + index) % len(drivers)]
                assert not any(await driver.publish(rig.queue, [rig.message(id=f"id-{index}")]))

        await asyncio.gather(*(publish(number) for number in range(10)))
        await rig.only(*(f"id-{index}" for index in range(10)))

    @case("dedup")
    async def test_a_duplicate_of_a_delayed_message(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window)
        await rig.publish(rig.message(id="a", delay=rig.long), rig.message(id="a"))
        await rig.nothing()
        await rig.advance(rig.long * 1.1)
        await rig.ack(await rig.one())
        await rig.nothing()

    @case()
    async def test_deleting_wakes_whoever_waits_and_leaves_other_queues_alone(self, rig: Rig) -> None:
        await rig.declare(name=rig.other)
        await rig.publish(rig.message(), queue=rig.other)
        waiting = asyncio.create_task(rig.driver.receive(rig.queue, 1, 30.0))
        await asyncio.sleep(0.02)
        await rig.driver.delete(rig.queue)
        async with asyncio.timeout(rig.suite.patience):
            answer = await ended(waiting)
        assert answer == [] or isinstance(answer, QueueNotFoundError | BrokerUnavailableError)
        await rig.ack(*await rig.take(queue=rig.other), queue=rig.other)

    @case("multi_process")
    async def test_what_another_driver_does_with_a_deleted_queue_harms_no_other(self, rig: Rig) -> None:
        other = await rig.another()
        for driver in (rig.driver, other):
            await driver.declare(rig.spec(name=rig.other))
        await rig.publish(rig.message())
        held = await rig.one(driver=other)
        await rig.driver.delete(rig.queue)
        await rig.publish(rig.message(id="x"), queue=rig.other)
        try:
            await other.settle(rig.queue, [Ack(held.receipt)])
            await other.publish(rig.queue, [rig.message(id="late")])
        except (QueueNotFoundError, BrokerUnavailableError):
            pass
        assert ids(await rig.take(queue=rig.other, driver=other)) == ["x"]
        await rig.declare()
        await rig.publish(rig.message(id="new"))
        assert "new" in await rig.drain()
