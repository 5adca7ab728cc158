"""More cases: waiting, cancelling, closing, sharing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from functools import partial

from tasuki.contracts.driver import Ack, Nack, Release
from tasuki.errors import BrokerUnavailableError, DriverError
from tasuki.testing.conformance.rig import Rig, Suite, cancelled, case, ended, ids, raises, turn, verbs

_SOON = 1.5
"""Seconds within which a waiting receive must see a message of another process at least once."""


class Running(Suite):
    """What happens at the same time."""

    @case()
    async def test_publish_before_consume(self, rig: Rig) -> None:
        published = await rig.publish(*rig.messages(10))
        assert sorted(ids(await rig.take(10))) == published

    @case()
    async def test_consume_before_publish(self, rig: Rig) -> None:
        waiting = asyncio.create_task(rig.take(3))
        await asyncio.sleep(0.02)
        began = time.monotonic()
        published = await rig.publish(*rig.messages(3))
        assert sorted(ids(await waiting)) == published
        assert time.monotonic() - began < rig.suite.patience / 2

    @case()
    async def test_receive_returns_as_soon_as_there_is_one(self, rig: Rig) -> None:
        await rig.publish(rig.message())
        began = time.monotonic()
        assert len(await rig.driver.receive(rig.queue, 100, 30.0)) == 1
        assert time.monotonic() - began < rig.suite.patience

    @case()
    async def test_a_nack_and_a_release_wake_a_waiting_receive(self, rig: Rig) -> None:
        await rig.publish(rig.message())
        got = await rig.one()
        for settlement in (Nack, Release):
            got = await rig.woken(partial(rig.driver.settle, rig.queue, [settlement(got.receipt)]))

    @case()
    async def test_many_waiting_receivers_get_all(self, rig: Rig) -> None:
        waiting = [asyncio.create_task(rig.driver.receive(rig.queue, 1, 30.0)) for _ in range(20)]
        await asyncio.sleep(0.02)
        published = await rig.publish(*rig.messages(20))
        async with asyncio.timeout(rig.suite.patience):
            answers = await asyncio.gather(*waiting)
        assert sorted(received.id for answer in answers for received in answer) == published

    @case()
    async def test_a_cancelled_waiter_passes_its_message_on(self, rig: Rig) -> None:
        for turns in range(8):
            first = asyncio.create_task(rig.driver.receive(rig.queue, 1, 30.0))
            await asyncio.sleep(0.01)
            second = asyncio.create_task(rig.driver.receive(rig.queue, 1, 30.0))
            await asyncio.sleep(0.01)
            published = await rig.publish(rig.message())
            await turn(turns)
            kept = await cancelled(first)
            if isinstance(kept, list):
                await cancelled(second)
            else:
                async with asyncio.timeout(rig.suite.patience):
                    kept = await second
            assert ids(kept) == published
            await rig.ack(*kept)

    @case()
    async def test_what_a_cancelled_receive_took_does_not_count(self, rig: Rig) -> None:
        for turns in range(10):
            await rig.publish(rig.message())
            task = asyncio.create_task(rig.driver.receive(rig.queue, 1, 30.0))
            await turn(turns)
            kept = await cancelled(task)
            got = kept[0] if isinstance(kept, list) else await rig.one()
            assert got.attempt == 1
            await rig.ack(got)

    @case()
    async def test_a_cancelled_publish_stores_all_or_nothing_of_a_message(self, rig: Rig) -> None:
        confirmed: list[str] = []
        doubtful: list[str] = []
        for turns in range(10):
            batch = rig.messages(3)
            task = asyncio.create_task(rig.publish(*batch))
            await turn(turns)
            answer = await cancelled(task)
            (confirmed if isinstance(answer, list) else doubtful).extend(message.id for message in batch)
            confirmed += await rig.publish(rig.message())
        found = Counter(await rig.drain())
        assert set(confirmed) <= set(found) <= {*confirmed, *doubtful}
        assert set(found.values()) == {1}

    @case()
    async def test_a_cancelled_settle_is_whole(self, rig: Rig) -> None:
        for turns in range(8):
            await rig.publish(rig.message())
            got = await rig.one()
            task = asyncio.create_task(rig.driver.settle(rig.queue, [Ack(got.receipt)]))
            await turn(turns)
            await cancelled(task)
            await rig.driver.settle(rig.queue, [Ack(got.receipt)])
            await rig.nothing()

    @case()
    async def test_publishing_and_settling_at_once(self, rig: Rig) -> None:
        found: Counter[str] = Counter()

        async def publish(worker: int) -> list[str]:
            return [(await rig.publish(rig.message(id=f"{worker}-{number}")))[0] for number in range(25)]

        async def consume() -> None:
            while len(found) < 250:
                got = await rig.driver.receive(rig.queue, 3, 0.1)
                settlements = [Ack(item.receipt) if item.attempt > 1 else Nack(item.receipt) for item in got]
                found.update(item.id for item in got if item.attempt > 1)
                assert list(await rig.driver.settle(rig.queue, settlements)) == []
                await asyncio.sleep(0)

        async with asyncio.timeout(rig.suite.patience * 6):
            consumers = [asyncio.create_task(consume()) for _ in range(5)]
            published = await asyncio.gather(*(publish(worker) for worker in range(10)))
            await asyncio.gather(*consumers)
        assert found == Counter(id for part in published for id in part)

    @case()
    async def test_a_closed_driver_is_unavailable(self, rig: Rig) -> None:
        await rig.driver.close()
        for verb in verbs(rig, rig.queue):
            await raises(BrokerUnavailableError, rig, verb)

    @case()
    async def test_an_inspection_before_open_is_unavailable(self, rig: Rig) -> None:
        """The driver cannot say that there is no such queue."""
        place = rig.place / "unopened"
        place.mkdir()
        unopened = rig.suite.make_driver(place, rig.clock)
        for name in (rig.queue, "nowhere"):
            await raises(BrokerUnavailableError, rig, partial(unopened.inspect, rig.spec(name=name)))

    @case()
    async def test_opening_twice_and_again_keeps_messages(self, rig: Rig) -> None:
        published = await rig.publish(*rig.messages(3))
        await rig.driver.open()
        await rig.reopen()
        await rig.driver.open()
        assert sorted(ids(await rig.take(3))) == published

    @case()
    async def test_closing_twice_at_once(self, rig: Rig) -> None:
        published = await rig.publish(rig.message())
        async with asyncio.timeout(rig.suite.patience):
            await asyncio.gather(*(rig.driver.close() for _ in range(3)))
        await rig.driver.open()
        assert ids(await rig.take()) == published

    @case()
    async def test_01_opens_at_the_same_time_leave_nothing_behind_the_close(self, rig: Rig) -> None:
        published = await rig.publish(rig.message())
        await rig.driver.close()
        before = asyncio.all_tasks()
        await asyncio.gather(*(rig.driver.open() for _ in range(3)))
        assert ids(await rig.take()) == published
        await rig.driver.close()
        async with asyncio.timeout(rig.suite.patience):
            while asyncio.all_tasks() - before:  # noqa: ASYNC110 - tasks of a session that the driver has lost
                await asyncio.sleep(0.01)

    @case()
    async def test_a_queue_declared_before_open(self, rig: Rig) -> None:
        await rig.driver.close()
        await rig.declare(name=rig.other)
        await rig.driver.open()
        await rig.publish(rig.message(), queue=rig.other)
        await rig.take(queue=rig.other)

    @case()
    async def test_a_close_does_not_count_and_voids_receipts(self, rig: Rig) -> None:
        await rig.publish(rig.message())
        old = await rig.one()
        await rig.reopen()
        assert list(await rig.driver.settle(rig.queue, [Ack(old.receipt)])) == [old.receipt]
        assert (await rig.one()).attempt == 1

    @case()
    async def test_a_hundred_closes_under_load_lose_nothing(self, rig: Rig) -> None:
        confirmed: list[str] = []
        acked: list[str] = []
        over = asyncio.Event()

        async def publish() -> None:
            while not over.is_set():
                message = rig.message()
                try:
                    results = await rig.driver.publish(rig.queue, [message])
                except DriverError:
                    await asyncio.sleep(0.001)
                    continue
                confirmed.extend([message.id] * (not any(results)))
                await asyncio.sleep(0)

        async def consume() -> None:
            while not over.is_set():
                try:
                    got = await rig.driver.receive(rig.queue, 2, 0.05)
                    stale = await rig.driver.settle(rig.queue, [Ack(item.receipt) for item in got]) if got else ()
                except DriverError:
                    await asyncio.sleep(0.001)
                    continue
                acked.extend(item.id for item in got if item.receipt not in stale)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            group.create_task(publish())
            group.create_task(consume())
            for _ in range(100):
                await asyncio.sleep(0.002)
                await rig.reopen()
            over.set()
        left = await rig.drain()
        assert set(confirmed) <= {*acked, *left}
        assert not set(acked) & set(left)

    @case("multi_process")
    async def test_two_drivers_share_a_queue(self, rig: Rig) -> None:
        other = await rig.another()
        published = await rig.publish(*rig.messages(10))
        mine, theirs = await rig.take(5), await rig.take(5, driver=other)
        assert sorted(ids([*mine, *theirs])) == published
        await rig.ack(*mine)
        assert list(await other.settle(rig.queue, [Ack(item.receipt) for item in theirs])) == []
        await rig.nothing(driver=other)

    @case("multi_process")
    async def test_another_driver_sees_a_message_soon(self, rig: Rig) -> None:
        other = await rig.another()
        took: list[float] = []
        for _ in range(4):
            waiting = asyncio.create_task(rig.one(driver=other))
            await asyncio.sleep(0.05)
            began = time.monotonic()
            published = await rig.publish(rig.message())
            got = await waiting
            took.append(time.monotonic() - began)
            assert [got.id] == published
            await other.settle(rig.queue, [Ack(got.receipt)])
        # The quickest, so that a busy machine does not decide: a driver that polls slowly is slow each time.
        assert min(took) < _SOON, f"the quickest of {len(took)} messages came after {min(took):.1f} seconds"

    @case("multi_process")
    async def test_a_driver_that_waits_no_more_keeps_no_message_from_another(self, rig: Rig) -> None:
        """Its receives ended, one by itself and one that was cancelled; a wake-up that still reaches it is not lost."""
        other = await rig.another()
        for is_waiting in (True, False):
            took: list[float] = []
            for _ in range(4):
                assert await other.receive(rig.queue, 1, 0.1) == []
                given_up = asyncio.create_task(other.receive(rig.queue, 1, 30.0))
                waiting = [asyncio.create_task(rig.one())] if is_waiting else []
                await asyncio.sleep(0.1)
                await cancelled(given_up)
                began = time.monotonic()
                published = await rig.publish(rig.message())
                await asyncio.sleep(0.05)
                got = await (waiting[0] if is_waiting else rig.one())
                took.append(time.monotonic() - began)
                assert [got.id] == published
                await rig.ack(got)
            assert min(took) < _SOON, f"the quickest of {len(took)} messages came after {min(took):.1f} seconds"

    @case("multi_process")
    async def test_what_another_driver_held_comes_back_when_it_closes(self, rig: Rig) -> None:
        other = await rig.another()
        published = await rig.publish(*rig.messages(3))
        await rig.take(3, driver=other)
        await rig.nothing()
        await other.close()
        assert sorted(ids(await rig.take(3))) == published

    @case("multi_process")
    async def test_a_waiting_receive_does_not_take_what_its_close_gives_back(self, rig: Rig) -> None:
        other = await rig.another(lease=300.0)
        published = await rig.publish(rig.message())
        await rig.one(driver=other)
        waiting = asyncio.create_task(other.receive(rig.queue, 1, 30.0))
        await asyncio.sleep(0.2)
        await other.close()
        assert ids(await rig.take()) == published
        await ended(waiting)
