"""The clauses of the driver contract, each as a test of the same number."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Literal

from tasuki.contracts.driver import Ack, Nack, Release, Settlement
from tasuki.errors import BrokerUnavailableError, QueueFullError, QueueNotFoundError
from tasuki.testing.conformance.killed import Holder, killed
from tasuki.testing.conformance.rig import Kind, Rig, Suite, cancelled, case, ended, has, ids, raises, turn, verbs

_KINDS: tuple[Kind, ...] = (Nack, Release, Ack)


class Clauses(Suite):
    """Clauses 1 to 23 and 26; other files have the others, by topic."""

    @case()
    async def test_01_declaring_again_loses_nothing(self, rig: Rig) -> None:
        published = await rig.publish(*rig.messages(3))
        await rig.declare()
        await rig.declare(lease=rig.long * 2)
        assert ids(await rig.take(3)) == published

    @case()
    async def test_02_body_id_and_headers_arrive_unchanged(self, rig: Rig) -> None:
        sent = rig.message(bytes(range(256)) * 4, id="Ünïcode-🎌", headers={"t": "襷", "i": -1, "f": 0.5, "b": False})
        await rig.publish(sent)
        got = await rig.one()
        assert (got.id, got.body, got.headers) == (sent.id, sent.body, sent.headers)

    @case()
    async def test_03_at_most_limit_and_an_empty_receive_waits(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(5))
        got = await rig.driver.receive(rig.queue, 3, rig.suite.patience)
        assert 1 <= len(got) <= 3
        await rig.take(5 - len(got))
        began = time.monotonic()
        assert await rig.driver.receive(rig.queue, 5, 0.2) == []
        assert 0.18 <= time.monotonic() - began < 0.2 + rig.suite.patience

    @case()
    async def test_04_a_message_is_with_one_receiver(self, rig: Rig) -> None:
        await rig.publish(rig.message())
        got = await rig.one()
        await rig.nothing()
        if has(rig.driver, "leases"):
            await rig.advance(rig.long * 0.8)
            await rig.nothing()
            await rig.advance(rig.long * 0.4)
            assert (await rig.one()).id == got.id

    @case()
    async def test_05_acked_is_gone(self, rig: Rig) -> None:
        await rig.publish(rig.message())
        await rig.ack(await rig.one())
        await rig.nothing()
        await rig.advance(rig.long * 2)
        await rig.nothing()
        await rig.counts(0, 0, 0)
        # A broker without leases requeues held messages when the driver closes.
        await rig.reopen()
        await rig.nothing()

    @case()
    async def test_06_nacked_without_delay_is_back_at_once(self, rig: Rig) -> None:
        await rig.publish(rig.message())
        got = await rig.one()
        assert list(await rig.driver.settle(rig.queue, [Nack(got.receipt)])) == []
        assert (await rig.one()).id == got.id

    @case()
    async def test_07_delayed_is_hidden_for_at_least_the_delay(self, rig: Rig) -> None:
        began = rig.clock.monotonic()  # where cases really wait, the broker's answers take time as well
        await rig.publish(rig.message(delay=rig.long))
        await rig.nothing()
        await rig.advance(began + rig.long * 0.85 - rig.clock.monotonic())
        await rig.nothing()
        await rig.advance(rig.long * 0.25)
        got = await rig.one()
        began = rig.clock.monotonic()
        await rig.driver.settle(rig.queue, [Nack(got.receipt, rig.long)])
        await rig.advance(began + rig.long * 0.85 - rig.clock.monotonic())
        await rig.nothing()
        await rig.advance(rig.long * 0.25)
        assert (await rig.one()).id == got.id

    @case()
    async def test_08_attempts_rise_and_a_release_does_not_count(self, rig: Rig) -> None:
        await rig.publish(rig.message())
        for expected, number in ((1, 0), (2, 1), (2, 0), (3, 1), (3, 2)):
            got = await rig.one()
            assert got.attempt == expected
            await rig.driver.settle(rig.queue, [_KINDS[number](got.receipt)])

    @case()
    async def test_08_a_release_counts_only_where_the_driver_says_so(self, rig: Rig) -> None:
        """In each kind of queue, with and without a key: at SQS one kind differs from the others."""
        orderings: tuple[Literal["none", "key"], ...] = (
            ("none", "key") if has(rig.driver, "ordering_key") else ("none",)
        )
        for ordering in orderings:
            queue = f"{ordering}-{rig.queue}"
            await rig.declare(name=queue, ordering=ordering)
            for key in (None, "k"):
                await rig.publish(rig.message(key=key), queue=queue)
                expected = 1
                for _ in range(3):
                    (got,) = await rig.take(1, queue=queue)
                    assert got.attempt == expected, (ordering, key)
                    expected += rig.driver.counts_releases(queue, got.receipt)
                    assert list(await rig.driver.settle(queue, [Release(got.receipt)])) == []
                (got,) = await rig.take(1, queue=queue)
                assert got.attempt == expected, (ordering, key)
                assert list(await rig.driver.settle(queue, [Ack(got.receipt)])) == []

    @case()
    async def test_09_the_second_settlement_is_stale(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(3))
        for got, first in zip(await rig.take(3), _KINDS, strict=True):
            assert list(await rig.driver.settle(rig.queue, [first(got.receipt)])) == []
            for second in (Ack, Nack, Release):
                assert list(await rig.driver.settle(rig.queue, [second(got.receipt)])) == [got.receipt]

    @case()
    async def test_10_a_receipt_is_stale_after_another_delivery(self, rig: Rig) -> None:
        await rig.publish(rig.message())
        old = await rig.one()
        if has(rig.driver, "leases"):
            await rig.advance(rig.long * 1.2)
        else:
            await rig.driver.settle(rig.queue, [Nack(old.receipt)])
        new = await rig.one()
        for late in (Ack, Nack, Release):
            assert list(await rig.driver.settle(rig.queue, [late(old.receipt)])) == [old.receipt]
        await rig.nothing()
        await rig.ack(new)

    @case()
    async def test_11_extend_sets_the_lease_and_reports_stale_receipts(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(2))
        kept, done = await rig.take(2)
        await rig.ack(done)
        assert list(await rig.driver.extend(rig.queue, [done.receipt, kept.receipt], rig.long)) == [done.receipt]
        if has(rig.driver, "leases"):
            for _ in range(3):
                await rig.advance(rig.long * 0.6)
                assert list(await rig.driver.extend(rig.queue, [kept.receipt], rig.long)) == []
                await rig.nothing()
            # It sets, and does not add: after a long lease a short one ends early.
            for lease in (rig.long * 20, rig.long):
                assert list(await rig.driver.extend(rig.queue, [kept.receipt], lease)) == []
            await rig.advance(rig.long * 1.2)
            assert (await rig.one()).id == kept.id
            assert list(await rig.driver.extend(rig.queue, [kept.receipt], rig.long)) == [kept.receipt]

    @case("ordered")
    async def test_12_one_publishers_order_is_kept(self, rig: Rig) -> None:
        published = await rig.publish(*rig.messages(40)) + await rig.publish(*rig.messages(40))
        first = await rig.take(10)
        assert ids(first) == published[:10]
        await rig.driver.settle(rig.queue, [Release(got.receipt) for got in first])
        assert ids(await rig.take(80)) == published

    @case()
    async def test_13_an_undeclared_queue_is_not_found(self, rig: Rig) -> None:
        for verb in verbs(rig, "nowhere"):
            await raises(QueueNotFoundError, rig, verb)
        await rig.nothing()

    @case()
    async def test_14_a_broker_that_is_gone_is_unavailable(self, rig: Rig) -> None:
        published = await rig.publish(rig.message())
        async with rig.suite.broken(rig.place):
            for verb in verbs(rig, rig.queue):
                error = await raises(BrokerUnavailableError, rig, verb)
                assert error.retryable
        assert ids(await rig.take()) == published

    @case()
    async def test_15_concurrent_receivers_do_not_overlap(self, rig: Rig) -> None:
        published: list[str] = []
        taken: Counter[str] = Counter()

        async def receive() -> None:
            while sum(taken.values()) < 500:
                got = await rig.driver.receive(rig.queue, 7, 0.2)
                taken.update(ids(got))
                await rig.ack(*got)
                await asyncio.sleep(0)

        receivers = [asyncio.create_task(receive()) for _ in range(20)]
        for _ in range(10):
            published += await rig.publish(*rig.messages(50))
        async with asyncio.timeout(rig.suite.patience * 2):
            await asyncio.gather(*receivers)
        assert taken == Counter(published)

    @case()
    async def test_16_a_cancelled_receive_loses_nothing(self, rig: Rig) -> None:
        # A lease longer than the case: a message that only its end brings back counts as lost.
        await rig.declare(lease=300.0)
        # Some turns of the loop later, and, for what comes from a broker, some tenths of a millisecond.
        for turns, pause in [*((turns, 0.0) for turns in range(12)), *((0, tenth * 1e-4) for tenth in range(1, 50))]:
            task = asyncio.create_task(rig.driver.receive(rig.queue, 5, 5.0))
            await asyncio.sleep(0)
            published = await rig.publish(rig.message())
            await turn(turns)
            end = time.monotonic() + pause
            while time.monotonic() < end:  # noqa: ASYNC110 - a timer is no finer than a millisecond
                await asyncio.sleep(0)
            kept = await cancelled(task)
            got = kept if isinstance(kept, list) else await rig.take()
            assert ids(got) == published
            await rig.ack(*got)

    @case()
    async def test_17_close_is_idempotent_frees_and_wakes(self, rig: Rig) -> None:
        waiting = asyncio.create_task(rig.driver.receive(rig.queue, 1, 30.0))
        await asyncio.sleep(0.02)
        await rig.driver.close()
        await rig.driver.close()
        async with asyncio.timeout(rig.suite.patience):
            answer = await ended(waiting)
        assert answer == [] or isinstance(answer, BrokerUnavailableError)
        await rig.driver.open()
        published = await rig.publish(rig.message())
        await rig.one()
        await rig.reopen()
        assert ids(await rig.take()) == published

    @case("multi_process")
    async def test_18_messages_of_a_killed_holder_come_back(self, rig: Rig) -> None:
        lease = 3.0
        await rig.declare(lease=lease)
        published = await rig.publish(*rig.messages(3))
        async with Holder(rig.suite, rig.place, rig.spec(lease=lease), 3) as holder:
            assert holder.ids == published
            await rig.nothing()
            holder.kill()
        began = time.monotonic()
        assert sorted(ids(await rig.take(3))) == published
        assert time.monotonic() - began < lease + rig.suite.patience

    @case("multi_process")
    async def test_18_one_that_opens_after_the_kill_finds_everything(self, rig: Rig) -> None:
        lease = 3.0
        await rig.declare(lease=lease)
        published = await rig.publish(*rig.messages(5))
        async with Holder(rig.suite, rig.place, rig.spec(lease=lease), 3) as holder:
            assert len(holder.ids) == 3
            await rig.driver.close()
            holder.kill()
        # The next driver takes over the dead one's messages while it declares the queue: both must succeed.
        await rig.driver.open()
        # Settle the first messages before the others arrive, or their leases end meanwhile.
        first = await rig.take(2)
        await rig.ack(*first)
        assert sorted(ids([*first, *await rig.take(3)])) == published
        await rig.counts(0, 3, 0)

    @case("multi_process")
    async def test_19_confirmed_messages_survive_a_restart(self, rig: Rig) -> None:
        published = await rig.publish(*rig.messages(50))
        await rig.driver.close()
        await rig.suite.restart(rig.place)
        driver = await rig.another()
        assert sorted(ids(await rig.take(50, driver=driver))) == published

    @case("multi_process")
    async def test_20_attempts_survive_a_kill_and_a_restart(self, rig: Rig) -> None:
        await rig.declare(lease=3.0)
        await rig.publish(rig.message())
        await killed(rig, rig.spec(lease=3.0), 1)
        got = await rig.one()
        assert (got.attempt, got.suspect) == (1, True)
        await rig.driver.settle(rig.queue, [Nack(got.receipt)])
        await killed(rig, rig.spec(lease=3.0), 1, starts=1)
        await rig.driver.close()
        await rig.suite.restart(rig.place)
        got = await rig.one(driver=await rig.another())
        assert (got.attempt, got.suspect) == (3, True)

    @case("native_priority")
    async def test_21_higher_priority_comes_first(self, rig: Rig) -> None:
        await rig.declare(priorities=True)
        batch = [rig.message(priority=priority) for priority in (0, 5, 9, 0, 5, 1)]
        await rig.publish(*batch)
        expected = [message.id for message in sorted(batch, key=lambda message: -message.priority)]
        assert ids(await rig.take(6)) == expected

    @case("ordering_key")
    async def test_22_one_at_a_time_and_in_order_per_key(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        await rig.publish(*(rig.message(id=f"{key}{number}", key=key) for number in range(3) for key in "ab"))
        for number in range(3):
            for settlement in _KINDS:
                got = await rig.only(f"a{number}", f"b{number}")
                await rig.driver.settle(rig.queue, [settlement(delivery.receipt) for delivery in got])
        await rig.nothing()

    @case("max_length")
    async def test_23_a_full_queue_rejects_in_order_and_takes_back(self, rig: Rig) -> None:
        await rig.declare(max_length=3)
        await rig.publish(rig.message())
        results = await rig.results(*rig.messages(4))
        assert results[:2] == [None, None]
        assert [type(result) for result in results[2:]] == [QueueFullError] * 2
        held = await rig.take(3)
        assert isinstance((await rig.results(rig.message()))[0], QueueFullError)
        back: list[Settlement] = [Nack(held[0].receipt), Release(held[1].receipt), Ack(held[2].receipt)]
        assert list(await rig.driver.settle(rig.queue, back)) == []
        await rig.publish(rig.message())
        assert len(await rig.take(3)) == 3

    @case("dedup")
    async def test_26_a_known_id_is_confirmed_and_not_stored_again(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window)
        await rig.publish(rig.message(id="a"))
        await rig.publish(rig.message(id="a"))
        got = await rig.one()
        assert got.id == "a"
        await rig.publish(rig.message(id="a"))
        await rig.nothing()
        await rig.ack(got)
        await rig.publish(rig.message(id="a"))
        await rig.nothing()
        await rig.publish(rig.message(id="b"), rig.message(id="a", deduplicate=False))
        assert sorted(ids(await rig.take(2))) == ["a", "b"]
