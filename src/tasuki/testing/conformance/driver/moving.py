"""Clause 36: a delivery ends together with what follows from it."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import SkipTest

from tasuki.contracts.driver import Ack, Move, Outgoing, Receipt, Release
from tasuki.errors import DriverError, QueueFullError, QueueNotFoundError, StaleReceiptError
from tasuki.testing.conformance.rig import Rig, Suite, case, each_result


class Moving(Suite):
    """A move acks and stores, or does neither."""

    @case()
    async def test_36_a_move_acks_and_stores(self, rig: Rig) -> None:
        await rig.declare(name=rig.other)
        await rig.publish(*rig.messages(4))
        one, two, three, four = await rig.take(4)
        moves = [
            _move(rig, one.receipt, rig.message(b"\x00\xff", id="a", headers={"n": 1})),
            _move(rig, two.receipt, rig.message(id="b"), rig.message(id="c")),
            Move(three.receipt, rig.queue, (rig.message(id="d"),)),
            _move(rig, four.receipt),
        ]
        assert await _results(rig, *moves) == [None] * 4
        got = {delivery.id: delivery for delivery in await rig.take(3, queue=rig.other)}
        assert sorted(got) == ["a", "b", "c"]
        assert (got["a"].body, got["a"].headers, got["a"].attempt) == (b"\x00\xff", {"n": 1}, 1)
        assert list(await rig.driver.settle(rig.queue, [Ack(one.receipt)])) == [one.receipt]
        await rig.only("d")

    @case()
    async def test_36_moving_nothing_answers_nothing(self, rig: Rig) -> None:
        async with asyncio.timeout(rig.suite.patience):
            assert list(await rig.driver.move(rig.queue, [])) == []

    @case()
    async def test_36_a_stale_receipt_is_told(self, rig: Rig) -> None:
        await rig.declare(name=rig.other)
        await rig.publish(*rig.messages(2))
        done, held = await rig.take(2)
        await rig.ack(done)
        results = await _results(
            rig, _move(rig, done.receipt, rig.message(id="no")), _move(rig, held.receipt, rig.message(id="yes"))
        )
        assert isinstance(results[0], StaleReceiptError), results
        assert results[1] is None, results
        assert "yes" in await rig.drain(queue=rig.other, expected=1)

    @case("move")
    async def test_36_a_stale_receipt_stores_nothing(self, rig: Rig) -> None:
        await _declare_near(rig)
        await rig.publish(*rig.messages(3))
        done, held, twice = await rig.take(3)
        await rig.ack(done)
        receipts: list[Receipt] = [done.receipt, "never given", twice.receipt, twice.receipt, held.receipt]
        moves = [_move(rig, receipt, rig.message(id=f"{number}")) for number, receipt in enumerate(receipts)]
        told = [type(result) for result in await _results(rig, *moves)]
        assert told == [StaleReceiptError, StaleReceiptError, type(None), StaleReceiptError, type(None)]
        assert sorted(await rig.drain(queue=rig.other)) == ["2", "4"]
        await rig.nothing()

    @case("move", "leases")
    async def test_36_of_two_holders_one_moves(self, rig: Rig) -> None:
        """The lease has ended, and the message is another's."""
        await _declare_near(rig)
        await rig.publish(rig.message())
        before = await rig.one()
        await rig.advance(rig.long * 1.2)
        now = await rig.one()
        results = await _results(rig, _move(rig, before.receipt, rig.message(id="before")))
        assert isinstance(results[0], StaleReceiptError), results
        assert await _results(rig, _move(rig, now.receipt, rig.message(id="now"))) == [None]
        assert await rig.drain(queue=rig.other) == ["now"]

    @case("move", "leases")
    async def test_36_a_move_after_the_lease_is_taken(self, rig: Rig) -> None:
        await _declare_near(rig)
        await rig.publish(rig.message())
        got = await rig.one()
        await rig.advance(rig.long * 1.2)
        await rig.driver.depth(rig.queue)  # which may notice the end of the lease
        assert await _results(rig, _move(rig, got.receipt, rig.message(id="late"))) == [None]
        assert await rig.drain(queue=rig.other) == ["late"]
        await rig.nothing()

    @case("max_length")
    async def test_36_a_full_queue_leaves_the_delivery_held(self, rig: Rig) -> None:
        await rig.declare(name=rig.other, max_length=3)
        await rig.publish(*rig.messages(2), queue=rig.other)
        await rig.publish(*rig.messages(2))
        one, two = await rig.take(2)
        results = await _results(
            rig, _move(rig, one.receipt, rig.message(id="a")), _move(rig, two.receipt, rig.message(id="b"))
        )
        assert results[0] is None, results
        assert isinstance(results[1], QueueFullError), results
        assert len(await rig.drain(queue=rig.other)) == 3
        assert await _results(rig, _move(rig, two.receipt, rig.message(id="c"))) == [None]
        assert await rig.drain(queue=rig.other) == ["c"]
        await rig.nothing()

    @case("max_length", "move")
    async def test_36_all_messages_of_a_move_or_none(self, rig: Rig) -> None:
        await _declare_near(rig, max_length=2)
        await rig.publish(rig.message(id="there"), queue=rig.other)
        await rig.publish(*rig.messages(2))
        one, two = await rig.take(2)
        large, small = _move(rig, one.receipt, *rig.messages(2)), _move(rig, two.receipt, rig.message(id="small"))
        results = await _results(rig, large, small)
        assert isinstance(results[0], QueueFullError), results
        assert results[1] is None, results
        assert sorted(await rig.drain(queue=rig.other)) == ["small", "there"]
        assert await _results(rig, large) == [None]
        assert sorted(await rig.drain(queue=rig.other)) == [message.id for message in large.messages]

    @case("dedup", "max_length")
    async def test_36_a_duplicate_needs_no_room(self, rig: Rig) -> None:
        await rig.declare(name=rig.other, max_length=1, dedup_window=rig.window)
        await rig.publish(rig.message(id="known"), queue=rig.other)
        await rig.publish(*rig.messages(2))
        one, two = await rig.take(2)
        assert await _results(rig, _move(rig, one.receipt, rig.message(id="known"))) == [None]
        results = await _results(rig, _move(rig, two.receipt, rig.message(id="new")))
        assert isinstance(results[0], QueueFullError), results
        assert await rig.drain(queue=rig.other) == ["known"]
        assert await _results(rig, _move(rig, two.receipt, rig.message(id="new"))) == [None]
        assert await rig.drain(queue=rig.other) == ["new"]

    @case()
    async def test_36_an_undeclared_target_leaves_the_delivery_held(self, rig: Rig) -> None:
        await rig.publish(rig.message())
        got = await rig.one()
        results = await _results(rig, _move(rig, got.receipt, rig.message()))
        assert isinstance(results[0], QueueNotFoundError), results
        await rig.ack(got)

    @case("ordering_key")
    async def test_36_the_next_of_a_key_comes_after_a_move(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        await rig.declare(name=rig.other, ordering="key")
        await rig.publish(*(rig.message(id=f"{number}", key="k") for number in range(3)))
        for number in range(3):
            (got,) = await rig.only(f"{number}")
            assert await _results(rig, _move(rig, got.receipt, rig.message(id=got.id, key="k"))) == [None]
        assert await rig.drain(queue=rig.other, expected=3) == ["0", "1", "2"]

    @case()
    async def test_36_a_move_wakes_a_waiting_receive(self, rig: Rig) -> None:
        await rig.declare(name=rig.other)
        await rig.publish(rig.message())
        got = await rig.one()
        move = _move(rig, got.receipt, rig.message(id="woken"))
        assert (await rig.woken(lambda: _results(rig, move), queue=rig.other)).id == "woken"

    @case("move", "max_length")
    async def test_36_moves_that_meet_lose_and_double_nothing(self, rig: Rig) -> None:
        """Two drivers move between the same queues, in both directions, where there is room for some only."""
        await _declare_near(rig, max_length=30)
        await rig.declare(max_length=30)
        drivers = [rig.driver, await rig.elsewhere(max_length=30)]
        await drivers[1].declare(rig.spec(name=rig.other, max_length=30))
        here = await rig.publish(*rig.messages(20))
        there = await rig.publish(*rig.messages(20), queue=rig.other)

        async def carry(number: int, source: str, to: str) -> None:
            driver = drivers[number % 2]
            for _ in range(5):
                taken = await driver.receive(source, 3, 0.0)
                moves = [Move(got.receipt, to, (Outgoing(got.id, got.body, got.headers),)) for got in taken]
                for got, result in zip(taken, await each_result(driver.move(source, moves), len(moves)), strict=True):
                    assert result is None or isinstance(result, QueueFullError), result
                    if result is not None:
                        assert not await driver.settle(source, [Release(got.receipt)])

        ways = [(rig.queue, rig.other), (rig.other, rig.queue)]
        await asyncio.gather(*(carry(number, *ways[number // 2 % 2]) for number in range(4)))
        left = await rig.drain() + await rig.drain(queue=rig.other)
        assert sorted(left) == sorted(here + there)


def _move(rig: Rig, receipt: Receipt, *messages: Outgoing) -> Move:
    return Move(receipt, rig.other, messages)


async def _declare_near(rig: Rig, **options: Any) -> None:
    """Declare ``other`` for a case of moves that are one step, which they need not be between all queues."""
    await rig.declare(name=rig.other, **options)
    if not rig.driver.is_move_atomic(rig.queue, rig.other):
        raise SkipTest(f"not applicable: driver {rig.driver.name} has these queues in two places")


async def _results(rig: Rig, *batch: Move) -> list[DriverError | None]:
    return await each_result(rig.driver.move(rig.queue, batch), len(batch))
