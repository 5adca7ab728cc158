"""Clause 24: peek, and purge, also of a queue that is in use."""

from __future__ import annotations

import asyncio
from itertools import product

from tasuki.contracts.driver import Ack, Driver, Nack
from tasuki.testing.conformance.rig import Rig, Suite, case, ids

_WAITING, _LATE, _PUBLISHERS = 100, 40, 8


class Purging(Suite):
    """A purge has a beginning, and removes no message that was published after it."""

    @case("peek")
    async def test_24_peek_shows_without_receiving(self, rig: Rig) -> None:
        await rig.declare(lease=300.0)  # what a peek has taken must not come back in time
        published = await rig.publish(*rig.messages(5, headers={"n": 1}))
        shown = await rig.driver.peek(rig.queue, 3)
        assert [message.id for message in shown] == published[:3]
        assert shown[0].headers == {"n": 1}
        rest = await rig.driver.peek(rig.queue, 10, after=3)
        assert [message.id for message in rest] == published[3:]
        assert [(got.id, got.attempt) for got in await rig.take(5)] == [(id, 1) for id in published]

    @case("purge")
    async def test_24_purge_removes_what_is_not_held(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(5))
        held = await rig.take(2)
        assert await rig.driver.purge(rig.queue) == 3
        await rig.nothing()
        await rig.driver.settle(rig.queue, [Nack(held[0].receipt), Ack(held[1].receipt)])
        assert ids(await rig.take()) == [held[0].id]
        assert await rig.driver.purge(rig.queue) == 0

    @case("purge")
    async def test_24_a_message_published_during_a_purge_survives_it(self, rig: Rig) -> None:
        """Publishers that never pause: a purge that takes several steps finds new messages at each of them."""
        for number, (purger, waits) in enumerate(product((rig.driver, await rig.elsewhere()), (True, False))):
            # A queue that no driver has received from: a broker that pushes could have handed its messages out.
            await _purge_under_load(rig, f"{rig.queue}-{number}", purger, waits=waits)


async def _purge_under_load(rig: Rig, queue: str, purger: Driver, *, waits: bool) -> None:
    """``waits``: the publishers start when the purge has begun, and so find an empty queue."""
    for driver in {rig.driver, purger}:
        await driver.declare(rig.spec(name=queue))
    waiting = await rig.publish(*rig.messages(_WAITING), queue=queue)
    began = asyncio.Event()
    early: list[str] = []
    late: list[str] = []

    async def publish() -> None:
        if waits:
            await began.wait()
        while len(late) < _LATE:
            published = late if began.is_set() else early
            published += await rig.publish(rig.message(), queue=queue)
            await asyncio.sleep(0)  # a driver in memory never waits

    async def watch() -> None:
        # Half of the messages are gone only when the purge has begun, also where a count lags behind.
        while not began.is_set():
            depth = await rig.driver.depth(queue)
            if purging.done() or depth.ready <= _WAITING / 2:
                began.set()
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for _ in range(_PUBLISHERS):
            group.create_task(publish())
        purging = group.create_task(purger.purge(queue))
        group.create_task(watch())
    total = len(waiting) + len(early) + len(late)
    left = await rig.drain(queue=queue, expected=total - purging.result())
    lost = set(late) - set(left)
    assert not lost, f"{len(lost)} of {len(late)} messages were removed that were published during the purge"
    assert not set(waiting) & set(left), "messages that waited when the purge began were left"
    assert purging.result() + len(left) == total
