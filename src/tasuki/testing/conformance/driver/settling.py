"""More cases: settling, full queues, priorities, keys and delays."""

# Its random numbers must repeat.
# ruff: noqa: S311

from __future__ import annotations

import asyncio
import random
import time

from tasuki.contracts.driver import Ack, Nack, Release, Settlement
from tasuki.errors import QueueConflictError, QueueFullError
from tasuki.testing.conformance.rig import Kind, Rig, Suite, case, ids


class Settling(Suite):
    """What becomes of a delivery."""

    @case()
    async def test_settling_twice_in_one_batch(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(2))
        first, second = await rig.take(2)
        batch: list[Settlement] = [Ack(first.receipt), Nack(first.receipt), Nack(second.receipt), Ack(second.receipt)]
        stale = await rig.driver.settle(rig.queue, batch)
        assert sorted(map(str, stale)) == sorted(map(str, [first.receipt, second.receipt]))
        await rig.only(second.id)

    @case()
    async def test_all_kinds_in_one_batch(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(9))
        got = await rig.take(9)
        kinds: tuple[Kind, ...] = (Ack, Nack, Release)
        batch = [kinds[number % 3](delivery.receipt) for number, delivery in enumerate(got)]
        assert list(await rig.driver.settle(rig.queue, batch)) == []
        kept = [delivery.id for number, delivery in enumerate(got) if number % 3]
        assert sorted(ids(await rig.take(6))) == sorted(kept)

    @case()
    async def test_acks_in_any_order(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(30))
        got = await rig.take(30)
        random.Random(7).shuffle(got)
        for delivery in got[:15]:
            await rig.ack(delivery)
        await rig.driver.settle(rig.queue, [Nack(delivery.receipt) for delivery in got[15:]])
        await rig.only(*ids(got[15:]))

    @case("ordered")
    async def test_released_messages_keep_their_order_at_the_head(self, rig: Rig) -> None:
        published = await rig.publish(*rig.messages(6))
        got = await rig.take(4)
        for number in (2, 0, 3, 1):
            await rig.driver.settle(rig.queue, [Release(got[number].receipt)])
        assert ids(await rig.take(6)) == published

    @case()
    async def test_a_delayed_release_is_hidden_and_counts_nothing(self, rig: Rig) -> None:
        await rig.publish(rig.message(headers={"a": "b"}))
        for attempt, settlement in ((1, Nack), (2, Release), (2, Nack), (3, Release), (3, Ack)):
            got = await rig.one()
            assert (got.attempt, got.suspect, got.headers["a"]) == (attempt, False, "b")
            if settlement is Release:
                await rig.driver.start(rig.queue, [got.receipt])  # a record that the release takes back
                began = rig.clock.monotonic()
                assert list(await rig.driver.settle(rig.queue, [Release(got.receipt, rig.long)])) == []
                await rig.advance(began + rig.long * 0.85 - rig.clock.monotonic())
                await rig.nothing()
                await rig.advance(rig.long * 0.25)
            else:
                await rig.driver.settle(rig.queue, [settlement(got.receipt)])
        await rig.nothing()

    @case("ordering_key")
    async def test_a_delayed_release_keeps_its_place_among_those_of_its_key(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        await rig.publish(*(rig.message(id=f"{key}{number}", key=key) for number in range(2) for key in "ab"))
        held = {got.id: got for got in await rig.take(2)}
        await rig.driver.settle(rig.queue, [Release(held["a0"].receipt, rig.long), Ack(held["b0"].receipt)])
        got = await rig.one()
        assert got.id == "b1"
        await rig.ack(got)
        await rig.nothing()
        await rig.advance(rig.long * 1.2)
        got = await rig.one()
        assert got.id == "a0"
        await rig.ack(got)
        assert (await rig.one()).id == "a1"

    @case("leases")
    async def test_a_changed_lease_holds_for_the_next_delivery(self, rig: Rig) -> None:
        await rig.declare(lease=rig.long * 3)
        await rig.publish(rig.message())
        await rig.one()
        await rig.advance(rig.long * 2)
        await rig.nothing()
        await rig.advance(rig.long * 1.2)
        await rig.one()

    @case("leases")
    async def test_extend_may_shorten(self, rig: Rig) -> None:
        await rig.publish(rig.message())
        got = await rig.one()
        assert list(await rig.driver.extend(rig.queue, [got.receipt], rig.long / 4)) == []
        await rig.advance(rig.long * 0.5)
        assert (await rig.one()).id == got.id

    @case()
    async def test_extend_from_another_thread_with_its_own_loop(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(2))
        kept, done = await rig.take(2)
        await rig.ack(done)

        def extend() -> list[object]:
            return list(asyncio.run(_extend()))

        async def _extend() -> list[object]:
            return list(await rig.driver.extend(rig.queue, [kept.receipt, done.receipt], rig.long))

        assert await asyncio.to_thread(extend) == [done.receipt]
        await rig.ack(kept)

    @case("max_length")
    async def test_a_full_queue_loses_nothing_on_nack_and_release(self, rig: Rig) -> None:
        await rig.declare(max_length=5)
        published = await rig.publish(*rig.messages(5))
        for settlement in (Nack, Release, Nack):
            got = await rig.take(5)
            assert isinstance((await rig.results(rig.message()))[0], QueueFullError)
            batch = [settlement(delivery.receipt) for delivery in got]
            assert list(await rig.driver.settle(rig.queue, batch)) == []
        assert sorted(ids(await rig.take(5))) == published

    @case("max_length")
    async def test_declaring_again_while_full(self, rig: Rig) -> None:
        await rig.declare(max_length=2)
        published = await rig.publish(*rig.messages(2))
        waiting = asyncio.gather(*(rig.results(rig.message()) for _ in range(5)))
        async with asyncio.timeout(rig.suite.patience):
            await rig.declare(max_length=1)
            results = [result for (result,) in await waiting]
        assert all(isinstance(result, QueueFullError) for result in results)
        await rig.declare(max_length=3)
        published += await rig.publish(rig.message())
        assert isinstance((await rig.results(rig.message()))[0], QueueFullError)
        assert sorted(ids(await rig.take(3))) == published

    @case("max_length")
    async def test_delayed_and_held_messages_take_room(self, rig: Rig) -> None:
        await rig.declare(max_length=2)
        await rig.publish(rig.message(), rig.message(delay=rig.long))
        await rig.one()
        assert isinstance((await rig.results(rig.message()))[0], QueueFullError)

    @case("native_priority", "ordered")
    async def test_same_priority_keeps_order_and_releases_keep_their_place(self, rig: Rig) -> None:
        await rig.declare(priorities=True)
        high = await rig.publish(*rig.messages(3, priority=5))
        low = await rig.publish(*rig.messages(3))
        got = await rig.take(4)
        assert ids(got) == high + low[:1]
        await rig.driver.settle(rig.queue, [Release(delivery.receipt) for delivery in reversed(got)])
        top = await rig.publish(rig.message(priority=9))
        assert ids(await rig.take(7)) == top + high + low

    @case("native_priority")
    async def test_a_delayed_message_keeps_its_priority(self, rig: Rig) -> None:
        await rig.declare(priorities=True)
        urgent = rig.message(priority=9, delay=rig.long)
        plain = rig.message()
        await rig.publish(urgent, plain)
        got = await rig.one()
        assert got.id == plain.id
        await rig.driver.settle(rig.queue, [Release(got.receipt)])
        await rig.advance(rig.long * 1.1)
        assert ids(await rig.take(2)) == [urgent.id, plain.id]

    @case()
    async def test_shorter_delays_come_first(self, rig: Rig) -> None:
        batch = [rig.message(delay=rig.long * factor) for factor in (3, 1, 2)]
        await rig.publish(*batch)
        for number in (1, 2, 0):
            await rig.advance(rig.long * 1.05)
            await rig.ack(*await rig.only(batch[number].id))

    @case()
    async def test_a_delayed_message_wakes_a_waiting_receive(self, rig: Rig) -> None:
        waiting = asyncio.create_task(rig.driver.receive(rig.queue, 1, 30.0))
        await asyncio.sleep(0.02)
        began = time.monotonic()
        await rig.publish(rig.message(delay=0.3))
        async with asyncio.timeout(rig.suite.patience):
            got = await waiting
        assert len(got) == 1
        assert time.monotonic() - began >= 0.3
        began = time.monotonic()
        await rig.driver.settle(rig.queue, [Nack(got[0].receipt, 0.3)])
        assert len(await rig.take()) == 1
        assert time.monotonic() - began >= 0.3

    @case("leases")
    async def test_an_expiring_lease_wakes_a_waiting_receive(self, rig: Rig) -> None:
        await rig.declare(lease=1.0)
        await rig.publish(rig.message())
        began = time.monotonic()
        await rig.one()
        await rig.one()
        assert 1.0 <= time.monotonic() - began < 1.0 + rig.suite.patience

    @case()
    async def test_a_nack_delay_survives_an_earlier_message(self, rig: Rig) -> None:
        first, second = await rig.publish(*rig.messages(2))
        got = await rig.take(2)
        batch = [Nack(delivery.receipt, rig.long if delivery.id == first else 0.0) for delivery in got]
        await rig.driver.settle(rig.queue, batch)
        await rig.only(second)

    @case("ordering_key")
    async def test_a_failed_message_holds_back_its_key_only(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        first, second = rig.message(key="k"), rig.message(key="k")
        other, free = rig.message(key="o"), rig.message()
        await rig.publish(first, second, other, free)
        got = {delivery.id: delivery for delivery in await rig.take(3)}
        assert set(got) == {first.id, other.id, free.id}
        await rig.ack(got[other.id], got[free.id])
        await rig.driver.settle(rig.queue, [Nack(got[first.id].receipt, rig.long)])
        await rig.nothing()
        await rig.advance(rig.long * 1.1)
        await rig.ack(*await rig.only(first.id))
        assert (await rig.one()).id == second.id

    @case("ordering_key")
    async def test_keys_in_order_through_failures(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        chance = random.Random(11)
        batch = [rig.message(key=chance.choice("abcdefgh")) for _ in range(120)]
        await rig.publish(*batch)
        left = {key: [message.id for message in batch if message.key == key] for key in "abcdefgh"}
        keys = {message.id: message.key or "" for message in batch}
        while any(left.values()):
            got = await rig.driver.receive(rig.queue, chance.randint(1, 8), rig.suite.patience)
            assert got, "nothing came, and messages are left"
            settlements: list[Settlement] = []
            assert len({keys[delivery.id] for delivery in got}) == len(got)
            for delivery in got:
                line = left[keys[delivery.id]]
                assert line[0] == delivery.id
                kind = chance.choice((Ack, Ack, Nack, Release))
                settlements.append(kind(delivery.receipt))
                if kind is Ack:
                    line.pop(0)
            await rig.driver.settle(rig.queue, settlements)
        await rig.nothing()

    @case("ordering_key")
    async def test_keys_mean_nothing_without_ordering(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(3, key="k"))
        assert len(await rig.take(3)) == 3

    @case("ordering_key")
    async def test_switching_the_ordering_keeps_messages(self, rig: Rig) -> None:
        published = await rig.publish(*rig.messages(4, key="k"))
        held = await rig.take(2)
        try:
            await rig.declare(ordering="key")
        except QueueConflictError:  # a driver may refuse what it could not keep, and then nothing has changed
            await rig.ack(*held)
            assert sorted(ids(await rig.take(2))) == published[2:]
            return
        await rig.nothing()
        await rig.driver.settle(rig.queue, [Nack(delivery.receipt) for delivery in reversed(held)])
        for expected in published[:2]:
            await rig.ack(*await rig.only(expected))
        await rig.declare()
        assert sorted(ids(await rig.take(2))) == published[2:]

    @case("ordering_key")
    async def test_switching_the_ordering_of_many_messages_puts_all_in_order(self, rig: Rig) -> None:
        keys = [f"k{number}" for number in range(350)]
        for number in range(2):
            await rig.publish(*(rig.message(id=f"{key}-{number}", key=key) for key in keys))
        try:
            await rig.declare(ordering="key")
        except QueueConflictError:  # as above
            return
        for number in range(2):
            await rig.ack(*await rig.only(*(f"{key}-{number}" for key in keys)))
        await rig.nothing()

    @case("ordering_key", "purge")
    async def test_purge_leaves_no_key_blocked(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        await rig.publish(*(rig.message(id=f"{key}{number}", key=key) for key in "ab" for number in (1, 2)))
        held = await rig.one()
        assert await rig.driver.purge(rig.queue) == 3
        await rig.publish(*(rig.message(id=key, key=key) for key in "ab"))
        assert {held.id[0], *ids(await rig.take())} == {"a", "b"}  # keys have no order between them
        await rig.nothing()
        await rig.ack(held)
        assert ids(await rig.take()) == [held.id[0]]

    @case("ordering_key", "leases")
    async def test_a_lost_lease_keeps_the_order_of_its_key(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        first, _ = await rig.publish(*rig.messages(2, key="k"))
        await rig.one()
        await rig.advance(rig.long * 1.2)
        await rig.only(first)
