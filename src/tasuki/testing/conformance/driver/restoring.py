"""Clauses 54 and 55: a broker whose data was put back to an earlier state, and messages that a step has lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tasuki.contracts.driver import Ack, Driver, Move, Nack, Receipt, Release
from tasuki.errors import StaleReceiptError
from tasuki.testing.conformance.rig import GONE, Rig, Suite, case, each_result, until_back

Use = Callable[[Rig, Receipt], Awaitable[bool]]
"""Uses a receipt; returns whether it was stale."""


async def _ack(rig: Rig, receipt: Receipt) -> bool:
    return bool(await rig.driver.settle(rig.queue, [Ack(receipt)]))


async def _nack(rig: Rig, receipt: Receipt) -> bool:
    return bool(await rig.driver.settle(rig.queue, [Nack(receipt)]))


async def _release(rig: Rig, receipt: Receipt) -> bool:
    return bool(await rig.driver.settle(rig.queue, [Release(receipt)]))


async def _extend(rig: Rig, receipt: Receipt) -> bool:
    return bool(await rig.driver.extend(rig.queue, [receipt], rig.long))


async def _start(rig: Rig, receipt: Receipt) -> bool:
    return bool(await rig.driver.start(rig.queue, [receipt]))


async def _move(rig: Rig, receipt: Receipt) -> bool:
    if not rig.driver.is_move_atomic(rig.queue, rig.queue):
        return True  # it stores first, whatever the receipt is
    move = Move(receipt, rig.queue, (rig.message(id="moved"),))
    (result,) = await each_result(rig.driver.move(rig.queue, [move]), 1)
    if isinstance(result, GONE):
        raise result
    return isinstance(result, StaleReceiptError)


USES: tuple[Use, ...] = (_ack, _nack, _release, _extend, _start, _move)


class Restoring(Suite):
    """The data of the broker is put back to an earlier state."""

    @case("multi_process")
    async def test_54_a_receipt_from_before_the_data_was_put_back_settles_nothing(self, rig: Rig) -> None:
        other = await rig.another()
        await rig.publish(rig.message(id="first"))
        await rig.ack(*await rig.take(1))
        await rig.suite.save(rig.place)
        await _are_back(rig, other)
        await rig.publish(*(rig.message(id=f"{number}") for number in range(len(USES))))
        held = {each.id: each.receipt for each in await rig.take(len(USES))}
        await rig.suite.restore(rig.place)
        await _are_back(rig, other)
        await rig.publish(*(rig.message(id=f"{number}") for number in range(len(USES))))
        theirs = await rig.take(len(USES), driver=other)
        for number, use in enumerate(USES):
            is_stale = await until_back(lambda: use(rig, held[f"{number}"]))  # noqa: B023
            assert is_stale, f"a receipt from before the data was put back is good: {use.__name__}"
        await rig.nothing()
        stale = await other.settle(rig.queue, [Ack(each.receipt) for each in theirs])
        assert list(stale) == [], "an old receipt has settled what another receiver holds"
        await rig.nothing()

    @case("multi_process")
    async def test_54_an_open_driver_goes_on_after_the_data_was_put_back(self, rig: Rig) -> None:
        kept = await rig.publish(rig.message(id="kept"))
        await rig.suite.save(rig.place)
        await _are_back(rig)
        await rig.publish(rig.message(id="lost"))
        await rig.suite.restore(rig.place)
        await _are_back(rig)
        confirmed = await rig.publish(*rig.messages(20))
        found = await rig.drain(expected=len(kept) + len(confirmed))
        assert found == [*kept, *confirmed]

    @case()
    async def test_55_messages_that_a_failed_step_left_nowhere_are_ready_again(self, rig: Rig) -> None:
        published = set(await rig.publish(*rig.messages(3)))
        await rig.suite.misplace(rig.place, rig.queue)
        found: set[str] = set()
        async with asyncio.timeout(rig.suite.patience * 2):
            while found < published:
                found.update(await rig.drain())


async def _are_back(rig: Rig, *others: Driver) -> None:
    """Wait until the drivers reach the broker again."""
    for driver in (rig.driver, *others):
        await until_back(lambda: driver.depth(rig.queue))  # noqa: B023
